"""TensorRT's documented rules for explicitly quantized ONNX, checked on the finished file.

Knows nothing of how files are made here: it reads a file as TensorRT's parser would. Sources:
- onnx-tensorrt, docs/operators.md: operators up to opset 13 (8.0, 8.2; 17 from 8.4 on);
  DequantizeLinear of INT8 only; zero points must be 0; BatchNormalization FP32 and FP16 only.
- onnx-tensorrt, the importer of both operators (branches 8.0-GA to 8.6-GA, read): three inputs;
  scales positive and constant; as many zero points as scales; with several scales, as many as the
  data has on `axis`, which 8.0 takes as it is, a negative one included.
- TensorRT developer guide 8.x, "Explicit Quantization" (from memory): weights of Q/DQ models are
  given in FP32 behind a QuantizeLinear, one scale an output channel (axis 0 of Conv and of Gemm
  with transB = 1); activations one scale a tensor; biases are not quantized.
- TensorRT issue 2162: PRelu is not integrated with Q/DQ; its slope stays float.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from orchestrator.graphs import edit
from orchestrator.graphs.recipes import TENSORRT_IR as MAX_IR
from orchestrator.graphs.recipes import TENSORRT_OPSET as MAX_OPSET

_QDQ = ("QuantizeLinear", "DequantizeLinear")


def violations(model: bytes) -> list[str]:
    """Every rule the file breaks, in words; empty when TensorRT 8.0 and later may take it."""
    proto = onnx.ModelProto.FromString(model)
    return [*_versions(proto), *_scales(proto), *_pairs(proto), *_weights(proto)]


def _versions(proto: ModelProto) -> list[str]:
    found = []
    for entry in proto.opset_import:
        if entry.domain not in edit.STANDARD_DOMAINS:
            found.append(f"operator set '{entry.domain}' is unknown to TensorRT")
        elif entry.version > MAX_OPSET:
            found.append(f"opset is {entry.version}, expected at most {MAX_OPSET}")
    if proto.ir_version > MAX_IR:
        found.append(f"IR version is {proto.ir_version}, expected at most {MAX_IR}")
    for info in proto.graph.input:
        if any(not dim.HasField("dim_value") for dim in info.type.tensor_type.shape.dim):
            found.append(f"input '{info.name}' has a dimension without a number")
    return found


def _scales(proto: ModelProto) -> list[str]:
    constants = edit.initializers(proto.graph)
    found = []
    for node in proto.graph.node:
        if node.op_type not in _QDQ:
            continue
        who = edit.label(node)
        if any(name not in constants for name in node.input[1:]):
            found.append(f"{who}: scale or zero point is not a constant")
            continue
        scale = numpy_helper.to_array(constants[node.input[1]])
        if constants[node.input[1]].data_type != TensorProto.FLOAT:
            found.append(f"{who}: the scale is {scale.dtype}, expected float32")
        axis = edit.attributes(node).get("axis", 0)
        if axis < 0:
            found.append(f"{who}: axis is {axis}, expected 0 or more")
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            found.append(f"{who}: a scale is not a positive number")
        if len(node.input) < 3:
            found.append(f"{who}: no zero point, which means uint8")
            continue
        zero = constants[node.input[2]]
        if zero.data_type != TensorProto.INT8:
            kind = TensorProto.DataType.Name(zero.data_type)
            found.append(f"{who}: the type is {kind}, expected INT8")
        zeros = numpy_helper.to_array(zero)
        if np.any(zeros):
            found.append(f"{who}: a zero point is not 0")
        if zeros.size != scale.size:
            found.append(f"{who}: {zeros.size} zero points for {scale.size} scales")
    return found


def _pairs(proto: ModelProto) -> list[str]:
    """Integers that reach anything but a DequantizeLinear."""
    found = []
    quantized = {
        node.output[0]: node for node in proto.graph.node if node.op_type == "QuantizeLinear"
    }
    for node in proto.graph.node:
        for name in node.input if node.op_type != "DequantizeLinear" else ():
            if name in quantized:
                found.append(f"{edit.label(node)}: takes int8 of {edit.label(quantized[name])}")
    found += [
        f"output '{info.name}' is int8" for info in proto.graph.output if info.name in quantized
    ]
    return found


def _weights(proto: ModelProto) -> list[str]:
    constants = edit.initializers(proto.graph)
    makers = {name: node for node in proto.graph.node for name in node.output}
    found = []
    for node in proto.graph.node:
        if node.op_type in _QDQ:
            continue
        for position, name in enumerate(node.input):
            source = makers.get(name)
            if source is None or source.op_type != "DequantizeLinear":
                continue
            of_weight = _is_constant(source, makers, constants)
            channels = numpy_helper.to_array(constants[source.input[1]]).size
            who = f"{edit.label(node)} input {position}"
            if node.op_type == "BatchNormalization" and position > 0:
                found.append(f"{who}: parameters of a batch normalization are quantized")
            elif node.op_type == "PRelu" and position == 1:
                found.append(f"{who}: the slope of a PRelu is quantized")
            elif node.op_type in ("Conv", "Gemm") and position == 2:
                found.append(f"{who}: the bias is quantized")
            elif of_weight and source.input[0] in constants:
                found.append(f"{who}: weights are stored as int8, expected float32 and a Q/DQ pair")
            elif of_weight and node.op_type in ("Conv", "Gemm") and position == 1:
                found.extend(_weight_axis(node, source, makers, constants, channels, who))
            elif not of_weight and channels != 1:
                found.append(f"{who}: activations with {channels} scales, expected 1")
    return found


def _weight_axis(
    node: NodeProto,
    source: NodeProto,
    makers: dict[str, NodeProto],
    constants: dict[str, TensorProto],
    channels: int,
    who: str,
) -> list[str]:
    axis = edit.attributes(source).get("axis", 1)
    quantize = makers.get(source.input[0])
    if quantize is not None:
        before = edit.attributes(quantize).get("axis", 1)
        if (before, list(quantize.input[1:])) != (axis, list(source.input[1:])):
            return [f"{who}: its QuantizeLinear and DequantizeLinear differ in axis or scale"]
    if node.op_type == "Gemm" and not edit.attributes(node).get("transB"):
        return [f"{who}: a Gemm without transB has its output channels on axis 1"]
    weight = constants.get(quantize.input[0] if quantize is not None else source.input[0])
    outputs = weight.dims[0] if weight is not None else channels
    if axis != 0 or channels != outputs:
        return [f"{who}: {channels} scales on axis {axis}, expected {outputs} on axis 0"]
    return []


def _is_constant(
    source: NodeProto, makers: dict[str, NodeProto], constants: dict[str, TensorProto]
) -> bool:
    name = source.input[0]
    maker = makers.get(name)
    if maker is not None and maker.op_type == "QuantizeLinear":
        name = maker.input[0]
    return name in constants
