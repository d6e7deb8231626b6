"""The test sets and calibrations that a matrix may have, and the task that each is for."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from orchestrator.results import Task
from orchestrator.specs.annotated import CocoSet, WiderSet
from orchestrator.specs.base import tagged
from orchestrator.specs.photos import PhotosSet, RenderedPhotosSet
from orchestrator.specs.scenes import ScenesCalibration, ScenesSet
from orchestrator.specs.testset import (
    FolderCalibration,
    FolderSet,
    RenderedCalibration,
    RenderedSet,
)

FaceSet = RenderedSet | FolderSet | PhotosSet | RenderedPhotosSet
"""Faces, aligned or to be aligned, for recognition."""

PictureSet = ScenesSet | WiderSet | CocoSet
"""Whole pictures with annotated faces, for detection."""

_SETS = ("rendered", "folder", "list", "photos", "rendered_photos", "scenes", "wider", "coco")
_PICTURES = ("folder", "list", "scenes")
_CALIBRATIONS = ("rendered", "folder", "list", "scenes")

TestSet = Annotated[
    Annotated[FaceSet | PictureSet, Field(discriminator="source")],
    BeforeValidator(lambda v: tagged(v, "source", _SETS, "path")),
]

CalibrationSpec = Annotated[
    Annotated[
        RenderedCalibration | FolderCalibration | ScenesCalibration, Field(discriminator="source")
    ],
    BeforeValidator(lambda v: tagged(v, "source", _CALIBRATIONS, "path")),
]


DetectorCalibration = Annotated[
    Annotated[FolderCalibration | ScenesCalibration, Field(discriminator="source")],
    BeforeValidator(lambda v: tagged(v, "source", _PICTURES, "path")),
]
"""What calibrates a detector that finds the faces of a recognizer."""


def task_of(test_set: FaceSet | PictureSet) -> Task:
    """The task that a test set is for."""
    return "recognition" if isinstance(test_set, FaceSet) else "detection"


def usual_calibration(read: dict[str, Any]) -> RenderedCalibration | ScenesCalibration:
    """What calibrates where a matrix does not say: rendered images of the test set's kind.

    Args:
        read: the fields of the matrix that stand before `calibration`.
    """
    test_set = read.get("test_set")
    if test_set is None or task_of(test_set) == "recognition":
        return RenderedCalibration()
    return scenes_like(test_set)


def scenes_like(test_set: FaceSet | PictureSet) -> ScenesCalibration:
    """Scenes that calibrate a detector for a test set: like its own where it is rendered."""
    if isinstance(test_set, ScenesSet | RenderedPhotosSet):
        return ScenesCalibration(size=test_set.size, difficulty=test_set.difficulty)
    return ScenesCalibration()
