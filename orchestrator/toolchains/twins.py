"""A vendor's twin by the vendor's name: what an emulated board of that vendor runs.

A twin is never made where the real artifact was asked for: callers say that they want one.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from orchestrator.errors import UserError
from orchestrator.plugins import built_in_toolchains
from orchestrator.toolchains.base import Artifact, Scheme, Toolchain
from orchestrator.toolchains.registry import descriptor

if TYPE_CHECKING:
    from orchestrator.calibration.table import CalibrationTable


def twin_names() -> tuple[str, ...]:
    """Toolchains that have a twin, sorted."""
    return tuple(name for name in built_in_toolchains() if descriptor(name).twin is not None)


def twin_toolchain(vendor: str) -> Toolchain:
    """The toolchain that makes a vendor's twins.

    Raises:
        UserError: no twin of that vendor is known; the nearest is named.
    """
    make = descriptor(vendor).twin if vendor in built_in_toolchains() else None
    if make is None:
        near = difflib.get_close_matches(vendor, twin_names(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(
            f"no twin of '{vendor}' is known", f"{hint}known: {', '.join(twin_names())}"
        )
    return make()


def twin_version(vendor: str) -> str:
    """What decides a twin's bytes, for its key."""
    return twin_toolchain(vendor).version()


def twin_of(vendor: str) -> str:
    """Whose arithmetic a twin models, as a person says it: `Tengine`, `RKNN 1.x`, `TensorRT`."""
    return descriptor(vendor).twin_label or vendor


def make_twin(
    vendor: str, model: bytes, table: CalibrationTable | None, scheme: Scheme
) -> Artifact:
    """An ONNX file, batch 1, that onnxruntime computes as the vendor's board is known to.

    Args:
        vendor: tengine, rknn (RKNN 2), rknn1 (RKNN 1.x) or tensorrt.
        model: the float32 ONNX file.
        table: ranges of that model; None for float32.
        scheme: one that the vendor has.

    Returns:
        Its manifest has executed_by `twin`, twin_of and twin_facts.

    Raises:
        UserError: no such vendor or scheme, or a table of another model.
    """
    chain = twin_toolchain(vendor)
    quantized = chain.quantize(model, table, scheme)
    artifact = chain.convert(quantized.data)
    return Artifact(artifact.data, artifact.format, {**quantized.manifest, **artifact.manifest})
