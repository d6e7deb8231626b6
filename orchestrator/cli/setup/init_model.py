"""What `farm init` finds of a user's model before it compares colours and scalings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.calibration.preprocess import preprocess
from orchestrator.cli.run.plan import REPAIRED
from orchestrator.errors import UserError
from orchestrator.intake.looking import Looked, look
from orchestrator.intake.normalizing import Normal, normalize
from orchestrator.intake.pictures import pictures
from orchestrator.intake.proving import Proof, features_of, prepared, prove
from orchestrator.intake.reading import Original, read
from orchestrator.stages.variants import SCALINGS, Triple

IMAGES = 8
RAW: tuple[Triple, Triple] = ((0.0,) * 3, (1.0,) * 3)


@dataclass(frozen=True)
class Taken:
    """A model in the normal form.

    Attributes:
        original, normal: the file and what was made of it.
        proof: how both compare.
        looked: what its features look like.
        faces: images of its size and whose they are, or None.
        fed: mean and std that follow from the graph; None where they have to be found.
    """

    original: Original
    normal: Normal
    proof: Proof
    looked: Looked
    faces: tuple[Any, list[str]] | None
    fed: tuple[Triple, Triple] | None

    @property
    def inside(self) -> str:
        """What the graph does with pixels."""
        return str(self.normal.inside or "it takes them as uint8")

    @property
    def embedding_size(self) -> int:
        """Numbers an image."""
        return int(self.proof.features.shape[1])

    def lines(self) -> list[str]:
        """What to say of it; nothing of a model that is as it should be."""
        lines = []
        if self.normal.changes:
            repaired = REPAIRED if self.normal.computable is not None else ""
            lines.append(
                f"{self.original.path} is used in the normal form; lowest cosine to the file"
                f"{repaired} on {self.proof.images} images {self.proof.cosine:.7f}:"
            )
        lines += [f"  - {change}" for change in self.normal.changes]
        if self.fed:
            (mean, _, _), (std, _, _) = self.fed
            lines.append(f"The graph normalizes pixels itself: {self.inside}.")
            lines.append(f"The manifest's mean is {mean:g} and its std {std:g}.")
        lines += [f"warning: {text}" for text in self.looked.warnings]
        return lines

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "changes": list(self.normal.changes),
            "cosine": self.proof.cosine,
            "images": self.proof.images,
            "inside": self.inside if self.fed else None,
            "warnings": list(self.looked.warnings),
        }

    def check_given(self, mean: Triple, std: Triple) -> None:
        """Raise UserError where a given mean or std cannot be for a uint8 input."""
        if self.normal.dtype == "uint8" and (mean, std) != RAW:
            raise UserError(
                f"{self.original.path} takes uint8 pixels as they are",
                "--mean 0 --std 1, or leave both out",
            )


def take(
    path: Path,
    size: tuple[int, int] | None,
    output: str | None,
    faces_of: Callable[[tuple[int, int]], tuple[Any, list[str]] | None],
) -> Taken:
    """Read a model, bring it into the normal form, prove that, and look at its features.

    Args:
        path: the ONNX file.
        size: (height, width) where the file leaves them open.
        output: the embedding's name where there are several outputs.
        faces_of: images of a size, uint8 (n, height, width, 3), and whose they are; or None.

    Raises:
        UserError: it has no normal form, or its output is of no use.
    """
    original = read(path)
    try:
        normal = normalize(original, size=size, output=output)
    except UserError as error:
        raise _of(path, error) from error
    faces = faces_of(normal.size)
    images = pictures(IMAGES, normal.size) if faces is None else _spread(faces[0])
    fed = None
    if normal.dtype == "uint8":
        fed = RAW
    elif normal.inside is not None:
        fed = normal.inside.fed
    scalings = [fed] if fed else list(SCALINGS.values())
    try:
        proof = prove(original, normal, _inputs(images, *scalings[0]))
        looked = look(proof.features)
        for mean, std in scalings[1:] if looked.fatal else ():
            # A wrong scaling may overflow; only what no scaling helps is the model's fault.
            again = look(features_of(normal.data, _inputs(images, mean, std)))
            if not again.fatal:
                looked = again
                break
    except UserError as error:
        raise _of(path, error) from error
    if looked.fatal:
        tried = "" if fed else ", whatever mean and std"
        raise UserError(
            f"{path}: {looked.fatal}{tried}", "look at the model and how it was exported"
        )
    try:
        prepared(normal)
    except UserError as error:
        raise _of(path, error) from error
    return Taken(original, normal, proof, looked, faces, fed)


def _inputs(images: NDArray[np.uint8], mean: Triple, std: Triple) -> NDArray[np.float32]:
    return preprocess(images, layout="NCHW", colour_order="RGB", mean=mean, std=std)


def _spread(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    places = np.unique(np.linspace(0, len(images) - 1, min(IMAGES, len(images))).astype(int))
    taken: NDArray[np.uint8] = images[places]
    return taken


def _of(path: Path, error: UserError) -> UserError:
    """The error with the file's name in it."""
    if str(path) in error.message:
        return error
    return UserError(f"{path}: {error.message}", error.hint)
