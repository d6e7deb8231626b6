"""onnxruntime: QDQ models of every scheme, and the float types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.graphs.recipes import EMIT, FINISH, PREPARE
from orchestrator.installed import installed
from orchestrator.toolchains.base import Artifact, Capabilities, Conversion, Scheme
from orchestrator.toolchains.descriptor import Descriptor
from orchestrator.toolchains.quantizing import manifest, require_offered

if TYPE_CHECKING:
    from orchestrator.calibration.table import CalibrationTable


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
            f"recipe {PREPARE}.{EMIT}.{FINISH}"
        )

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`."""
        from orchestrator.graphs import prepare, qdq
        from orchestrator.toolchains import emit

        require_offered(self, scheme)
        if scheme.is_given:
            data = qdq.normal(model)
            return Artifact(data, "onnx", manifest(self, model, None, scheme, data))
        prepared = prepare.prepare(model)
        known = None
        if scheme.dtype == "float16":
            data = emit.to_float16(prepared)
        elif scheme.is_float:
            data = prepared
        else:
            # A symmetric scheme follows TensorRT's rule, which has no integer bias.
            bias = scheme.symmetry != "symmetric"
            data = emit.emit_qdq(prepared, table, scheme, quantize_bias=bias)
            if table and prepared is model:
                known = table.model  # `emit_qdq` has compared it with the model
        facts = manifest(self, model, table, scheme, data, model_sha256=known)
        return Artifact(data, "onnx", facts)

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`."""
        from orchestrator.toolchains import finish

        limits = self.capabilities
        data = finish.finish_onnx(quantized, opset=limits.opset, ir=limits.ir)
        facts = {"toolchain": self.name, "version": self.version(), **finish.onnx_facts(data)}
        return Artifact(data, "onnx", facts)


DESCRIPTOR = Descriptor("onnxruntime", OnnxRuntimeToolchain)
