"""What a model file is: inputs, outputs, embedding size, parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from orchestrator.errors import UserError
from orchestrator.graphs import edit


@dataclass(frozen=True)
class TensorInfo:
    """A graph input or output. A dimension is a number, a symbol's name, or None if unknown."""

    name: str
    shape: tuple[int | str | None, ...]
    dtype: str

    def __str__(self) -> str:
        dimensions = ", ".join("?" if d is None else str(d) for d in self.shape)
        return f"'{self.name}' {self.dtype} [{dimensions}]"


@dataclass(frozen=True)
class ModelInfo:
    """Facts about an ONNX file.

    Attributes:
        inputs, outputs: without constants listed as inputs.
        opset, ir: versions the file states.
        embedding_size: elements of the first output without its batch; None if unknown, or if
            there are several outputs.
        parameters: elements of all floating-point constants.
        operators: how many nodes of each operator, sorted by name.
    """

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    opset: int
    ir: int
    embedding_size: int | None
    parameters: int
    operators: tuple[tuple[str, int], ...]

    @property
    def input(self) -> TensorInfo:
        """The one input of a face model."""
        return self.inputs[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width of the input.

        Raises:
            UserError: the model has not one float32 input [N, channels, height, width] with
                fixed channels, height and width.
        """
        wanted = "expected one float32 input [N, 3, height, width]"
        if len(self.inputs) != 1:
            names = "; ".join(str(tensor) for tensor in self.inputs) or "none"
            raise UserError(f"the model has {len(self.inputs)} inputs ({names}); {wanted}")
        tensor = self.inputs[0]
        sizes = tensor.shape[1:]
        fixed = all(isinstance(size, int) and size > 0 for size in sizes)
        if tensor.dtype != "float32" or len(tensor.shape) != 4 or not fixed:
            raise UserError(
                f"the model's input is {tensor}; {wanted}",
                "export the model with fixed height and width, channels first",
            )
        channels, height, width = (int(size) for size in sizes if isinstance(size, int))
        return channels, height, width


def describe_model(model: str | PathLike[str] | bytes) -> ModelInfo:
    """Read the facts of an ONNX file, given as path or as bytes.

    Raises:
        UserError: no such file, or it is not ONNX.
    """
    if isinstance(model, bytes):
        return describe_proto(edit.load(model))
    path = Path(model)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the model {path}: {error.strerror}") from error
    return describe_proto(edit.load(data, f"the model {path}"))


def describe_proto(proto: ModelProto) -> ModelInfo:
    """The facts of a parsed model; output shapes are inferred where the file has none."""
    constants = edit.initializers(proto.graph)
    outputs = tuple(tensor_info(vi) for vi in proto.graph.output)
    if any(not o.shape or any(d is None for d in o.shape[1:]) for o in outputs):
        inferred = onnx.shape_inference.infer_shapes(proto)
        outputs = tuple(tensor_info(vi) for vi in inferred.graph.output)
    embedding = outputs[0].shape[1:] if outputs else ()
    numbers = [size for size in embedding if isinstance(size, int)]
    floating = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    return ModelInfo(
        inputs=tuple(tensor_info(vi) for vi in proto.graph.input if vi.name not in constants),
        outputs=outputs,
        opset=edit.opset(proto),
        ir=proto.ir_version,
        embedding_size=(
            math.prod(numbers)
            if numbers and len(numbers) == len(embedding) and len(outputs) == 1
            else None
        ),
        parameters=sum(math.prod(t.dims) for t in constants.values() if t.data_type in floating),
        operators=tuple(sorted(edit.operators(proto).items())),
    )


def tensor_info(info: ValueInfoProto) -> TensorInfo:
    """A graph input or output as its file states it."""
    kind = info.type.tensor_type
    shape = tuple(
        dim.dim_value if dim.HasField("dim_value") else (dim.dim_param or None)
        for dim in kind.shape.dim
    )
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) if kind.elem_type else "unknown"
    return TensorInfo(info.name, shape, str(dtype))


def infer_shapes(proto: ModelProto) -> ModelProto:
    """The model without its big constants, and with the shapes of its activations.

    Constants are typed inputs there: inference copies the model twice, and weights say nothing
    about shapes.
    """
    slim = ModelProto()
    slim.ir_version = proto.ir_version
    slim.opset_import.extend(proto.opset_import)
    slim.graph.name = proto.graph.name or "graph"
    slim.graph.node.extend(proto.graph.node)
    slim.graph.input.extend(proto.graph.input)
    slim.graph.output.extend(proto.graph.output)
    for tensor in proto.graph.initializer:
        if len(tensor.dims) <= 1 and tensor.data_type == TensorProto.INT64:
            slim.graph.initializer.append(tensor)
        else:
            dims = list(tensor.dims)
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, dims)
            slim.graph.input.append(info)
    return onnx.shape_inference.infer_shapes(slim)
