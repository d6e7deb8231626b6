"""convert: the file that is deployed, made from what quantize made, and how it is fed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.hashing import sha256_bytes
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.specs.artifact import ArtifactInterface
from orchestrator.stages import image_rows
from orchestrator.stages.deployable import FILE, INTERFACE
from orchestrator.stages.quantize import FILE as QUANTIZED
from orchestrator.stages.quantize import chain_of, quantize
from orchestrator.stages.stage import Stage, size
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work

MADE_FOR = ("target", "simulate", "preprocessing")


def run(work: Work) -> StageOutput:
    """Convert in a Ray worker what quantize made, or the model itself."""
    step, compute = work.step, work.services.compute
    if work.has("quantized"):
        return compute.run(convert, work.input("quantized").read(QUANTIZED), *work.tools())
    images = None
    if work.has("images"):
        images = np.load(work.input("images").verify(image_rows.FILE))
    return compute.run(
        convert_model,
        work.model(),
        step.params["scheme"],
        *work.tools(),
        {name: step.params[name] for name in MADE_FOR} if "target" in step.params else None,
        images,
    )


def convert(
    quantized: bytes,
    toolchain: str,
    twin: bool = False,
    options: Mapping[str, Any] | None = None,
    made_for: Mapping[str, Any] | None = None,
    images: NDArray[np.uint8] | None = None,
) -> StageOutput:
    """Convert an ONNX file of `quantize` into the toolchain's (or its twin's) deployable format.

    Args:
        quantized: the file.
        toolchain: its name.
        twin: make the twin's instead.
        options: of the toolchain, as the inventory has them.
        made_for: `target`, `simulate` and `preprocessing`, where a file fits one processor only.
        images: the calibration set, uint8 (n, height, width, 3), RGB, for a toolchain that
            calibrates by itself.

    Raises:
        ToolchainError: the converter failed, or its manifest does not say how the file is fed.
    """
    from orchestrator.toolchains.base import Conversion

    chain = chain_of(toolchain, twin, options)
    wanted = Conversion(**made_for, images=images) if made_for else None
    artifact = chain.convert(quantized, wanted)
    interface = ArtifactInterface.of(artifact.manifest, f"{toolchain}'s {artifact.format} file")
    text = json.dumps(interface.to_json(), indent=1, sort_keys=True)
    return StageOutput(
        # Features depend on how the file is fed as much as on the file: both are its content.
        {FILE: artifact.data, INTERFACE: text.encode()},
        {
            "bytes": len(artifact.data),
            "sha256": sha256_bytes(artifact.data),
            "format": artifact.format,
        },
        {"toolchain": toolchain, "version": chain.version(), **artifact.manifest},
    )


def convert_model(
    model: bytes,
    scheme: Mapping[str, Any],
    toolchain: str,
    twin: bool = False,
    options: Mapping[str, Any] | None = None,
    made_for: Mapping[str, Any] | None = None,
    images: NDArray[np.uint8] | None = None,
) -> StageOutput:
    """The deployable file of a model for which no table is made.

    That is one which is not quantized, or whose toolchain calibrates by itself.
    """
    prepared = quantize(model, None, scheme, toolchain, twin, options)
    return convert(prepared.files[QUANTIZED], toolchain, twin, options, made_for, images)


STAGE = Stage(STAGE_FACTS["convert"], (), run, size, sometimes=("quantized", "images"))
