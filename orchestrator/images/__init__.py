"""Images: rendered faces and the user's own, as rows of a test set."""

from orchestrator.images.renderer import RENDERER_VERSION, render
from orchestrator.images.testset import Rows, calibration_rows, gallery_rows, probe_rows

__all__ = [
    "RENDERER_VERSION",
    "Rows",
    "calibration_rows",
    "gallery_rows",
    "probe_rows",
    "render",
]
