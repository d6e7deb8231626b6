"""convert: the file that is deployed, made from what quantize made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.hashing import sha256_bytes
from orchestrator.stages.made import Made
from orchestrator.stages.quantize import FILE as QUANTIZED
from orchestrator.stages.quantize import chain_of, quantize

FILE = "artifact"


def convert(quantized: bytes, toolchain: str, twin: bool = False) -> Made:
    """Convert an ONNX file of `quantize` into the toolchain's (or its twin's) deployable format."""
    chain = chain_of(toolchain, twin)
    artifact = chain.convert(quantized)
    return Made(
        {FILE: artifact.data},
        {
            "bytes": len(artifact.data),
            "sha256": sha256_bytes(artifact.data),
            "format": artifact.format,
        },
        {"toolchain": toolchain, "version": chain.version(), **artifact.manifest},
    )


def convert_float(
    model: bytes, scheme: Mapping[str, Any], toolchain: str, twin: bool = False
) -> Made:
    """The deployable file of a model that is not quantized."""
    prepared = quantize(model, None, scheme, toolchain, twin)
    return convert(prepared.files[QUANTIZED], toolchain, twin)
