"""The shapes that onnxruntime's quantizer asks for, without its way over the disk."""

from __future__ import annotations

import sys

import onnx
from onnx import ModelProto, StringStringEntryProto, TensorProto

# What makes onnxruntime's quantizer take a model's `value_info` as it is.
_INFERRED = ("onnx.infer", "onnxruntime.quant")

# What `onnx.save_model` writes beside the model, by `sys.getsizeof` of the bytes.
_BESIDE = 1024


def infer_as_quantizer(proto: ModelProto) -> None:
    """Give a model shapes and marks, in place, as onnxruntime's quantizer would.

    The quantizer copies the model, writes its larger constants into a file of their own, infers
    shapes from the file and reads all back. Inference sees no constants of that size then, and
    those that were read back say where they are. Both is done here without a copy.
    """
    slim = ModelProto()
    slim.ir_version = proto.ir_version
    slim.opset_import.extend(proto.opset_import)
    slim.functions.extend(proto.functions)
    slim.graph.name = proto.graph.name
    slim.graph.node.extend(proto.graph.node)
    slim.graph.input.extend(proto.graph.input)
    slim.graph.output.extend(proto.graph.output)
    slim.graph.value_info.extend(proto.graph.value_info)
    slim.graph.sparse_initializer.extend(proto.graph.sparse_initializer)
    for tensor in proto.graph.initializer:
        if tensor.HasField("raw_data") and sys.getsizeof(tensor.raw_data) >= _BESIDE:
            tensor.data_location = TensorProto.DEFAULT
            slim.graph.initializer.append(_beside(tensor))
        else:
            slim.graph.initializer.append(tensor)
    inferred = onnx.shape_inference.infer_shapes(slim).graph
    for ours, theirs in (
        (proto.graph.output, inferred.output),
        (proto.graph.value_info, inferred.value_info),
    ):
        del ours[:]
        ours.extend(theirs)
    key, value = _INFERRED
    proto.metadata_props.append(StringStringEntryProto(key=key, value=value))


def _beside(tensor: TensorProto) -> TensorProto:
    """A constant whose values are in another file."""
    stub = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    stub.data_location = TensorProto.EXTERNAL
    stub.external_data.append(StringStringEntryProto(key="location", value="constants"))
    return stub
