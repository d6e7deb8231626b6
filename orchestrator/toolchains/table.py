"""The calibration table, which `Toolchain.quantize` takes."""

from orchestrator.calibration.table import CalibrationTable

__all__ = ["CalibrationTable"]
