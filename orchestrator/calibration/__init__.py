"""Streaming range estimation: one calibration from which every scheme is emitted."""

from orchestrator.calibration.calibrate import METHODS, Progress, calibrate
from orchestrator.calibration.explain import LayerLoss, LayerReport, StageParity, explain, parity
from orchestrator.calibration.preprocess import preprocess
from orchestrator.calibration.table import CalibrationTable
from orchestrator.graphs.recipes import calibration_version as version

__all__ = [
    "METHODS",
    "CalibrationTable",
    "LayerLoss",
    "LayerReport",
    "Progress",
    "StageParity",
    "calibrate",
    "explain",
    "parity",
    "preprocess",
    "version",
]
