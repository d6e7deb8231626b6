"""quantize: one model, one calibration table, one scheme."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.stages.made import Made

FILE = "quantized.onnx"
FLOAT32: Mapping[str, Any] = {
    "dtype": "float32",
    "granularity": None,
    "symmetry": None,
    "calibrator": None,
    "keep_float": (),
}


def quantize(
    model: bytes,
    table: bytes | None,
    scheme: Mapping[str, Any],
    toolchain: str,
    twin: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Made:
    """Quantize a float32 ONNX file.

    Args:
        model: the file.
        table: a calibration table's bytes; None for float32.
        scheme: `dtype`, `granularity`, `symmetry`, `calibrator`, `keep_float`.
        toolchain: its name.
        twin: make what stands in for its artifact on an emulated board.
        options: of the toolchain, as the inventory has them.
    """
    from orchestrator.toolchains.table import CalibrationTable

    chain = chain_of(toolchain, twin, options)
    parsed = None if table is None else CalibrationTable.from_bytes(table)
    artifact = chain.quantize(model, parsed, scheme_of(scheme))
    return Made(
        {FILE: artifact.data},
        {"bytes": len(artifact.data)},
        {"toolchain": toolchain, "version": chain.version(), **artifact.manifest},
    )


def chain_of(toolchain: str, twin: bool, options: Mapping[str, Any] | None = None) -> Any:
    """The toolchain of that name, or its twin."""
    from orchestrator import toolchains

    if twin:
        return toolchains.twin_toolchain(toolchain)
    return toolchains.toolchain(toolchain, options)


def scheme_of(scheme: Mapping[str, Any]) -> Any:
    """The toolchains' scheme for a matrix's quantization."""
    from orchestrator.toolchains.base import Scheme

    quantized = scheme["granularity"] is not None
    return Scheme(
        dtype=scheme["dtype"],
        granularity=scheme["granularity"],
        symmetry=scheme["symmetry"],
        calibrator=scheme["calibrator"] if quantized else None,
        keep_float=tuple(scheme["keep_float"]),
    )
