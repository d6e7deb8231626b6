"""Writing QuantizeLinear/DequantizeLinear (QDQ) models from a calibration table.

onnxruntime's quantizer places and computes everything; what is decided here is which operators
are quantized, which options say a scheme, and that the ranges come from the shared table.
"""

from __future__ import annotations

import contextlib
import difflib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, StringStringEntryProto

from orchestrator.calibration.table import CalibrationTable
from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs import edit
from orchestrator.graphs.inferred import infer_as_quantizer
from orchestrator.graphs.prepare import fingerprint, folded_nodes
from orchestrator.graphs.recipes import IR
from orchestrator.graphs.stamp import strip_domains
from orchestrator.toolchains.base import Scheme

# Operators with quantized inputs. BatchNormalization and PRelu are not among them: stock would
# quantize their parameters too, which no vendor here does.
QUANTIZED_OPERATORS = (
    "Add",
    "AveragePool",
    "Concat",
    "Conv",
    "Flatten",
    "Gemm",
    "GlobalAveragePool",
    "MatMul",
    "MaxPool",
    "Mul",
    "Reshape",
    "Transpose",
)


def table_of(prepared: bytes, table: CalibrationTable | None, scheme: Scheme) -> CalibrationTable:
    """The table, which must be this model's.

    Raises:
        UserError: no table, or another model's.
    """
    if table is None:
        raise UserError(f"scheme '{scheme}' needs a calibration table, none was given")
    if table.model != fingerprint(prepared):
        raise UserError(
            "the calibration table was made from another model than the one to quantize",
            "calibrate this model",
        )
    return table


def emit_qdq(
    prepared: bytes,
    table: CalibrationTable | None,
    scheme: Scheme,
    *,
    operators: Sequence[str] = QUANTIZED_OPERATORS,
    quantize_bias: bool = True,
    float_weights: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> bytes:
    """A QDQ model of an integer scheme.

    Args:
        prepared: what `prepare` made.
        table: ranges of exactly that model.
        scheme: dtype int8 or uint8.
        operators: operator types that are quantized.
        quantize_bias: store biases as int32, as most vendors do; False leaves them float32.
        float_weights: keep weights float32 in the file, behind a QuantizeLinear and a
            DequantizeLinear of their own; else they are stored as integers.
        overrides: onnxruntime's TensorQuantOverrides, for a vendor's own scales.

    Raises:
        UserError: no table, another model's table, or an unknown node in `keep_float`.
        ToolchainError: onnxruntime's quantizer failed.
    """
    table = table_of(prepared, table, scheme)
    proto = onnx.ModelProto.FromString(prepared)
    properties = list(proto.metadata_props)
    excluded = resolve_nodes(proto, scheme.keep_float)
    options = {"QuantizeBias": quantize_bias}
    if float_weights:
        options["AddQDQPairToWeight"] = True
    quantized = _run_quantizer(
        proto, table, scheme, sorted(operators), excluded, options, overrides or {}
    )
    return _canonical(quantized, properties)


def to_float16(prepared: bytes, about: Mapping[str, str] | None = None) -> bytes:
    """The prepared model in float16, with float32 at its input and output.

    Args:
        about: more metadata for the file.

    Raises:
        ToolchainError: onnxruntime's converter failed.
    """
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    proto = onnx.ModelProto.FromString(prepared)
    properties = list(proto.metadata_props)
    properties += [StringStringEntryProto(key=k, value=v) for k, v in (about or {}).items()]
    try:
        half = ONNXModel(convert_float_to_float16(proto, keep_io_types=True))
        half.topological_sort()  # the converter appends its Cast nodes at the end
    except Exception as error:
        raise ToolchainError(f"onnxruntime's float16 converter failed: {error}") from error
    return _canonical(half.model, properties)


def resolve_nodes(proto: ModelProto, names: Sequence[str]) -> list[str]:
    """The nodes of a prepared model that `names` mean, a folded one by what took it in.

    Raises:
        UserError: no such node; the nearest is named.
    """
    present = {node.name for node in proto.graph.node}
    folded = folded_nodes(proto)
    found = []
    for name in names:
        target = name
        while target not in present and target in folded:
            target = folded[target]
        if target not in present:
            nearest = difflib.get_close_matches(name, [*present, *folded], n=1)
            raise UserError(
                f"keep_float names '{name}', which is no node of the model",
                f"did you mean '{nearest[0]}'?" if nearest else "see the model's node names",
            )
        found.append(target)
    return sorted(set(found))


def _run_quantizer(
    proto: ModelProto,
    table: CalibrationTable,
    scheme: Scheme,
    operators: list[str],
    excluded: list[str],
    extra: Mapping[str, bool],
    overrides: Mapping[str, Any],
) -> ModelProto:
    """onnxruntime's QDQ quantizer, in memory.

    `quantize_static` calls this very class; around it, it writes the model twice, infers its
    shapes from a file and logs advice. `test_emit` holds both to the same result.
    """
    from onnxruntime import quantization as ort

    kind = ort.QuantType.QInt8 if scheme.dtype == "int8" else ort.QuantType.QUInt8
    options: dict[str, Any] = {
        "ActivationSymmetric": scheme.symmetry == "symmetric",
        "WeightSymmetric": scheme.dtype == "int8",
        **extra,
    }
    if overrides:
        options["TensorQuantOverrides"] = dict(overrides)
    ranges = stock_ranges(table, scheme.calibrator)
    try:
        infer_as_quantizer(proto)
        with contextlib.redirect_stdout(io.StringIO()):
            quantizer = ort.QDQQuantizer(
                proto,
                scheme.granularity == "per-channel",
                False,
                weight_qType=kind,
                activation_qType=kind,
                tensors_range=ranges,
                nodes_to_quantize=[],
                nodes_to_exclude=excluded,
                op_types_to_quantize=operators,
                extra_options=options,
            )
            quantizer.quantize_model()
            quantizer.model.topological_sort()
    except Exception as error:
        raise ToolchainError(
            f"onnxruntime's quantizer failed on scheme '{scheme}': {error}",
            "keep the node it names in float32 (quantization: keep_float), or report it",
        ) from error
    return quantizer.model.model


def stock_ranges(table: CalibrationTable, calibrator: str | None) -> Any:
    """The table's ranges as onnxruntime's `TensorsData`."""
    from onnxruntime.quantization import calibrate as stock

    data = {
        name: stock.TensorData(
            lowest=np.asarray(low, np.float32), highest=np.asarray(high, np.float32)
        )
        for name, (low, high) in table.ranges(calibrator).items()
    }
    # "MinMax" names how the numbers are used, not how they were found.
    return stock.TensorsData(stock.CalibrationMethod.MinMax, data)


def _canonical(quantized: ModelProto, properties: Sequence[StringStringEntryProto]) -> bytes:
    """The file, with everything in an order that does not depend on the process."""
    strip_domains(quantized)
    del quantized.graph.value_info[:]
    quantized.graph.initializer.sort(key=lambda tensor: tensor.name)
    quantized.ir_version = max(IR, quantized.ir_version)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(properties)
    return edit.dump(quantized)
