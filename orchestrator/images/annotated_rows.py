"""Whole pictures as rows of a test set, letterboxed to a detector's input, with their truth."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from orchestrator.detection import TruthSet, letterbox
from orchestrator.errors import UserError
from orchestrator.images.annotated import AnnotatedSet
from orchestrator.images.annotated_files import read_coco, read_widerface
from orchestrator.images.checking import Checker
from orchestrator.images.fileset import read_calibration
from orchestrator.images.photos import LETTERBOX, FilePhotos, LetterboxedRows
from orchestrator.images.refusing import refuse
from orchestrator.images.scenes import SceneSet
from orchestrator.images.testset import check_calibration
from orchestrator.specs.annotated import WiderSet
from orchestrator.specs.scenes import ScenesCalibration, ScenesSet
from orchestrator.specs.sets import PictureSet
from orchestrator.specs.testset import FolderCalibration

TRUTH = "truth.npz"
Size = tuple[int, int]


class AnnotatedRows:
    """The first `count` pictures of a set; see `orchestrator.images.testset.Rows`.

    Args:
        source: the pictures and their truth.
        count: of the pictures.
        size: height, width of the model's input.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, source: AnnotatedSet, count: int, size: Size) -> None:
        self._source, self._count, self._size = source, count, size

    @property
    def identities(self) -> tuple[str, ...]:
        """Nobody is recognized: the pictures' numbers."""
        return tuple(map(str, range(self._count)))

    @property
    def names(self) -> tuple[str, ...]:
        """What to call each picture in a message."""
        return tuple(image.name for image in self._source.truth.images[: self._count])

    def __len__(self) -> int:
        """Number of pictures."""
        return self._count

    def images(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.uint8]:
        """Pictures `start` to `stop` (exclusive), letterboxed: uint8 (n, height, width, 3), RGB."""
        numbers = range(self._count)[start:stop]
        out = np.zeros((len(numbers), *self._size, 3), np.uint8)
        for place, number in enumerate(numbers):
            out[place] = letterbox(self._source.image(number), self._size)
        return out

    def beside(self) -> dict[str, bytes]:
        """The truth of these pictures, a file that `TruthSet.load` reads."""
        truth = self._source.truth
        file = io.BytesIO()
        TruthSet(truth.images[: self._count], truth.subsets).save(file)
        return {TRUTH: file.getvalue()}

    def lost(self, images: npt.NDArray[np.uint8]) -> Sequence[int]:
        """None: every picture is shown to the detector."""
        return ()

    def fingerprint(self) -> str:
        """Hash (hex) of what decides pixels and truth."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        about = (self._source.fingerprint, self._count, self._size, LETTERBOX)
        return hashlib.sha256(repr(about).encode()).hexdigest()


def annotated(spec: PictureSet) -> AnnotatedSet:
    """The pictures of a test set.

    Raises:
        UserError: files that cannot be read or do not fit together, with file and line.
    """
    if isinstance(spec, ScenesSet):
        return SceneSet(spec)
    if isinstance(spec, WiderSet):
        lists = spec.lists
        return read_widerface(spec.images, spec.truth, dict(lists) if lists else None)
    return read_coco(spec.images, spec.annotations, spec.category)


def picture_rows(spec: PictureSet, size: Size, limit: int | None = None) -> AnnotatedRows:
    """The pictures that a detector is tested with.

    Args:
        spec: the test set.
        size: height, width of the model's input.
        limit: take only the first so many.

    Raises:
        UserError: as for `annotated`; a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"a limit of {limit} leaves no picture; it must be 1 or more")
    source = annotated(spec)
    count = len(source) if limit is None else min(limit, len(source))
    if isinstance(spec, ScenesSet) and count < len(source):
        # The truth of the others need not be computed.
        source = SceneSet(spec.model_copy(update={"images": count}))
    return AnnotatedRows(source, count, size)


def picture_calibration(
    spec: ScenesCalibration | FolderCalibration, size: Size, checker: Checker
) -> AnnotatedRows | LetterboxedRows:
    """The pictures that calibrate a detector.

    Raises:
        UserError: a folder that is missing or empty, files that are no images.
    """
    if isinstance(spec, ScenesCalibration):
        return AnnotatedRows(SceneSet(spec), spec.images, size)
    found = read_calibration(spec, checker)
    refuse([found])
    check_calibration(spec, found)
    return LetterboxedRows(FilePhotos(found.files, found.notes), size)
