"""Photos as rows of a test set: a detector finds the face, five points align it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.aligning.detector import Detector, Pixels
from orchestrator.aligning.photos import chosen
from orchestrator.detection import DetectionError
from orchestrator.detection.align import SIZE, aligned
from orchestrator.errors import UserError
from orchestrator.images.annotated_rows import PhotoRows
from orchestrator.images.checking import Checker, read
from orchestrator.images.decoder import decode
from orchestrator.images.files import FileRows, ImageFile
from orchestrator.images.fileset import LAYOUT, read_set
from orchestrator.images.refusing import refuse
from orchestrator.images.testset import limited_gallery, limited_probes
from orchestrator.images.unreadable import Unreadable
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.testset import PhotosSet

ALIGNING = 1
"""Raised whenever the same photo and detector would give other pixels."""


class AlignedRows(FileRows):
    """Photos of any size, each as its largest face, aligned; black where no face was found.

    Args:
        files: in the order of the rows.
        detector: its manifest.
        min_score: a photo without a box of this score has no face.
        notes: what must be said beside figures that were made of them.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        detector: ModelSpec,
        min_score: float,
        notes: Sequence[str] = (),
    ) -> None:
        super().__init__(files, (SIZE, SIZE), notes)
        self._spec, self._min_score = detector, min_score
        self._detector: Detector | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_detector": None}  # a session cannot be pickled

    def images(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.uint8]:
        """Faces of photos `start` to `stop` (exclusive): uint8 (n, 112, 112, 3), RGB.

        Raises:
            UserError: a photo is missing or no image, or the detector cannot be used.
        """
        part = self.files[start:stop]
        out = np.zeros((len(part), SIZE, SIZE, 3), np.uint8)
        for place, item in enumerate(part):
            try:
                pixels = decode(read(item.path)).pixels
            except Unreadable as error:
                raise UserError(f"{item.path}: {error}") from None
            found = self._loaded().find(pixels)
            if not len(found) or found.points is None:
                continue
            try:
                out[place] = aligned(pixels, found.points[chosen(found)])
            except DetectionError:  # points in one place: no face
                continue
        return out

    def lost(self, images: npt.NDArray[np.uint8]) -> Sequence[int]:
        """Rows that are black all over: no face was found there."""
        return [n for n, image in enumerate(images) if not image.any()]

    def photos(self) -> PhotoRows:
        """The photos themselves, letterboxed, for checks of what they show."""
        return PhotoRows(self.files, (SIZE, SIZE), self.notes)

    def fingerprint(self) -> str:
        """Hash (hex) of the photos, the detector, and how faces are aligned."""
        spec = self._spec
        about = {
            "photos": super().fingerprint(),
            "detector": spec.sha256,
            "input": spec.input_meta,
            "detection": spec.detection and spec.detection.model_dump(mode="json"),
            "min_score": self._min_score,
            "aligning": ALIGNING,
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def _loaded(self) -> Detector:
        if self._detector is None:
            self._detector = detector_of(self._spec, self._min_score)
        return self._detector


def detector_of(spec: ModelSpec, min_score: float) -> Detector:
    """A manifest's detector, to run on this host.

    Raises:
        UserError: its file cannot be used, or it finds no points.
    """
    wants = spec.input
    pixels = Pixels(wants.colour, wants.mean, wants.std)
    found = Detector(spec.path, wants.size, min_score, pixels)
    if spec.detection is not None and found.spec.head != spec.detection.head:
        raise UserError(
            f"{spec.source.file}: its outputs are those of {found.spec.head!r}, not of "
            f"{spec.detection.head!r}"
        )
    return found


def aligned_rows(
    spec: PhotosSet,
    role: str,
    detector: ModelSpec,
    *,
    limit: int | None = None,
    checker: Checker | None = None,
) -> AlignedRows:
    """The photos of a role, as rows of aligned faces.

    Args:
        spec: the test set.
        role: `gallery` or `probe`.
        detector: its manifest.
        limit: enrol only this many identities, as for a folder of aligned faces.
        checker: what checks files; it may know them already.

    Raises:
        UserError: the folder is missing, empty or wrong; photos that cannot be read, all of them.
    """
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
    return AlignedRows(files, detector, spec.min_score, found.notes)
