"""The host side of each vendor: prepare, quantize, convert. Bytes in, bytes out."""

from orchestrator.calibration.table import CalibrationTable
from orchestrator.plugins import toolchain_names
from orchestrator.toolchains.base import (
    Artifact,
    Calibrator,
    Capabilities,
    Conversion,
    Dtype,
    Granularity,
    Scheme,
    Symmetry,
    Toolchain,
)
from orchestrator.toolchains.registry import toolchain
from orchestrator.toolchains.twins import (
    make_twin,
    twin_names,
    twin_of,
    twin_toolchain,
    twin_version,
)

__all__ = [
    "Artifact",
    "CalibrationTable",
    "Calibrator",
    "Capabilities",
    "Conversion",
    "Dtype",
    "Granularity",
    "Scheme",
    "Symmetry",
    "Toolchain",
    "make_twin",
    "toolchain",
    "toolchain_names",
    "twin_names",
    "twin_of",
    "twin_toolchain",
    "twin_version",
]
