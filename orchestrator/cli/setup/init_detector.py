"""What `farm init` finds of a detector: its head by the shapes of its outputs."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.aligning.detector import Detector, Pixels
from orchestrator.errors import UserError
from orchestrator.intake.reading import read
from orchestrator.specs.skeleton import detector_manifest_text

if TYPE_CHECKING:
    from orchestrator.cli.setup.to_init import ToInit


SMALL = 96  # pixels


@dataclass(frozen=True)
class FoundDetector:
    """A model whose outputs are those of a known head.

    Attributes:
        path: the user's file.
        detector: it, loaded.
        given: whether colour, mean and std were given.
    """

    path: Path
    detector: Detector
    given: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height, width of the input in pixels."""
        return self.detector.size

    @cached_property
    def copy(self) -> bytes | None:
        """The file with another input size, where that was asked for."""
        if not self.detector.resized:
            return None
        import onnx

        model = onnx.load_model_from_string(self.detector.model)
        shapes = {output.name: output.shape for output in self.detector.spec.outputs}
        for output in model.graph.output:
            tensor = output.type.tensor_type
            if output.name in shapes:
                typed = onnx.helper.make_tensor_type_proto(tensor.elem_type, shapes[output.name])
                output.type.CopyFrom(typed)
        return bytes(model.SerializeToString())

    def lines(self) -> list[str]:
        """What to say of it."""
        spec, pixels = self.detector.spec, self.detector.pixels
        shown = ", ".join(f"{output.name} {list(output.shape)}" for output in spec.outputs)
        said = [
            f"{self.path} is a detector: its outputs are those of a {spec.head} head",
            f"  {shown}",
        ]
        if not self.given:
            said.append(
                f"Colour {pixels.colour}, mean {pixels.mean[0]:g} and std {np.max(pixels.std):g} "
                f"are those of {spec.head}'s own repository; give --colour, --mean and --std "
                "where yours differ."
            )
        if min(self.size) < SMALL:
            said.append(
                f"warning: an input of {self.size[0]} x {self.size[1]} is small for whole "
                "pictures: give the size it will run at, such as --size 480x640"
            )
        if self.copy is not None:
            said.append(
                f"The copy in models/ has an input of {self.size[0]} x {self.size[1]} (high x wide)"
            )
        return said

    def manifest(self, name: str, target: Path) -> str:
        """The manifest's text; `target` is where it will be."""
        spec, pixels = self.detector.spec, self.detector.pixels
        own = self.copy is None
        why = (
            "Colour, mean and std as they were given."
            if self.given
            else f"Colour, mean and std are those of {spec.head}'s own repository: not compared."
        )
        copied = hashlib.sha256(self.copy or b"").hexdigest()
        return detector_manifest_text(
            name=name,
            file=os.path.relpath(self.path, target.parent) if own else f"{target.stem}.onnx",
            sha256=self.detector.sha256 if own else copied,
            input_name=self.detector.input_name,
            size=self.size,
            colour=pixels.colour,
            mean=pixels.mean,
            std=np.atleast_1d(pixels.std).tolist(),
            head=spec.head,
            outputs=[output.name for output in spec.outputs],
            why=why,
        )

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        spec = self.detector.spec
        outputs = [{"name": o.name, "shape": list(o.shape)} for o in spec.outputs]
        return {"head": spec.head, "outputs": outputs, "input_size": list(spec.input_size)}


def find_detector(arguments: ToInit, target: Path) -> FoundDetector | None:
    """The model as a detector; None where it is none, or its embedding's name was given.

    Args:
        arguments: what `farm init` was told; a model among it.
        target: where the manifest will be.

    Raises:
        UserError: something given is not for a detector, or a file is in the way.
    """
    path = Path(str(arguments.model))
    if arguments.output is not None or len(read(path).proto.graph.output) < 2:
        return None
    known = [arguments.colour, arguments.mean, arguments.std]
    pixels = None
    if all(known):
        pixels = _pixels(arguments)
    try:
        detector = Detector(path, arguments.size, 0.02, pixels, points=False)
    except UserError as error:
        if "give both: --size" in error.hint:
            raise
        return None
    if any(known) and not all(known):
        raise UserError("--colour, --mean and --std: all three or none")
    if arguments.images or arguments.calibration:
        raise UserError(
            f"{path} is a detector ({detector.spec.head}): aligned faces do not test or calibrate "
            "it",
            "leave --images and --calibration out; matrix.yaml takes `wider:`, `coco:` and a "
            "`folder:` of photos",
        )
    found = FoundDetector(path, detector, all(known))
    copy = target.with_suffix(".onnx")
    if found.copy is not None and copy.exists() and not arguments.force:
        raise UserError(f"{copy} is there already", "--force overwrites it; --name another name")
    return found


def _pixels(arguments: ToInit) -> Pixels:
    mean = arguments.mean * 3 if len(arguments.mean) == 1 else arguments.mean
    if len(mean) != 3 or len(arguments.std) != 1:
        raise UserError("--mean, --std of a detector: one number or three, and one number")
    return Pixels(str(arguments.colour), (mean[0], mean[1], mean[2]), arguments.std[0])
