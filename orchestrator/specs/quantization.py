"""How numbers are held: the axes of a quantization scheme."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from orchestrator.specs.base import OneOrMany, Spec, wrong
from orchestrator.specs.meaning import Word
from orchestrator.specs.yamlfile import nearest

Granularity = Literal["per-channel", "per-tensor"]
Symmetry = Literal["symmetric", "asymmetric"]
IntType = Literal["int8", "uint8"]
Calibrator = Literal["minmax", "percentile", "entropy", "mmse"]

WORDS = {
    "float32": "dtype",
    "float16": "dtype",
    "as-given": "dtype",
    "int8": "dtype",
    "uint8": "dtype",
    "per-channel": "granularity",
    "per-tensor": "granularity",
    "symmetric": "symmetry",
    "asymmetric": "symmetry",
    "minmax": "calibrator",
    "percentile": "calibrator",
    "entropy": "calibrator",
    "mmse": "calibrator",
    "equalize": "equalize",
    "bias-correction": "bias_correction",
}
"""Every word that a quantization may be written with, and what it says."""
AS_GIVEN = "as-given"
HELPERS = ("equalize", "bias_correction")
SUGGESTED = "suggested"


class Scheme(Spec):
    """A rule that a vendor's runtime accepts.

    `granularity` is that of the weights, `symmetry` that of the activations.
    """

    dtype: IntType
    granularity: Granularity
    symmetry: Symmetry


class Quantization(Spec):
    """A scheme and how its ranges are found; `float32` and `float16` have none.

    `as-given` deploys the model's own quantized file (`quantized:` of its manifest), whose scales
    are what training made them.

    In a file it may be written as words: `float32`, `int8 per-channel symmetric`,
    `uint8 per-tensor asymmetric percentile`, `int8 per-channel symmetric bias-correction`.
    `mmse` (least mean squared error) is known to Rockchip's toolkits only.

    `keep_float` names nodes that stay in float32; `suggested` keeps those that the layer report
    calls bad. `equalize` brings the channels of neighbouring convolutions to one size, which
    changes nothing in float32. `bias_correction` takes the mean error of quantization out of
    each channel.
    """

    dtype: Literal["float32", "float16", "int8", "uint8", "as-given"]
    granularity: Granularity | None = None
    symmetry: Symmetry | None = None
    calibrator: Calibrator = "minmax"
    keep_float: OneOrMany[Word] = ()
    equalize: bool = False
    bias_correction: bool = False

    @model_validator(mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        read: dict[str, Any] = {}
        for word in value.split():
            axis = WORDS.get(word)
            if axis is None:
                raise wrong(f"{word!r} is not a quantization option{nearest(word, WORDS)}")
            if axis in read and axis in HELPERS:
                raise wrong(f"{word!r} is defined twice")
            if axis in read:
                raise wrong(f"{read[axis]!r} and {word!r} exclude each other")
            read[axis] = True if axis in HELPERS else word
        return read

    @model_validator(mode="after")
    def _whole(self) -> Quantization:
        if self.is_float or self.is_given:
            if self.granularity or self.symmetry or self.keep_float:
                raise wrong(f"{self.dtype} takes no granularity, symmetry or keep_float")
            if self.calibrator != "minmax":
                raise wrong(f"{self.dtype} is not calibrated, so {self.calibrator!r} has no effect")
            if self.equalize or self.bias_correction:
                raise wrong(f"{self.dtype} takes no accuracy helper (equalize, bias_correction)")
        elif SUGGESTED in self.keep_float and len(self.keep_float) > 1:
            raise wrong("keep_float takes names, or 'suggested' alone", key="keep_float")
        elif self.granularity is None or self.symmetry is None:
            raise wrong(
                f"{self.dtype} needs granularity (per-channel or per-tensor) "
                "and symmetry (symmetric or asymmetric)"
            )
        return self

    @property
    def is_float(self) -> bool:
        """True for float32 and float16: nothing is quantized."""
        return self.dtype in ("float32", "float16")

    @property
    def is_given(self) -> bool:
        """Whether the model's own quantized file is deployed, with the scales it has."""
        return self.dtype == AS_GIVEN

    @property
    def is_calibrated(self) -> bool:
        """Whether ranges are found on calibration images."""
        return not self.is_float and not self.is_given

    @property
    def has_helpers(self) -> bool:
        """Whether it asks for an accuracy helper that looks at images."""
        return self.equalize or self.bias_correction or SUGGESTED in self.keep_float

    @property
    def scheme(self) -> Scheme | None:
        """What a runtime must accept; None for the float types."""
        if self.dtype == "float32" or self.dtype == "float16" or self.dtype == "as-given":
            return None
        if self.granularity is None or self.symmetry is None:
            return None
        return Scheme(dtype=self.dtype, granularity=self.granularity, symmetry=self.symmetry)

    @property
    def label(self) -> str:
        """Short text for a table; equal quantizations have equal labels."""
        if not self.is_calibrated:
            return self.dtype
        return " ".join([self.dtype, str(self.granularity), str(self.symmetry), *self.extras])

    @property
    def extras(self) -> tuple[str, ...]:
        """What tells it from the plain scheme: its calibrator, helpers and float layers."""
        parts: list[str] = ["as given"] if self.is_given else []
        if self.calibrator != "minmax" and not self.is_float:
            parts.append(self.calibrator)
        if self.equalize:
            parts.append("equalize")
        if self.bias_correction:
            parts.append("bias-correction")
        if self.keep_float:
            parts.append("float: " + ",".join(self.keep_float))
        return tuple(parts)
