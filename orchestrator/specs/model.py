"""A face model and what it wants at its input: `models/*.yaml`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from orchestrator.agents.protocol.wire import MAX_PAYLOAD
from orchestrator.results import Task
from orchestrator.specs.base import SLUG, FileSpec, OneOrMany, Spec, load, one_or_many, wrong
from orchestrator.specs.meaning import Code, Means, Word
from orchestrator.specs.yamlfile import PathKey, fail

Triple = tuple[float, float, float]


def head_names() -> Collection[str]:
    """Families of a detector's outputs that farm decodes."""
    from orchestrator.detection.heads.registry import HEADS

    return tuple(HEADS)


def _three(value: object) -> object:
    values = one_or_many(value)
    if not isinstance(values, tuple):
        return value
    if len(values) not in (1, 3):
        raise wrong(f"expected one number or three (one a channel), not {len(values)}")
    return values * 3 if len(values) == 1 else values


def _three_positive(value: object) -> object:
    values = _three(value)
    if isinstance(values, tuple) and any(isinstance(v, (int, float)) and v <= 0 for v in values):
        raise wrong("must be greater than 0: pixels are divided by it")
    return values


class InputSpec(Spec):
    """What the model eats: (pixel - mean) / std, pixels 0 to 255, channels in `colour` order."""

    name: Word = Field(min_length=1)
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    height: int = Field(ge=1, le=4096)
    width: int = Field(ge=1, le=4096)
    colour: Literal["RGB", "BGR"] = "RGB"
    mean: Annotated[Triple, BeforeValidator(_three), Field(strict=False)]
    std: Annotated[Triple, BeforeValidator(_three_positive), Field(strict=False)]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width


class QuantizedFile(Spec):
    """The same model, quantized already: ONNX with QuantizeLinear and DequantizeLinear (QDQ)."""

    file: Annotated[str, Means.BESIDE] = Field(min_length=1)
    sha256: Word = Field(pattern=r"^[0-9a-f]{64}$")


class DetectionPart(Spec):
    """How a detector's outputs become boxes: docs/reference/detection.md.

    `head` is the family of its outputs (scrfd, retinaface, yunet, centerface, ultralight);
    `outputs` are their names in the order of the head's decoder, found by their shapes when left
    out. Boxes below `min_score` are dropped, and of two that overlap by more than `nms_iou` the one
    of the lower score.
    """

    head: Annotated[str, Code(head_names)] = Field(min_length=1)
    outputs: OneOrMany[Word] = ()
    min_score: float = Field(0.02, ge=0, lt=1, allow_inf_nan=False)
    nms_iou: float = Field(0.4, gt=0, le=1, allow_inf_nan=False)


class ModelSpec(FileSpec):
    """A model manifest. `file` is relative to the manifest.

    `task` says what the model is for; `embedding_size` is of a recognition model, `detection` of a
    detector. `quantized` is what quantization-aware training made of the model, for rows
    `as-given`.
    """

    name: Word = Field(pattern=SLUG, max_length=63)
    task: Task = "recognition"
    file: Annotated[str, Means.BESIDE] = Field(min_length=1)
    sha256: Word = Field(pattern=r"^[0-9a-f]{64}$")
    input: InputSpec
    output: Word | None = None  # the only output when left out
    embedding_size: int | None = Field(None, ge=2, le=65536)
    detection: DetectionPart | None = None
    quantized: QuantizedFile | None = None
    licence: Word
    provenance: Word
    description: Word = ""
    _outputs: tuple[tuple[str, tuple[int, ...]], ...] = PrivateAttr(default=())

    def problems(self) -> Iterator[tuple[PathKey, str]]:
        """What a manifest says of one task and must not say of the other; images too large."""
        image = 3 * self.input.height * self.input.width
        if image > MAX_PAYLOAD:
            yield (
                ("input", "height"),
                f"an image of {self.input.height} x {self.input.width} pixels has {image:,} bytes; "
                f"a board is sent images of {MAX_PAYLOAD:,} bytes at most",
            )
        if self.task == "recognition":
            if self.detection is not None:
                yield ("detection",), "this is of a detector; write task: detection"
            if self.embedding_size is None:
                yield (), "missing key 'embedding_size'"
            return
        if self.detection is None:
            yield ("task",), "a detector's manifest needs detection: {head: NAME}"
        if self.output is not None:
            yield ("output",), "a detector's outputs are named in detection: {outputs: [...]}"
        if self.embedding_size is not None:
            yield ("embedding_size",), "a detector makes no embedding; leave it out"
        if self.quantized is not None:
            yield ("quantized",), "quantized files are deployed as given for recognition only"

    @property
    def outputs(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Names and shapes of a detector's outputs in the decoder's order; known of a plan's."""
        return self._outputs

    @property
    def row_size(self) -> int:
        """Numbers that an image gives: the embedding's, or those of all outputs of a detector."""
        if self.embedding_size is not None:
            return self.embedding_size
        return sum(math.prod(shape) for _, shape in self._outputs)

    def with_outputs(self, found: Iterable[tuple[str, Iterable[int]]]) -> ModelSpec:
        """The same detector, its outputs known."""
        spec = self.model_copy()
        spec._outputs = tuple((name, tuple(shape)) for name, shape in found)
        return spec

    @property
    def detector_meta(self) -> dict[str, Any]:
        """How a detector's outputs become boxes, as plain JSON; of a plan's model.

        Raises:
            ValueError: it is no detector.
        """
        if self.detection is None:
            raise ValueError(f"{self.name} is no detector")
        return {
            "head": self.detection.head,
            "outputs": [[name, list(shape)] for name, shape in self._outputs],
            "input_size": list(self.input.size),
            "min_score": self.detection.min_score,
            "nms_iou": self.detection.nms_iou,
        }

    @property
    def input_meta(self) -> dict[str, Any]:
        """What the model wants at its input, as plain JSON."""
        return self.input.model_dump(mode="json")

    @property
    def about(self) -> dict[str, str]:
        """Whose model it is, for a row's provenance: licence, provenance, description."""
        fields = {"licence": self.licence, "provenance": self.provenance}
        return fields | ({"description": self.description} if self.description else {})

    @property
    def path(self) -> Path:
        """Where the model's file is."""
        return self.folder / self.file

    @property
    def quantized_path(self) -> Path:
        """Where the quantized file is, of a model that has one."""
        return self.folder / (self.quantized.file if self.quantized else self.file)


def load_model(path: Path | str, verify: bool = True) -> ModelSpec:
    """Read and check a manifest and, unless `verify` is false, the hash of the file it names.

    Raises:
        UserError: `file:line: what is wrong`, a line for each problem.
    """
    spec = load(ModelSpec, path)
    if verify:
        _verify(spec)
    return spec


def _verify(spec: ModelSpec) -> None:
    _verify_file(spec, (), spec.path, spec.sha256)
    if spec.quantized is not None:
        _verify_file(spec, ("quantized",), spec.quantized_path, spec.quantized.sha256)


def _verify_file(spec: ModelSpec, place: tuple[str, ...], path: Path, sha256: str) -> None:
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        fail([spec.source.problem((*place, "file"), f"the model file {path} does not exist")])
        raise
    except OSError as error:
        text = f"the model file {path} cannot be read: {error.strerror or error}"
        fail([spec.source.problem((*place, "file"), text)])
        raise
    if found != sha256:
        text = f"{path} is not the file described here: its sha256 is {found}"
        fail(
            [spec.source.problem((*place, "sha256"), text)],
            "Get the right file again or, if you meant to change it, put that sha256 here.",
        )
