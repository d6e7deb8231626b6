"""Images: rendered faces and scenes, and the user's own, as rows of a test set."""

from orchestrator.images.annotated_rows import picture_calibration, picture_rows
from orchestrator.images.checking import Checker
from orchestrator.images.renderer import RENDERER_VERSION, render
from orchestrator.images.testset import (
    Rows,
    calibration_rows,
    check_sets,
    gallery_rows,
    people_rows,
    probe_rows,
)

__all__ = [
    "RENDERER_VERSION",
    "Checker",
    "Rows",
    "calibration_rows",
    "check_sets",
    "gallery_rows",
    "people_rows",
    "picture_calibration",
    "picture_rows",
    "probe_rows",
    "render",
]
