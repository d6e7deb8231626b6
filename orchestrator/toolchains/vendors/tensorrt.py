"""TensorRT: an explicitly quantized ONNX file, from which the board builds its engine.

Engines are tied to a GPU and a TensorRT version, so nothing of the vendor's runs on the head.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.errors import ToolchainError
from orchestrator.graphs.recipes import (
    EMIT,
    FINISH,
    INTEGERS,
    PRELUS,
    PREPARE,
    TENSORRT_IR,
    TENSORRT_OPSET,
)
from orchestrator.installed import installed
from orchestrator.toolchains.base import Artifact, Capabilities, Conversion, Scheme
from orchestrator.toolchains.descriptor import Descriptor
from orchestrator.toolchains.given import TWIN_FACTS
from orchestrator.toolchains.quantizing import manifest, require_offered
from orchestrator.toolchains.rule_twin import executed_form, twin_facts

if TYPE_CHECKING:
    from orchestrator.calibration.table import CalibrationTable

# What TensorRT runs in int8 between QDQ pairs. PRelu and BatchNormalization stay float.
OPERATORS = ("Add", "AveragePool", "Conv", "Gemm", "GlobalAveragePool", "MatMul", "MaxPool")


# In a float16 file's metadata: TensorRT takes float16 tensors only when it is told that it may.
HALF = "farm.float16"

LABEL = "TensorRT"
_FACTS = (
    "the QDQ file that TensorRT builds its engine from; PReLU by operators that give the same bits",
    "layers outside QDQ pairs in float32; TensorRT may run them in float16",
)
_HALF_FACTS = (
    "the very float16 file that TensorRT builds its engine from",
    "onnxruntime may compute a layer in float32 and round what comes out; TensorRT chooses too",
)

# Raised when what is written here, beside the shared recipes, may differ for the same inputs.
RECIPE = 2


class TensorRtToolchain:
    """QDQ ONNX by TensorRT's rules: int8, zero points 0, per-channel weights, float bias.

    A float16 file holds float16 weights, and float32 at its input and output.

    Weights stay float32 behind a QuantizeLinear, as TensorRT 8's guide wants it; the engine stores
    them as int8.
    """

    name = "tensorrt"
    capabilities = Capabilities(
        schemes=(("int8", "per-channel", "symmetric"),),
        float_types=("float32", "float16"),
        calibrators=("minmax", "percentile", "entropy"),
        opset=TENSORRT_OPSET,
        ir=TENSORRT_IR,
        built_on_board=True,
        refuses_qdq="",
    )

    def version(self) -> str:
        """The packages and recipe versions that decide the bytes; not the board's TensorRT."""
        return (
            f"onnxruntime {installed('onnxruntime')}, onnx {installed('onnx')}, "
            f"recipe {PREPARE}.{EMIT}.{FINISH}.{RECIPE}"
        )

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`."""
        from orchestrator.graphs import prepare, qdq
        from orchestrator.toolchains import emit

        require_offered(self, scheme)
        if scheme.is_given:
            data = qdq.explicit(qdq.normal(model))
            return Artifact(data, "onnx", manifest(self, model, None, scheme, data))
        data = prepare.prepare(model)
        if scheme.dtype == "float16":
            data = emit.to_float16(data, {HALF: "1"})
        elif not scheme.is_float:
            data = emit.emit_qdq(
                data,
                table,
                scheme,
                operators=OPERATORS,
                quantize_bias=False,
                float_weights=True,
            )
        return Artifact(data, "onnx", manifest(self, model, table, scheme, data))

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`; refuses what breaks one of TensorRT's rules."""
        from orchestrator.toolchains import finish, tensorrt_rules

        limits = self.capabilities
        data = finish.finish_onnx(quantized, opset=limits.opset, ir=limits.ir, exact_opset=True)
        broken = tensorrt_rules.violations(data)
        if broken:
            more = f" (and {len(broken) - 3} more)" if len(broken) > 3 else ""
            raise ToolchainError(
                f"the file breaks TensorRT's rules: {'; '.join(broken[:3])}{more}",
                "quantize it with this toolchain from the float32 model",
            )
        facts = {"toolchain": self.name, "version": self.version(), **finish.onnx_facts(data)}
        return Artifact(data, "onnx", facts)


class TensorRtTwin:
    """TensorRT's twin is the file that the board builds its engine from; a `Toolchain`.

    Only its PRelus are replaced by operators that compute the same bits sooner; its 8-bit types
    where no layer adds a float32 bias.
    """

    name = "tensorrt"
    capabilities = replace(TensorRtToolchain.capabilities, built_on_board=False)

    def version(self) -> str:
        """See `Toolchain.version`."""
        return f"twin of {TensorRtToolchain().version()}.{PRELUS}.{INTEGERS}"

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`."""
        artifact = TensorRtToolchain().quantize(model, table, scheme)
        facts = _HALF_FACTS if scheme.dtype == "float16" else _FACTS
        facts = TWIN_FACTS if scheme.is_given else facts
        about = {"version": self.version(), **twin_facts(LABEL, facts)}
        return Artifact(artifact.data, artifact.format, {**artifact.manifest, **about})

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`."""
        artifact = TensorRtToolchain().convert(quantized)
        data, facts = executed_form(artifact.data)
        about = {**artifact.manifest, "version": self.version(), **facts}
        return Artifact(data, artifact.format, about)


DESCRIPTOR = Descriptor(LABEL, TensorRtToolchain, TensorRtTwin, LABEL)
