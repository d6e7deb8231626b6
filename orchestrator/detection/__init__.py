"""Face detectors' outputs into boxes, boxes into figures: numpy only, usable alone.

    head, names = recognized(outputs, input_size)
    spec = DetectorSpec(head.name, outputs, input_size)
    found = [detect(row, spec, image.size) for row, image in zip(rows, truth.images)]
    figures = evaluate(found, truth, DetectionPolicy())
    print(figures.ap["hard"], figures.recall[0.1], figures.landmark_error)

All errors are ``DetectionError``, a ``ValueError``. Names are loaded when they are asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Not late: the module of the same name would take the function's place.
from orchestrator.detection.letterbox import letterbox, ratio

if TYPE_CHECKING:
    from orchestrator.detection.boxes import Detections, overlaps
    from orchestrator.detection.comparing import (
        Agreement,
        AtFixedThreshold,
        DetectionDifference,
        compare,
    )
    from orchestrator.detection.decode import (
        DetectorSpec,
        decoded,
        detect,
        detector_spec,
        finished,
        split,
    )
    from orchestrator.detection.errors import DetectionError
    from orchestrator.detection.figures import DetectionFigures, DetectionPolicy, evaluate
    from orchestrator.detection.heads.head import DetectionHead, Output
    from orchestrator.detection.heads.registry import HEADS, recognized
    from orchestrator.detection.nms import suppressed
    from orchestrator.detection.stored import load_detections, save_detections
    from orchestrator.detection.truth import Truth, TruthSet

__all__ = [
    "HEADS",
    "Agreement",
    "AtFixedThreshold",
    "DetectionDifference",
    "DetectionError",
    "DetectionFigures",
    "DetectionHead",
    "DetectionPolicy",
    "Detections",
    "DetectorSpec",
    "Output",
    "Truth",
    "TruthSet",
    "compare",
    "decoded",
    "detect",
    "detector_spec",
    "evaluate",
    "finished",
    "letterbox",
    "load_detections",
    "overlaps",
    "ratio",
    "recognized",
    "save_detections",
    "split",
    "suppressed",
]

_FILES = {
    "Agreement": "comparing",
    "AtFixedThreshold": "comparing",
    "DetectionDifference": "comparing",
    "DetectionError": "errors",
    "DetectionFigures": "figures",
    "DetectionHead": "heads.head",
    "DetectionPolicy": "figures",
    "Detections": "boxes",
    "DetectorSpec": "decode",
    "HEADS": "heads.registry",
    "Output": "heads.head",
    "Truth": "truth",
    "TruthSet": "truth",
    "compare": "comparing",
    "decoded": "decode",
    "detect": "decode",
    "detector_spec": "decode",
    "evaluate": "figures",
    "finished": "decode",
    "load_detections": "stored",
    "overlaps": "boxes",
    "recognized": "heads.registry",
    "save_detections": "stored",
    "split": "decode",
    "suppressed": "nms",
}


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
