"""A vendor's twin by the vendor's name: what an emulated board of that vendor runs.

A twin is never made where the real artifact was asked for: callers say that they want one.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping

from orchestrator.calibration.table import CalibrationTable
from orchestrator.errors import UserError
from orchestrator.graphs import prepare
from orchestrator.toolchains import finish, twin, vendor_rules
from orchestrator.toolchains.base import Artifact, Dtype, Granularity, Scheme, Symmetry
from orchestrator.toolchains.tensorrt import TensorRtToolchain
from orchestrator.toolchains.vendor_rules import VendorRule

_Axes = tuple[Dtype, Granularity, Symmetry]

_RULES: Mapping[str, Mapping[_Axes, VendorRule]] = {
    "tengine": {("uint8", "per-tensor", "asymmetric"): vendor_rules.TENGINE},
    "rknn": {
        ("uint8", "per-tensor", "asymmetric"): vendor_rules.RKNN1,
        ("int8", "per-channel", "asymmetric"): vendor_rules.RKNN2_CHANNEL,
        ("int8", "per-tensor", "asymmetric"): vendor_rules.RKNN2_LAYER,
    },
}

_TENSORRT_FACTS = (
    "the very QDQ file that TensorRT builds its engine from",
    "layers outside QDQ pairs in float32; TensorRT may run them in float16",
)


def twin_names() -> tuple[str, ...]:
    """Vendors that have a twin, sorted."""
    return tuple(sorted({*_RULES, "tensorrt"}))


def twin_version(vendor: str) -> str:
    """What decides a twin's bytes, for its key."""
    if vendor == "tensorrt":
        return f"twin of {TensorRtToolchain().version()}"
    return f"twin recipe {prepare.RECIPE}.{twin.RECIPE}.{finish.RECIPE}"


def make_twin(
    vendor: str, model: bytes, table: CalibrationTable | None, scheme: Scheme
) -> Artifact:
    """An ONNX file, batch 1, that onnxruntime computes as the vendor's board is known to.

    Args:
        vendor: tengine, rknn (uint8 is RKNN 1.x, int8 RKNN 2) or tensorrt.
        model: the float32 ONNX file.
        table: ranges of that model; None for float32.
        scheme: one that the vendor has.

    Returns:
        Its manifest has executed_by `twin`, twin_of and twin_facts.

    Raises:
        UserError: no such vendor or scheme, or a table of another model.
    """
    if vendor not in twin_names():
        near = difflib.get_close_matches(vendor, twin_names(), n=1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise UserError(
            f"no twin of '{vendor}' is known", f"{hint}known: {', '.join(twin_names())}"
        )
    if vendor == "tensorrt":
        return _of_tensorrt(model, table, scheme)
    prepared = prepare.prepare(model)
    name = vendor
    facts: tuple[str, ...] = ("float32, as prepared for every toolchain",)
    data = prepared
    if not scheme.is_float:
        rule = _rule(vendor, scheme)
        name, facts = rule.name, rule.facts
        data = twin.emit_twin(prepared, table, scheme, rule)
    data = finish.finish_onnx(data, opset=prepare.OPSET, ir=prepare.IR)
    integer = table if not scheme.is_float else None
    manifest = {
        "toolchain": vendor,
        "version": twin_version(vendor),
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "scheme": scheme.to_dict(),
        "calibration_set": integer.calibration_set if integer else None,
        "calibration_images": len(integer.images) if integer else 0,
        **finish.onnx_facts(data),
        "executed_by": "twin",
        "twin_of": name,
        "twin_facts": list(facts),
    }
    return Artifact(data, "onnx", manifest)


def _rule(vendor: str, scheme: Scheme) -> VendorRule:
    offered = _RULES[vendor]
    for axes, rule in offered.items():
        if axes == scheme.axes:
            return rule
    known = "; ".join(" ".join(axes) for axes in offered)
    raise UserError(f"{vendor} has no '{scheme}'", f"it has: {known}")


def _of_tensorrt(model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
    chain = TensorRtToolchain()
    quantized = chain.quantize(model, table, scheme)
    made = chain.convert(quantized.data)
    manifest = {
        **quantized.manifest,
        **made.manifest,
        "version": twin_version("tensorrt"),
        "executed_by": "twin",
        "twin_of": "TensorRT",
        "twin_facts": list(_TENSORRT_FACTS),
    }
    return Artifact(made.data, "onnx", manifest)
