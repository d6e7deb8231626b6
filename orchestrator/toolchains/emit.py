"""Writing QuantizeLinear/DequantizeLinear (QDQ) models from a calibration table.

onnxruntime's quantizer places and computes everything; what is decided here is which operators
are quantized, which options say a scheme, and that the ranges come from the shared table.
"""

from __future__ import annotations

import contextlib
import difflib
import inspect
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto

from orchestrator.calibration.table import CalibrationTable
from orchestrator.errors import FarmError, ToolchainError, UserError
from orchestrator.graphs import edit
from orchestrator.graphs.prepare import IR, fingerprint, folded_nodes
from orchestrator.graphs.scratch import scratch
from orchestrator.graphs.stamp import strip_domains
from orchestrator.toolchains.base import Scheme

# Raised when the emitted file may differ for the same inputs; part of every key made from it.
RECIPE = 1

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


def emit_qdq(
    prepared: bytes,
    table: CalibrationTable | None,
    scheme: Scheme,
    *,
    operators: Sequence[str] = QUANTIZED_OPERATORS,
    quantize_bias: bool = True,
    overrides: Mapping[str, Any] | None = None,
) -> bytes:
    """A QDQ model of an integer scheme.

    Args:
        prepared: what `prepare` made.
        table: ranges of exactly that model.
        scheme: dtype int8 or uint8.
        operators: operator types that are quantized.
        quantize_bias: store biases as int32, as most vendors do; False leaves them float32.
        overrides: onnxruntime's TensorQuantOverrides, for a vendor's own scales.

    Raises:
        UserError: no table, another model's table, or an unknown node in `keep_float`.
        ToolchainError: onnxruntime's quantizer failed.
    """
    if table is None:
        raise UserError(f"scheme '{scheme}' needs a calibration table, none was given")
    if table.model != fingerprint(prepared):
        raise UserError(
            "the calibration table was made from another model than the one to quantize",
            "calibrate this model",
        )
    proto = onnx.ModelProto.FromString(prepared)
    excluded = resolve_nodes(proto, scheme.keep_float)
    quantized = _run_quantizer(
        proto, table, scheme, sorted(operators), excluded, quantize_bias, overrides or {}
    )
    return _canonical(quantized, proto)


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
    quantize_bias: bool,
    overrides: Mapping[str, Any],
) -> ModelProto:
    from onnxruntime import quantization as ort

    kind = ort.QuantType.QInt8 if scheme.dtype == "int8" else ort.QuantType.QUInt8
    options: dict[str, Any] = {
        "ActivationSymmetric": scheme.symmetry == "symmetric",
        "WeightSymmetric": scheme.dtype == "int8",
        "QuantizeBias": quantize_bias,
    }
    if overrides:
        options["TensorQuantOverrides"] = dict(overrides)
    marked = onnx.ModelProto.FromString(proto.SerializeToString())
    # Tells the quantizer that folding was done, so that it does not advise it on the root log.
    onnx.helper.set_model_props(marked, {"onnx.quant.pre_process": "onnxruntime.quant"})
    with scratch() as folder:
        source, target, cache = folder / "in.onnx", folder / "out.onnx", folder / "ranges.json"
        source.write_bytes(edit.dump(marked))
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                write_ranges(table, scheme.calibrator, cache)
                _require_cache_support(ort.quantize_static)
                ort.quantize_static(
                    os.fspath(source),
                    os.fspath(target),
                    None,
                    quant_format=ort.QuantFormat.QDQ,
                    op_types_to_quantize=operators,
                    nodes_to_exclude=excluded,
                    per_channel=scheme.granularity == "per-channel",
                    activation_type=kind,
                    weight_type=kind,
                    calibrate_method=ort.CalibrationMethod.MinMax,
                    calibration_cache_path=os.fspath(cache),
                    extra_options=options,
                )
        except (OSError, FarmError):
            raise
        except Exception as error:
            raise ToolchainError(
                f"onnxruntime's quantizer failed on scheme '{scheme}': {error}",
                "keep the node it names in float32 (quantization: keep_float), or report it",
            ) from error
        return onnx.load(os.fspath(target))


def write_ranges(table: CalibrationTable, calibrator: str | None, path: Path) -> None:
    """Write the table's ranges as onnxruntime's calibration cache."""
    from onnxruntime.quantization import calibrate as stock

    data = {
        name: stock.TensorData(
            lowest=np.asarray(low, np.float32), highest=np.asarray(high, np.float32)
        )
        for name, (low, high) in table.ranges(calibrator).items()
    }
    # "MinMax" names how the numbers are used, not how they were found.
    stock.save_tensors_data(stock.TensorsData(stock.CalibrationMethod.MinMax, data), path)


def _require_cache_support(quantize: Any) -> None:
    if "calibration_cache_path" not in inspect.signature(quantize).parameters:
        import onnxruntime

        raise ToolchainError(
            f"onnxruntime {onnxruntime.__version__} cannot take ranges from outside "
            "(quantize_static has no calibration_cache_path)",
            "install the pinned onnxruntime on the machine that quantizes",
        )


def _canonical(quantized: ModelProto, prepared: ModelProto) -> bytes:
    """Bytes of the model with everything in an order that does not depend on the process."""
    strip_domains(quantized)
    del quantized.graph.value_info[:]
    tensors = sorted(quantized.graph.initializer, key=lambda tensor: tensor.name)
    copies = [onnx.TensorProto.FromString(t.SerializeToString()) for t in tensors]
    del quantized.graph.initializer[:]
    quantized.graph.initializer.extend(copies)
    quantized.producer_name = prepared.producer_name
    quantized.producer_version = prepared.producer_version
    quantized.ir_version = max(IR, prepared.ir_version)
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(prepared.metadata_props)
    return edit.dump(quantized)
