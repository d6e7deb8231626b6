"""What no toolchain could make of a model, found before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.errors import FarmError
from orchestrator.planning.cells import Cell
from orchestrator.toolchains import toolchain, toolchain_names, twin_names, twin_toolchain
from orchestrator.toolchains.quantizing import require_allowed


def _chains() -> dict[str, Any]:
    chains = {name: toolchain(name, None) for name in toolchain_names()}
    return chains | {f"{name} twin": twin_toolchain(name) for name in twin_names()}


def limits() -> dict[str, list[Any]]:
    """What decides the answers of `reasons`, for the name of what is kept of them."""
    found = {name: chain.capabilities for name, chain in _chains().items()}
    return {name: [can.opset, *can.forbidden] for name, can in found.items()}


def reasons(prepared: bytes) -> dict[str, str]:
    """Why a toolchain or twin cannot make anything of a prepared model; only those that cannot.

    Args:
        prepared: what `graphs.prepare` made.

    Returns:
        by `<toolchain>[ twin] float` and `... quantized`.
    """
    found = {}
    for name, chain in _chains().items():
        for word in ("float", "quantized"):
            try:
                require_allowed(chain, prepared)
                _require_opset(prepared, chain.capabilities.opset, word == "quantized")
            except FarmError as error:
                found[f"{name} {word}"] = f"{error.message}; {error.hint}"
    return found


def _require_opset(prepared: bytes, newest: int, quantized: bool) -> None:
    from onnx import ModelProto, helper

    from orchestrator.graphs import edit
    from orchestrator.graphs.stamp import set_opset

    proto = ModelProto.FromString(prepared)
    if edit.opset(proto) <= newest:
        return
    if quantized:  # what quantizing adds has to be said in that version too
        source = proto.graph.output[0].name
        for operator in ("QuantizeLinear", "DequantizeLinear"):
            name = f"quantized {operator}"
            proto.graph.node.append(helper.make_node(operator, [source, "s", "z"], [name], name))
    set_opset(proto, newest)


def with_reasons(cells: list[Cell], found: Mapping[str, Mapping[str, str]]) -> list[Cell]:
    """The cells, those that cannot be made with the reason.

    Args:
        cells: of a plan.
        found: model to what `reasons` said of it.
    """
    reasoned = []
    for cell in cells:
        reason = cell.reason
        for encoder in (*cell.probe.chain, *cell.gallery.chain):
            if encoder.quantization.is_given:
                continue  # another file, tried by itself
            kind = "float" if encoder.quantization.is_float else "quantized"
            name = encoder.toolchain + (" twin" if encoder.twin else "")
            reason = reason or found.get(encoder.model, {}).get(f"{name} {kind}", "")
        reasoned.append(cell if reason == cell.reason else replace(cell, reason=reason))
    return reasoned
