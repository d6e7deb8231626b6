"""Images: rendered faces and scenes, and the user's own, as rows of a test set.

Its names are loaded when they are asked for: a plan of rendered faces needs no image decoder.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.images.annotated_rows import picture_calibration, picture_rows
    from orchestrator.images.checking import Checker
    from orchestrator.images.rendered import RENDERER_VERSION
    from orchestrator.images.renderer import render
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

_FILES = {
    "picture_calibration": "annotated_rows",
    "picture_rows": "annotated_rows",
    "Checker": "checking",
    "RENDERER_VERSION": "rendered",
    "render": "renderer",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES.get(name, 'testset')}"), name)
