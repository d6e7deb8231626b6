"""Photos as rows of a test set: a detector finds the face, five points align it."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.aligning.detector import Detector, Pixels
from orchestrator.aligning.photos import chosen
from orchestrator.detection import DetectionError, Detections
from orchestrator.detection.align import SIZE, aligned
from orchestrator.errors import UserError
from orchestrator.images.checking import Checker
from orchestrator.images.fileset import LAYOUT, read_set
from orchestrator.images.photos import (
    FilePhotos,
    LetterboxedRows,
    PhotoRows,
    Photos,
    RenderedPhotos,
)
from orchestrator.images.refusing import refuse
from orchestrator.images.testset import gallery_ids, limited_gallery, limited_probes, probe_ids
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.photos import ALIGNING, AnyPhotos, RenderedPhotosSet


class AlignedRows(PhotoRows, ABC):
    """Photos of any size, each as its largest face, aligned; black where no face was found.

    Args:
        photos: in the order of the rows.
    """

    def images(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.uint8]:
        """Faces of photos `start` to `stop` (exclusive): uint8 (n, 112, 112, 3), RGB.

        Raises:
            UserError: a photo is missing or no image, or the detector cannot be used.
        """
        numbers = range(len(self.photos))[start:stop]
        out = np.zeros((len(numbers), SIZE, SIZE, 3), np.uint8)
        for place, number in enumerate(numbers):
            pixels = self._photo(number)
            found = self._found(number, pixels)
            if found is None or not len(found) or found.points is None:
                continue
            try:
                out[place] = aligned(pixels, found.points[chosen(found)])
            except DetectionError:  # points in one place: no face
                continue
        return out

    def lost(self, images: npt.NDArray[np.uint8]) -> Sequence[int]:
        """Rows that are black all over: no face was found there."""
        return [n for n, image in enumerate(images) if not image.any()]

    def _photo(self, number: int) -> npt.NDArray[np.uint8]:
        return self.photos.photo(number)

    @abstractmethod
    def _found(self, number: int, pixels: npt.NDArray[np.uint8]) -> Detections | None:
        """Faces of a photo in its own pixels; None where its detector failed."""


class HostAlignedRows(AlignedRows):
    """Faces that a float32 detector finds on this host.

    Args:
        photos: in the order of the rows.
        detector: its manifest.
        min_score: a photo without a box of this score has no face.
    """

    def __init__(self, photos: Photos, detector: ModelSpec, min_score: float) -> None:
        super().__init__(photos)
        self._spec, self._min_score = detector, min_score
        self._detector: Detector | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_detector": None}  # a session cannot be pickled

    def letterboxed(self) -> LetterboxedRows:
        """The photos themselves, for checks of what they show."""
        return LetterboxedRows(self.photos, (SIZE, SIZE))

    def fingerprint(self) -> str:
        """Hash (hex) of the photos, the detector, and how faces are aligned."""
        spec = self._spec
        about = {
            "photos": self.photos.fingerprint(),
            "detector": spec.sha256,
            "input": spec.input_meta,
            "detection": spec.detection and spec.detection.model_dump(mode="json"),
            "min_score": self._min_score,
            "aligning": ALIGNING,
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def _found(self, number: int, pixels: npt.NDArray[np.uint8]) -> Detections:
        if self._detector is None:
            self._detector = detector_of(self._spec, self._min_score)
        return self._detector.find(pixels)


def detector_of(spec: ModelSpec, min_score: float) -> Detector:
    """A manifest's detector, to run on this host.

    Raises:
        UserError: its file cannot be used, or it finds no points.
    """
    wants = spec.input
    pixels = Pixels(wants.colour, wants.mean, wants.std)
    found = Detector(spec.path, wants.size, min_score, pixels)
    if spec.detection is not None:
        if found.spec.head != spec.detection.head:
            raise UserError(
                f"{spec.source.file}: its outputs are those of {found.spec.head!r}, not of "
                f"{spec.detection.head!r}"
            )
        found.spec = replace(found.spec, nms_iou=spec.detection.nms_iou)
    return found


def photos_of(
    spec: AnyPhotos, role: str, *, limit: int | None = None, checker: Checker | None = None
) -> Photos:
    """The photos of a role.

    Args:
        spec: the test set.
        role: `gallery` or `probe`.
        limit: enrol only this many identities, as for a folder of aligned faces.
        checker: what checks files; it may know them already.

    Raises:
        UserError: the folder is missing, empty or wrong; photos that cannot be read, all of them.
    """
    if isinstance(spec, RenderedPhotosSet):
        numbers = gallery_ids if role == "gallery" else probe_ids
        ids = np.asarray(numbers(spec, limit))
        shots = np.full_like(ids, 0 if role == "gallery" else 1)
        return RenderedPhotos(ids, shots, spec.size, spec.seed, spec.difficulty)
    found = read_set(spec, checker or Checker())
    refuse([found], (), checker.state if checker else None)
    gallery, probes = found.role("gallery"), found.role("probe")
    if not {item.identity for item in gallery} & {item.identity for item in probes}:
        raise UserError(f"{spec.path}: no identity has both a gallery and a probe photo", LAYOUT)
    files = (
        limited_gallery(gallery, limit)
        if role == "gallery"
        else limited_probes(gallery, probes, limit)
    )
    return FilePhotos(files, found.notes)
