"""How each vendor turns a range into a scale and a zero point: formulas as data.

What is known is cited; what is assumed is said so. All arithmetic is float32, as theirs.

- Tengine (OAID/Tengine, tools/quantize/quant_tool_uint8.cpp and quant_save_graph.cpp, read):
  activations scale = (max - min) / 255 with 0 included, zero point = int(-min / scale), cut
  off, not rounded; weights one scale a tensor, (max - min) / 255, 0 **not** included; biases
  int32 = roundf(b / (s_in * s_w)); PReLU slopes float16 (for TIM-VX); every operator takes and
  gives uint8, its arithmetic is float between (reference kernels). Max pooling, ReLU, Flatten
  and Reshape pass their output's scale on to an input that nothing else reads. Measured against
  Tengine's own library (CPU, uint8, the default model, 32 rendered faces): mean cosine of the
  twin's features to the library's 0.9993, least 0.9972.
- RKNN-Toolkit 1.x, `asymmetric_affine-u8` (closed): (max - min) / 255 with 0 included and the
  zero point rounded, for activations and weights alike. Assumed: int32 biases, PReLU slopes in
  float16, every operator uint8.
- RKNN-Toolkit2, `w8a8` (closed): activations int8 (max - min) / 255 with 0 included and the zero
  point rounded; weights int8, max|w| / 127, one scale an output channel (`channel`) or a tensor
  (`layer`). Assumed: int32 biases, PReLU slopes in float16, every operator int8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# (scale, zero point); scale is never 0: a tensor that is always 0 gets 1.
Parameters = tuple[np.float32, int]

_STEPS = np.float32(255.0)
_ZERO = np.float32(0.0)


@dataclass(frozen=True)
class VendorRule:
    """A vendor's arithmetic.

    Attributes:
        name: as in messages and manifests.
        dtype: numpy name of the integers.
        activation: (lowest, highest) of a tensor to its parameters.
        weight: values that share a scale to their parameters.
        per_channel: whether each output channel of a weight has a scale of its own.
        pass_through: operators that hand their output's parameters to their input.
        caller_quantizes: whether farm's agent quantizes the input, which it rounds as Tengine's own
            programs do: round(value / scale + zero point), halves away from zero. Over (-1, 1) in
            255 steps every pixel is such a half, and to even a quarter of the levels would merge.
        facts: what a reader of a result should know about the rule.
    """

    name: str
    dtype: str
    activation: Callable[[np.float32, np.float32], Parameters]
    weight: Callable[[Floats], Parameters]
    per_channel: bool
    pass_through: frozenset[str]
    facts: tuple[str, ...]
    caller_quantizes: bool = False


def round_half_away(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """C's roundf: halves go away from zero (numpy's rint takes them to even)."""
    wide = values.astype(np.float64)
    return np.asarray(np.copysign(np.floor(np.abs(wide) + 0.5), wide), np.float32)


def tengine_activation(lowest: np.float32, highest: np.float32) -> Parameters:
    """uint8; quant_tool_uint8.cpp, min-max table."""
    low, high = np.minimum(lowest, _ZERO), np.maximum(highest, _ZERO)
    return _cut_off(low, np.float32((high - low) / _STEPS))


def tengine_weight(values: Floats) -> Parameters:
    """uint8; quant_save_graph.cpp: the range is not widened to hold 0, so that the zero point
    of an all-positive tensor is negative and that of an all-negative one above 255."""
    low, high = np.float32(values.min()), np.float32(values.max())
    return _cut_off(low, np.float32((high - low) / _STEPS))


def rounded_uint8(lowest: np.float32, highest: np.float32) -> Parameters:
    """uint8 with 0 included and the zero point rounded."""
    low, high = np.minimum(lowest, _ZERO), np.maximum(highest, _ZERO)
    scale = np.float32((high - low) / _STEPS)
    return (scale, round(float(-low / scale))) if scale > 0 else (np.float32(1), 0)


def rounded_int8(lowest: np.float32, highest: np.float32) -> Parameters:
    """int8 with 0 included and the zero point rounded."""
    scale, zero = rounded_uint8(lowest, highest)
    return scale, zero - 128


def symmetric_int8(values: Floats) -> Parameters:
    """int8, zero point 0."""
    scale = np.float32(np.float32(np.abs(values).max()) / np.float32(127.0))
    return (scale, 0) if scale > 0 else (np.float32(1), 0)


def _cut_off(low: np.float32, scale: np.float32) -> Parameters:
    return (scale, int(-low / scale)) if scale > 0 else (np.float32(1), 0)


_PASS = frozenset({"Clip", "Flatten", "MaxPool", "Relu", "Reshape", "Squeeze"})

TENGINE = VendorRule(
    name="Tengine",
    dtype="uint8",
    activation=tengine_activation,
    weight=tengine_weight,
    per_channel=False,
    pass_through=_PASS,
    facts=(
        "scales, zero points, int32 biases and float16 PReLU slopes by Tengine's source",
        "requantization in float32 as in its reference kernels; the NPU's is not public",
    ),
    caller_quantizes=True,
)

RKNN1 = VendorRule(
    name="RKNN 1.x",
    dtype="uint8",
    activation=rounded_uint8,
    weight=lambda values: rounded_uint8(values.min(), values.max()),
    per_channel=False,
    pass_through=_PASS,
    facts=(
        "asymmetric_affine-u8, one scale a tensor, zero points rounded",
        "closed toolkit: biases, PReLU and requantization are assumptions",
    ),
)

RKNN2_CHANNEL = VendorRule(
    name="RKNN 2",
    dtype="int8",
    activation=rounded_int8,
    weight=symmetric_int8,
    per_channel=True,
    pass_through=_PASS,
    facts=(
        "w8a8: asymmetric int8 activations, symmetric weights",
        "closed toolkit: biases, PReLU and requantization are assumptions",
    ),
)

RKNN2_LAYER = VendorRule(
    name="RKNN 2",
    dtype="int8",
    activation=rounded_int8,
    weight=symmetric_int8,
    per_channel=False,
    pass_through=_PASS,
    facts=RKNN2_CHANNEL.facts,
)
