"""onnxruntime: QDQ models of every scheme, and the float types."""

from __future__ import annotations

import hashlib
from importlib.metadata import version as installed
from typing import Any

import onnx

from orchestrator.calibration.table import CalibrationTable
from orchestrator.errors import UserError
from orchestrator.graphs import edit, prepare, qdq
from orchestrator.toolchains import emit, finish
from orchestrator.toolchains.base import Artifact, Capabilities, Conversion, Scheme


class OnnxRuntimeToolchain:
    """Runs anywhere onnxruntime does; also stands for a vendor's rule on an emulated board."""

    name = "onnxruntime"
    capabilities = Capabilities(
        schemes=(
            ("int8", "per-channel", "symmetric"),
            ("int8", "per-channel", "asymmetric"),
            ("int8", "per-tensor", "symmetric"),
            ("int8", "per-tensor", "asymmetric"),
            ("uint8", "per-tensor", "asymmetric"),
        ),
        float_types=("float32", "float16"),
        calibrators=("minmax", "percentile", "entropy"),
        # onnxruntime 1.16, the last with wheels for the oldest boards' Python 3.8, reads 19 / 9.
        opset=19,
        ir=9,
        refuses_qdq="",
    )

    def version(self) -> str:
        """The packages and recipe versions that decide the bytes."""
        return (
            f"onnxruntime {installed('onnxruntime')}, onnx {installed('onnx')}, "
            f"recipe {prepare.RECIPE}.{emit.RECIPE}.{finish.RECIPE}"
        )

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`."""
        require_offered(self, scheme)
        if scheme.is_given:
            data = qdq.normal(model)
            return Artifact(data, "onnx", manifest(self, model, None, scheme, data))
        prepared = prepare.prepare(model)
        if scheme.dtype == "float16":
            data = emit.to_float16(prepared)
        elif scheme.is_float:
            data = prepared
        else:
            # A symmetric scheme follows TensorRT's rule, which has no integer bias.
            bias = scheme.symmetry != "symmetric"
            data = emit.emit_qdq(prepared, table, scheme, quantize_bias=bias)
        return Artifact(data, "onnx", manifest(self, model, table, scheme, data))

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`."""
        limits = self.capabilities
        data = finish.finish_onnx(quantized, opset=limits.opset, ir=limits.ir)
        facts = {"toolchain": self.name, "version": self.version(), **finish.onnx_facts(data)}
        return Artifact(data, "onnx", facts)


def require_allowed(toolchain: Any, prepared: bytes) -> None:
    """Raise UserError at the first node whose operator the vendor does not run."""
    forbidden = toolchain.capabilities.forbidden
    for node in onnx.ModelProto.FromString(prepared).graph.node if forbidden else ():
        if node.op_type in forbidden:
            raise UserError(
                f"{edit.label(node)}: toolchain '{toolchain.name}' does not run {node.op_type} "
                f"on its accelerator (nor {', '.join(o for o in forbidden if o != node.op_type)})",
                "change the layer and export again, or use another toolchain",
            )


def require_offered(toolchain: Any, scheme: Scheme) -> None:
    """Raise UserError when the toolchain's capabilities do not hold the scheme."""
    reason = toolchain.capabilities.why_not(scheme)
    if reason:
        raise UserError(f"toolchain '{toolchain.name}' {reason}")


def manifest(
    toolchain: Any, model: bytes, table: CalibrationTable | None, scheme: Scheme, data: bytes
) -> dict[str, Any]:
    """What a quantized ONNX file was made from."""
    return {
        "toolchain": toolchain.name,
        "version": toolchain.version(),
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "scheme": scheme.to_dict(),
        "calibration_set": table.calibration_set if table and not scheme.is_float else None,
        "calibration_images": len(table.images) if table and not scheme.is_float else 0,
        **finish.onnx_facts(data),
    }
