"""convert: the file that is deployed, made from what quantize made, and how it is fed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.hashing import sha256_bytes
from orchestrator.specs.artifact import ArtifactInterface
from orchestrator.stages.made import Made
from orchestrator.stages.quantize import FILE as QUANTIZED
from orchestrator.stages.quantize import chain_of, quantize

FILE = "artifact"
INTERFACE = "interface.json"


def convert(quantized: bytes, toolchain: str, twin: bool = False) -> Made:
    """Convert an ONNX file of `quantize` into the toolchain's (or its twin's) deployable format.

    Raises:
        ToolchainError: the converter failed, or its manifest does not say how the file is fed.
    """
    chain = chain_of(toolchain, twin)
    artifact = chain.convert(quantized)
    interface = ArtifactInterface.of(artifact.manifest, f"{toolchain}'s {artifact.format} file")
    text = json.dumps(interface.to_json(), indent=1, sort_keys=True)
    return Made(
        # Features depend on how the file is fed as much as on the file: both are its content.
        {FILE: artifact.data, INTERFACE: text.encode()},
        {
            "bytes": len(artifact.data),
            "sha256": sha256_bytes(artifact.data),
            "format": artifact.format,
        },
        {"toolchain": toolchain, "version": chain.version(), **artifact.manifest},
    )


def read_interface(data: bytes) -> ArtifactInterface:
    """What `convert` wrote as `interface.json`."""
    return ArtifactInterface.model_validate_json(data)


def convert_float(
    model: bytes, scheme: Mapping[str, Any], toolchain: str, twin: bool = False
) -> Made:
    """The deployable file of a model that is not quantized."""
    prepared = quantize(model, None, scheme, toolchain, twin)
    return convert(prepared.files[QUANTIZED], toolchain, twin)
