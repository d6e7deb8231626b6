"""Shapes and types of all tensors of a model, as far as they can be read from the file."""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import ModelProto, TensorProto

from orchestrator.errors import UserError
from orchestrator.graphs import edit

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Shapes:
    """By tensor: its shape (None: an open dimension) and its ONNX element type."""

    shapes: dict[str, Shape]
    types: dict[str, int]

    def of(self, name: str) -> Shape | None:
        """A tensor's shape, None if not even its rank is known."""
        return self.shapes.get(name)

    def fixed(self, name: str) -> tuple[int, ...] | None:
        """A tensor's shape if all of it is known."""
        shape = self.shapes.get(name)
        if shape is None or any(size is None for size in shape):
            return None
        return tuple(size for size in shape if size is not None)

    def known(self) -> dict[str, tuple[int, ...]]:
        """All tensors' shapes; open dimensions count as 1."""
        return {n: tuple(1 if d is None else d for d in s) for n, s in self.shapes.items()}


def shapes_of(proto: ModelProto) -> Shapes:
    """Infer shapes, without the weights' values.

    Raises:
        UserError: inference finds a contradiction that it cannot pass over.
    """
    slim = ModelProto()
    slim.ir_version = max(proto.ir_version, 4)
    slim.opset_import.extend(proto.opset_import)
    slim.graph.name = proto.graph.name or "graph"
    slim.graph.node.extend(proto.graph.node)
    slim.graph.output.extend(proto.graph.output)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    slim.graph.input.extend(info for info in proto.graph.input if info.name not in constants)
    for tensor in constants.values():
        if math.prod(tensor.dims) <= 64:  # may be a shape, an axis, a size
            slim.graph.initializer.append(tensor)
        else:
            dims = list(tensor.dims)
            info = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, dims)
            slim.graph.input.append(info)
    try:
        inferred = onnx.shape_inference.infer_shapes(slim, data_prop=True)
    except Exception as error:  # inference errors, and whatever its C++ throws
        text = edit.shown(str(error), 400)
        raise UserError(
            f"the shapes of the model contradict each other: {text}", "export it again"
        ) from error
    shapes: dict[str, Shape] = {}
    types: dict[str, int] = {}
    graph = inferred.graph
    for info in (*graph.input, *graph.value_info, *graph.output):
        kind = info.type.tensor_type
        types[info.name] = kind.elem_type
        if kind.HasField("shape"):
            shapes[info.name] = tuple(
                d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None
                for d in kind.shape.dim
            )
    for tensor in constants.values():
        shapes[tensor.name] = tuple(tensor.dims)
        types[tensor.name] = tensor.data_type
    return Shapes(shapes, types)


FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
