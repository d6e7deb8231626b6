"""What an ONNX file says of its nodes, inputs and outputs, read without the onnx package.

Field numbers of onnx.proto: ModelProto.graph 7; GraphProto.node 1, initializer 5, input 11, output
12; NodeProto.name 3, op_type 4; TensorProto.name 8; ValueInfoProto.name 1, type 2;
TypeProto.tensor_type 1; Tensor.shape 2; TensorShapeProto.dim 1; Dimension.dim_value 1.
"""

from typing import Any, Dict, List, Optional, Tuple

_GRAPH, _NODE, _INITIALIZER, _INPUT, _OUTPUT = 7, 1, 5, 11, 12


def nodes(data: bytes) -> List[Tuple[str, str]]:
    """Name and operator of each node, in order; empty where the file cannot be read."""
    try:
        found = []
        for graph in _fields(memoryview(data), _GRAPH):
            for node in _fields(graph, _NODE):
                found.append((_text(node, 3)[:100], _text(node, 4)[:60]))
        return found
    except (IndexError, ValueError):
        return []


def tensors(data: bytes) -> Tuple[List[Dict[str, Any]], List[Dict[str, Any]]]:
    """Inputs and outputs: `name` and `shape`, None where a size is free; weights are no inputs.

    Raises:
        ValueError: it is no ONNX file.
    """
    ins: List[Dict[str, Any]] = []
    outs: List[Dict[str, Any]] = []
    try:
        for graph in _fields(memoryview(data), _GRAPH):
            weights = {_text(each, 8) for each in _fields(graph, _INITIALIZER)}
            ins += [_described(each) for each in _fields(graph, _INPUT)]
            outs += [_described(each) for each in _fields(graph, _OUTPUT)]
            ins = [each for each in ins if each["name"] not in weights]
    except IndexError:
        raise ValueError("it ends in the middle")
    if not ins or not outs:
        raise ValueError("it names no input or no output")
    return ins, outs


def _described(value: memoryview) -> Dict[str, Any]:
    shape: List[Optional[int]] = []
    for kind in _fields(value, 2):
        for tensor in _fields(kind, 1):
            for sizes in _fields(tensor, 2):
                shape += [_number(dim, 1) for dim in _fields(sizes, 1)]
    return {"name": _text(value, 1), "shape": shape, "dtype": "float32"}


def _text(data: memoryview, wanted: int) -> str:
    return b"".join(bytes(each) for each in _fields(data, wanted)).decode("utf-8", "replace")


def _number(data: memoryview, wanted: int) -> Optional[int]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            if tag >> 3 == wanted:
                return value if value > 0 else None
        else:
            at = _skip(data, at, tag & 7)
    return None


def _fields(data: memoryview, wanted: int) -> List[memoryview]:
    found, at = [], 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 2:
            size, at = _varint(data, at)
            if tag >> 3 == wanted:
                found.append(data[at : at + size])
            at += size
        else:
            at = _skip(data, at, tag & 7)
    return found


def _skip(data: memoryview, at: int, kind: int) -> int:
    if kind == 0:
        return _varint(data, at)[1]
    if kind == 2:
        size, at = _varint(data, at)
        return at + size
    if kind in (1, 5):
        return at + (8 if kind == 1 else 4)
    raise ValueError("wire type %d" % kind)


def _varint(data: memoryview, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number without end")
