"""The host side of each vendor: prepare, quantize, convert. Bytes in, bytes out.

What a toolchain declares is read by every plan, so it is imported without what quantizes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from orchestrator.calibration.table import CalibrationTable

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


def __getattr__(name: str) -> Any:
    if name == "CalibrationTable":
        from orchestrator.calibration.table import CalibrationTable

        return CalibrationTable
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
