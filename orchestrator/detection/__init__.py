"""Face detectors' outputs into boxes, boxes into figures: numpy only, usable alone.

    head, names = recognized(outputs, input_size)
    spec = DetectorSpec(head.name, outputs, input_size)
    found = [detect(row, spec, image.size) for row, image in zip(rows, truth.images)]
    figures = evaluate(found, truth, DetectionPolicy())
    print(figures.ap["hard"], figures.recall[0.1], figures.landmark_error)

All errors are ``DetectionError``, a ``ValueError``.
"""

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
from orchestrator.detection.letterbox import letterbox, ratio
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
