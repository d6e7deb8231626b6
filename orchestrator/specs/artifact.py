"""What a deployable file wants at its input and gives at its output: said by its toolchain, once.

A toolchain's manifest has `input` and `output`; `convert` keeps them beside the file as
`interface.json`, so that they are part of what features are keyed by. The board's agent makes the
input they describe and holds the loaded file against them. The contract is
`docs/reference/artifacts.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from orchestrator.errors import ToolchainError

Dtype = Literal["float32", "float16", "uint8", "int8"]
LIMITS: Mapping[str, tuple[int, int]] = {"uint8": (0, 255), "int8": (-128, 127)}


class _Tensor(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    name: str = ""
    shape: tuple[int | None, ...]
    dtype: Dtype
    scale: float | None = Field(None, gt=0, allow_inf_nan=False)
    zero_point: int | None = None

    @model_validator(mode="after")
    def _quantization(self) -> _Tensor:
        if (self.scale is None) != (self.zero_point is None):
            raise ValueError("scale and zero_point come together")
        if self.scale is not None and self.dtype not in LIMITS:
            raise ValueError(f"{self.dtype} has no scale")
        if self.zero_point is not None:
            low, high = LIMITS[self.dtype]
            if not low <= self.zero_point <= high:
                raise ValueError(f"zero_point {self.zero_point} is outside {self.dtype}")
        return self


class InputFacts(_Tensor):
    """The one input, batch 1.

    Attributes:
        shape: (1, 3, height, width) or (1, height, width, 3), as `layout` says.
        normalized_by: `caller`: (pixel - mean) / std is worked out on the board before the
            runtime; `model`: mean and std are part of the file, which takes raw uint8 pixels.
        colour: the order of the channels where it is not the model manifest's own.
        scale, zero_point: of a quantized input, which is round(value / scale + zero_point),
            halves away from zero, clipped.
    """

    layout: Literal["NCHW", "NHWC"]
    normalized_by: Literal["caller", "model"]
    colour: Literal["RGB", "BGR"] | None = None

    @model_validator(mode="after")
    def _whole(self) -> InputFacts:
        channels = 1 if self.layout == "NCHW" else 3
        if len(self.shape) != 4 or self.shape[0] != 1 or self.shape[channels] != 3:
            raise ValueError(f"shape {list(self.shape)} is not one image in {self.layout}")
        if any(size is None or size < 1 for size in self.shape) or self.dtype == "float16":
            raise ValueError(f"{self.dtype} {list(self.shape)} cannot be made on a board")
        if self.normalized_by == "model" and (self.dtype != "uint8" or self.scale is not None):
            raise ValueError("a file that normalizes takes raw uint8 pixels, without a scale")
        if self.normalized_by == "caller" and self.dtype != "float32" and self.scale is None:
            raise ValueError(f"a {self.dtype} input that the caller normalizes needs its scale")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        first = 2 if self.layout == "NCHW" else 1
        height, width = self.shape[first : first + 2]
        return height or 0, width or 0


class OutputFacts(_Tensor):
    """An output: the feature, or a part of the row that a board sends for an image."""


class ArtifactInterface(BaseModel):
    """Input and output of one file.

    Attributes:
        outputs: of a file with several outputs all of them, in the order in which they make up the
            row that a board sends for an image; each has a scale of its own. `output` is the first.
        integer_sums: whether all layers of an ONNX file are quantized and sum integers alone, so
            that integer kernels compute what the file says; None where that is not known.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    input: InputFacts
    output: OutputFacts
    outputs: tuple[OutputFacts, ...] | None = None
    integer_sums: bool | None = None

    @classmethod
    def of(cls, manifest: Mapping[str, Any], what: str) -> ArtifactInterface:
        """The interface that a toolchain's manifest states.

        Args:
            what: names the file in an error.

        Raises:
            ToolchainError: it states none, or one that cannot be.
        """
        try:
            return cls.model_validate(dict(manifest))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise ToolchainError(
                f"{what}: its manifest does not say how it is fed: {place}: {first['msg']}",
                "the toolchain's manifest needs `input` and `output`: docs/reference/artifacts.md",
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, without what is not set."""
        return self.model_dump(mode="json", exclude_none=True)

    def preprocessing(self, model: Mapping[str, Any]) -> dict[str, Any]:
        """How the board's agent makes the input of raw RGB images.

        Args:
            model: the `input` of the model's manifest: `height`, `width`, `colour`, `mean`, `std`.

        Raises:
            ToolchainError: the file takes images of another size.
        """
        wants = self.input
        if wants.size != (model["height"], model["width"]):
            raise ToolchainError(
                f"the converted file takes images of {wants.size[0]} x {wants.size[1]}, the model "
                f"manifest says {model['height']} x {model['width']}",
                "convert the model again",
            )
        raw = wants.normalized_by == "model"
        fields: dict[str, Any] = {
            "height": model["height"],
            "width": model["width"],
            "layout": wants.layout,
            "colour": wants.colour or model["colour"],
            "dtype": wants.dtype,
            "mean": [0.0] * 3 if raw else list(model["mean"]),
            "std": [1.0] * 3 if raw else list(model["std"]),
        }
        if wants.scale is not None:
            fields |= {"scale": wants.scale, "zero_point": wants.zero_point}
        return fields
