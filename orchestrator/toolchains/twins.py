"""A vendor's twin by the vendor's name: what an emulated board of that vendor runs.

A twin is never made where the real artifact was asked for: callers say that they want one.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.calibration.table import CalibrationTable
from orchestrator.errors import UserError
from orchestrator.graphs import prepare, qdq
from orchestrator.toolchains import finish, twin, vendor_rules
from orchestrator.toolchains.base import (
    Artifact,
    Capabilities,
    Conversion,
    Dtype,
    Granularity,
    Scheme,
    Symmetry,
    Toolchain,
)
from orchestrator.toolchains.given import TAKES_NONE, TWIN_FACTS
from orchestrator.toolchains.onnxruntime import manifest, require_allowed, require_offered
from orchestrator.toolchains.tengine import TengineToolchain
from orchestrator.toolchains.tensorrt import TensorRtToolchain
from orchestrator.toolchains.vendor_rules import VendorRule

_Axes = tuple[Dtype, Granularity, Symmetry]

_RULES: Mapping[str, Mapping[_Axes, VendorRule]] = {
    "tengine": {("uint8", "per-tensor", "asymmetric"): vendor_rules.TENGINE},
    "rknn1": {("uint8", "per-tensor", "asymmetric"): vendor_rules.RKNN1},
    "rknn": {
        ("int8", "per-channel", "asymmetric"): vendor_rules.RKNN2_CHANNEL,
        ("int8", "per-tensor", "asymmetric"): vendor_rules.RKNN2_LAYER,
    },
}
# Without quantization RKNN computes in float16, of which there is no twin.
_FLOATS: Mapping[str, tuple[Dtype, ...]] = {"tengine": ("float32",), "rknn": (), "rknn1": ()}

# A twin of what the vendor's accelerator cannot run would predict a file that is never made.
_FORBIDDEN = {"tengine": TengineToolchain.capabilities.forbidden}
_ALL_INTEGER = frozenset({"rknn", "rknn1", "tengine"})

_TENSORRT = "TensorRT"
_TENSORRT_FACTS = (
    "the very QDQ file that TensorRT builds its engine from",
    "layers outside QDQ pairs in float32; TensorRT may run them in float16",
)
_TENSORRT_HALF_FACTS = (
    "the very float16 file that TensorRT builds its engine from",
    "onnxruntime may compute a layer in float32 and round what comes out; TensorRT chooses too",
)


def twin_names() -> tuple[str, ...]:
    """Vendors that have a twin, sorted."""
    return tuple(sorted({*_RULES, "tensorrt"}))


def twin_toolchain(vendor: str) -> Toolchain:
    """The toolchain that makes a vendor's twins.

    Raises:
        UserError: no twin of that vendor is known; the nearest is named.
    """
    if vendor == "tensorrt":
        return TensorRtTwin()
    if vendor in _RULES:
        return RuleTwin(vendor)
    near = difflib.get_close_matches(vendor, twin_names(), n=1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise UserError(f"no twin of '{vendor}' is known", f"{hint}known: {', '.join(twin_names())}")


def twin_version(vendor: str) -> str:
    """What decides a twin's bytes, for its key."""
    return twin_toolchain(vendor).version()


def twin_of(vendor: str, dtype: str) -> str:
    """Whose arithmetic a twin models, as a person says it: `Tengine`, `RKNN 1.x`, `TensorRT`."""
    rules = _RULES.get(vendor, {}).items()
    names = [rule.name for axes, rule in rules if dtype in (axes[0], "as-given")]
    return names[0] if names else {"tensorrt": _TENSORRT, "tengine": "Tengine"}.get(vendor, vendor)


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
    made = chain.convert(quantized.data)
    return Artifact(made.data, made.format, {**quantized.manifest, **made.manifest})


class RuleTwin:
    """Twins by a vendor's formulas (`vendor_rules`); a `Toolchain`."""

    def __init__(self, vendor: str) -> None:
        self._rules = _RULES[vendor]
        self.name = vendor
        self.capabilities = Capabilities(
            schemes=tuple(self._rules),
            float_types=_FLOATS[vendor],
            calibrators=("minmax", "percentile", "entropy"),
            opset=prepare.OPSET,
            ir=prepare.IR,
            forbidden=_FORBIDDEN.get(vendor, ()),
            # A twin could, but the plan must answer as it would for the real file.
            keeps_float=vendor not in _ALL_INTEGER,
            refuses_qdq=TAKES_NONE.get(vendor, ""),
        )

    def version(self) -> str:
        """Our recipes alone: nothing of the vendor's is involved."""
        return f"twin recipe {prepare.RECIPE}.{twin.RECIPE}.{finish.RECIPE}"

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`."""
        require_offered(self, scheme)
        if scheme.is_given:
            data = qdq.normal(model)
            about = _about(twin_of(self.name, scheme.dtype), TWIN_FACTS)
            return Artifact(data, "onnx", manifest(self, model, None, scheme, data) | about)
        data = prepare.prepare(model)
        require_allowed(self, data)
        name = twin_of(self.name, scheme.dtype)
        facts: tuple[str, ...] = ("float32, as prepared for every toolchain",)
        if not scheme.is_float:
            rule = next(rule for axes, rule in self._rules.items() if axes == scheme.axes)
            name, facts = rule.name, rule.facts
            data = twin.emit_twin(data, table, scheme, rule)
        about = manifest(self, model, table, scheme, data) | _about(name, facts)
        return Artifact(data, "onnx", about)

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`."""
        data = finish.finish_onnx(quantized, opset=prepare.OPSET, ir=prepare.IR)
        facts = {"toolchain": self.name, "version": self.version(), **finish.onnx_facts(data)}
        return Artifact(data, "onnx", facts | {"executed_by": "twin"})


class TensorRtTwin:
    """TensorRT's twin is the very file that the board builds its engine from; a `Toolchain`."""

    name = "tensorrt"
    capabilities = replace(TensorRtToolchain.capabilities, built_on_board=False)

    def version(self) -> str:
        """See `Toolchain.version`."""
        return f"twin of {TensorRtToolchain().version()}"

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`."""
        made = TensorRtToolchain().quantize(model, table, scheme)
        facts = _TENSORRT_HALF_FACTS if scheme.dtype == "float16" else _TENSORRT_FACTS
        facts = TWIN_FACTS if scheme.is_given else facts
        about = {"version": self.version(), **_about(_TENSORRT, facts)}
        return Artifact(made.data, made.format, {**made.manifest, **about})

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`."""
        made = TensorRtToolchain().convert(quantized)
        about = {"version": self.version(), "executed_by": "twin"}
        return Artifact(made.data, made.format, {**made.manifest, **about})


def _about(name: str, facts: tuple[str, ...]) -> dict[str, Any]:
    return {"executed_by": "twin", "twin_of": name, "twin_facts": list(facts)}
