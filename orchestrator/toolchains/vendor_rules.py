"""How a vendor turns a range into a scale and a zero point: formulas as data.

Each vendor's own rule is in its file of `vendors/`: what is known is cited there, what is assumed
is said so. All arithmetic is float32, as theirs. A plan reads the rules and computes none, so numpy
is imported where one is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Floats: TypeAlias = "npt.NDArray[np.float32]"

# (scale, zero point); scale is never 0: a tensor that is always 0 gets 1.
Parameters: TypeAlias = "tuple[np.float32, int]"


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
    import numpy as np

    wide = values.astype(np.float64)
    return np.asarray(np.copysign(np.floor(np.abs(wide) + 0.5), wide), np.float32)


def tengine_activation(lowest: np.float32, highest: np.float32) -> Parameters:
    """uint8; quant_tool_uint8.cpp, min-max table."""
    low, scale = _with_zero(lowest, highest)
    return _cut_off(low, scale)


def tengine_weight(values: Floats) -> Parameters:
    """uint8; quant_save_graph.cpp: the range is not widened to hold 0, so that the zero point
    of an all-positive tensor is negative and that of an all-negative one above 255."""
    import numpy as np

    low, high = np.float32(values.min()), np.float32(values.max())
    return _cut_off(low, np.float32((high - low) / np.float32(255.0)))


def rounded_uint8(lowest: np.float32, highest: np.float32) -> Parameters:
    """uint8 with 0 included and the zero point rounded."""
    import numpy as np

    low, scale = _with_zero(lowest, highest)
    return (scale, round(float(-low / scale))) if scale > 0 else (np.float32(1), 0)


def rounded_int8(lowest: np.float32, highest: np.float32) -> Parameters:
    """int8 with 0 included and the zero point rounded."""
    scale, zero = rounded_uint8(lowest, highest)
    return scale, zero - 128


def symmetric_int8(values: Floats) -> Parameters:
    """int8, zero point 0."""
    import numpy as np

    scale = np.float32(np.float32(np.abs(values).max()) / np.float32(127.0))
    return (scale, 0) if scale > 0 else (np.float32(1), 0)


def _with_zero(lowest: np.float32, highest: np.float32) -> tuple[np.float32, np.float32]:
    """The lowest value and the scale of 255 steps, of a range widened to hold 0."""
    import numpy as np

    zero = np.float32(0.0)
    low, high = np.minimum(lowest, zero), np.maximum(highest, zero)
    return low, np.float32((high - low) / np.float32(255.0))


def _cut_off(low: np.float32, scale: np.float32) -> Parameters:
    import numpy as np

    return (scale, int(-low / scale)) if scale > 0 else (np.float32(1), 0)


PASS_THROUGH = frozenset({"Clip", "Flatten", "MaxPool", "Relu", "Reshape", "Squeeze"})
"""What hands its output's parameters to its input, at every vendor known."""
