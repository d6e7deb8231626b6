"""What is wrong with a model before anything computes it; onnxruntime may die of some of it."""

from __future__ import annotations

import math

import onnx
from onnx import ModelProto, TensorProto

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.graphs.prepare import check_operators
from orchestrator.intake.shapes import shapes_of

QUANTIZED = frozenset(
    {
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    }
)
# No face model's activation is near this; what declares more would be asked of the memory.
MOST_BYTES = 2**31
OLDEST, NEWEST = 7, 23


def check_file(proto: ModelProto, data: bytes, what: str) -> None:
    """Hold a parsed model against ONNX and what can be computed here.

    Args:
        proto: with all weights inside.
        data: the same, serialized.
        what: how messages name it.

    Raises:
        UserError: naming the node or tensor.
    """
    refuse_quantized(proto, what)
    version = edit.opset(proto)
    if not OLDEST <= version <= NEWEST:
        raise UserError(
            f"{what} has opset {version}; {OLDEST} to {NEWEST} are taken",
            "export it again with opset 13",
        )
    check_operators(proto)
    _constants(proto, what)
    try:
        onnx.checker.check_model(data)
    except Exception as error:  # the checker's own, and whatever its C++ throws
        text = edit.shown(str(error))
        raise UserError(f"{what} is not valid ONNX: {text}", "export it again") from error
    check_sizes(proto, what)


def refuse_quantized(proto: ModelProto, what: str) -> None:
    """Raise UserError at the first node of a model that is quantized already."""
    for node in proto.graph.node:
        if node.op_type in QUANTIZED or node.op_type.startswith("QLinear"):
            raise UserError(
                f"{what} is quantized already ({edit.label(node)}): a float32 model is needed",
                "Give the float32 model that it was made from; farm quantizes it for each board. "
                "To deploy this very file beside it, name it as `quantized:` in the model's "
                "manifest and write `quantization: as-given` in the matrix.",
            )


def _constants(proto: ModelProto, what: str) -> None:
    for tensor in proto.graph.initializer:
        shape = list(tensor.dims)
        if any(size < 0 for size in shape) or math.prod(shape) * 1 > MOST_BYTES:
            raise UserError(f"{what}: weights {_name(tensor.name)} declare the shape {shape}")
        if tensor.data_type == TensorProto.STRING:
            continue
        try:
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        except KeyError as error:
            raise UserError(
                f"{what}: weights {_name(tensor.name)} have the unknown type {tensor.data_type}"
            ) from error
        if tensor.HasField("raw_data") and kind.itemsize * math.prod(shape) != len(tensor.raw_data):
            raise UserError(
                f"{what}: weights {_name(tensor.name)} declare the shape {shape} in {kind}, "
                f"{kind.itemsize * math.prod(shape)} bytes; {len(tensor.raw_data)} are there",
                "the file is damaged; export it again",
            )


def check_sizes(proto: ModelProto, what: str) -> None:
    """Raise UserError at the first tensor whose shape asks for absurdly much memory."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    for name, shape in shapes_of(proto).known().items():
        if math.prod(shape) * 4 > MOST_BYTES:
            maker = f" of {edit.label(makers[name])}" if name in makers else ""
            raise UserError(
                f"{what}: the tensor {_name(name)}{maker} has the shape {list(shape)}, "
                f"{math.prod(shape) * 4 / 1e9:.3g} GB for one image",
                "the file is damaged, or no face model; export it again",
            )


def check_strictly(data: bytes, what: str, error: Exception) -> None:
    """Raise UserError if the file breaks what ONNX says of its nodes' attributes and shapes."""
    try:
        onnx.checker.check_model(data, full_check=True)
    except Exception as found:
        text = edit.shown(str(found))
        raise UserError(f"{what} is not valid ONNX: {text}", "export it again") from error


def _name(name: str) -> str:
    return f"'{edit.shown(name, 120)}'"
