"""The host side of each vendor: prepare, quantize, convert. Bytes in, bytes out."""

from orchestrator.calibration.table import CalibrationTable
from orchestrator.toolchains.base import (
    Artifact,
    Calibrator,
    Capabilities,
    Dtype,
    Granularity,
    Scheme,
    Symmetry,
    Toolchain,
)
from orchestrator.toolchains.registry import toolchain, toolchain_names

__all__ = [
    "Artifact",
    "CalibrationTable",
    "Calibrator",
    "Capabilities",
    "Dtype",
    "Granularity",
    "Scheme",
    "Symmetry",
    "Toolchain",
    "toolchain",
    "toolchain_names",
]
