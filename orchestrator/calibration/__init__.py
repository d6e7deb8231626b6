"""Streaming range estimation: one calibration from which every scheme is emitted."""

from orchestrator.calibration.calibrate import Progress, calibrate
from orchestrator.calibration.preprocess import preprocess
from orchestrator.calibration.table import CalibrationTable

__all__ = ["CalibrationTable", "Progress", "calibrate", "preprocess"]
