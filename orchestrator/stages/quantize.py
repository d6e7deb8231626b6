"""quantize: one model, one calibration table, one scheme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages import accuracy_helpers, image_rows
from orchestrator.stages.stage import Stage, size
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work

FILE = "quantized.onnx"
TABLE = "table.bin"
"""The calibration table's file in the store."""

FLOAT32: Mapping[str, Any] = {
    "dtype": "float32",
    "granularity": None,
    "symmetry": None,
    "calibrator": None,
    "keep_float": (),
}


def run(work: Work) -> StageOutput:
    """Quantize in a Ray worker; the accuracy helpers look at some calibration images."""
    sample = None
    if work.has("images"):
        pictures = np.load(work.input("images").verify(image_rows.FILE), mmap_mode="r")
        sample = pictures[: accuracy_helpers.IMAGES]
    return work.services.compute.run(
        quantize,
        work.model(),
        work.input("table").read(TABLE),
        work.step.params["scheme"],
        *work.tools(),
        sample,
        work.step.params.get("preprocessing"),
    )


def quantize(
    model: bytes,
    table: bytes | None,
    scheme: Mapping[str, Any],
    toolchain: str,
    twin: bool = False,
    options: Mapping[str, Any] | None = None,
    images: NDArray[np.uint8] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> StageOutput:
    """Quantize a float32 ONNX file.

    Args:
        model: the file.
        table: a calibration table's bytes; None for float32.
        scheme: `dtype`, `granularity`, `symmetry`, `calibrator`, `keep_float`, and the accuracy
            helpers `equalize` and `bias_correction`.
        toolchain: its name.
        twin: make what is a substitute for its artifact on an emulated board.
        options: of the toolchain, as the inventory has them.
        images: calibration images, uint8 (n, height, width, 3), RGB, and
        preprocessing: the model manifest's `input`; both only for the helpers.
    """
    from orchestrator.toolchains.table import CalibrationTable

    chain = chain_of(toolchain, twin, options)
    parsed = None if table is None else CalibrationTable.from_bytes(table)
    wanted = scheme_of(scheme)
    gains: list[dict[str, Any]] = []
    if accuracy_helpers.asked(scheme):
        if images is None or preprocessing is None:
            raise ValueError("accuracy helpers need calibration images")
        from orchestrator.toolchains import twin_names

        # A vendor's own file cannot be run here.
        judge = chain_of(toolchain, twin=True) if toolchain in twin_names() else chain
        helped = accuracy_helpers.help_model(
            model,
            parsed,
            wanted,
            scheme,
            lambda source, ranges, asked: bytes(judge.quantize(source, ranges, asked).data),
            inputs_of(images[: accuracy_helpers.IMAGES], preprocessing),
        )
        model, parsed = helped.model, helped.table if parsed else None
        wanted = replace(wanted, keep_float=helped.keep_float)
        gains = [gain.to_dict() for gain in helped.gains]
    artifact = chain.quantize(model, parsed, wanted)
    return StageOutput(
        {FILE: artifact.data},
        {"bytes": len(artifact.data), "helpers": gains},
        {"toolchain": toolchain, "version": chain.version(), **artifact.manifest},
    )


def inputs_of(images: NDArray[np.uint8], preprocessing: Mapping[str, Any]) -> NDArray[np.float32]:
    """What a model is given of images, float32."""
    from orchestrator import calibration

    return calibration.preprocess(
        images,
        layout=preprocessing["layout"],
        colour_order=preprocessing["colour"],
        mean=preprocessing["mean"],
        std=preprocessing["std"],
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
        keep_float=tuple(
            name for name in scheme["keep_float"] if name != accuracy_helpers.SUGGESTED
        ),
    )


def summary(facts: Mapping[str, Any]) -> str:
    """What the accuracy helpers brought, else the file's size."""
    if facts["helpers"]:
        return f"cosine to float32: {accuracy_helpers.words(facts['helpers'])}"
    return size(facts)


STAGE = Stage(STAGE_FACTS["quantize"], ("table",), run, summary, sometimes=("images",))
