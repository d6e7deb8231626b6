"""Which input takes the image, and how it wants it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto, TensorProto, ValueInfoProto

from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.graphs.describe import tensor_info

Layout = Literal["NCHW", "NHWC"]

_TYPES = {
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.DOUBLE: "float64",
    TensorProto.UINT8: "uint8",
}


@dataclass(frozen=True)
class ImageInput:
    """The input as the file states it.

    Attributes:
        name, dtype, layout: as it is.
        height, width: None where they are open.
    """

    name: str
    dtype: str
    layout: Layout
    height: int | None
    width: int | None


def image_input(proto: ModelProto, layout: Layout | None = None) -> ImageInput:
    """The one image input of a model.

    Args:
        proto: constants may be listed as inputs too.
        layout: what somebody said of it, for where the file leaves it open.

    Raises:
        UserError: there is not one input of images with three colours.
    """
    constants = edit.initializers(proto.graph)
    read = {name for node in proto.graph.node for name in node.input}
    inputs = [info for info in proto.graph.input if info.name not in constants]
    used = [info for info in inputs if info.name in read]
    shown = "; ".join(_shown(info) for info in inputs) or "none"
    if len(used) != 1:
        raise UserError(
            f"one input of images is expected, the model has {len(used)} that it reads: {shown}",
            "export the model with one input [N, 3, height, width] or [N, height, width, 3]",
        )
    (info,) = used
    kind = info.type.tensor_type
    dims = [int(d.dim_value) if d.dim_value > 0 else None for d in kind.shape.dim]
    if len(dims) != 4 or kind.elem_type not in _TYPES:
        raise UserError(
            f"one input of images is expected, float32, float16 or uint8, the model has: {shown}",
            "export the model with one input [N, 3, height, width] or [N, height, width, 3]",
        )
    fitting = [name for name, axis in _AXES.items() if dims[axis] == 3]
    if layout is not None and dims[_AXES[layout]] in (3, None):
        fitting = [layout]
    if len(fitting) != 1:
        raise UserError(
            f"the model's input is {_shown(info)}: it has no axis of 3 colours, or two of them",
            "export the model with one input [N, 3, height, width] or [N, height, width, 3]",
        )
    found = fitting[0]
    height, width = dims[2:] if found == "NCHW" else dims[1:3]
    return ImageInput(info.name, _TYPES[kind.elem_type], found, height, width)


_AXES: dict[Layout, int] = {"NCHW": 1, "NHWC": 3}


def keep_only(proto: ModelProto, name: str) -> str | None:
    """Drop inputs that are constants or that nothing reads, in place; what was done."""
    graph = proto.graph
    constants = edit.initializers(graph)
    idle = [i.name for i in graph.input if i.name != name and i.name not in constants]
    inputs = [type(i).FromString(i.SerializeToString()) for i in graph.input if i.name == name]
    del graph.input[:]
    graph.input.extend(inputs)
    proto.ir_version = max(proto.ir_version, 4)
    return f"inputs that nothing reads were left out: {', '.join(idle)}" if idle else None


def fix_size(proto: ModelProto, image: ImageInput, size: tuple[int, int]) -> str | None:
    """Fix open height and width, in place; what was done."""
    if image.height is not None and image.width is not None:
        return None
    info = next(i for i in proto.graph.input if i.name == image.name)
    first = 2 if image.layout == "NCHW" else 1
    dims = info.type.tensor_type.shape.dim
    for axis, number in zip((first, first + 1), size, strict=True):
        dims[axis].Clear()
        dims[axis].dim_value = number
    dims[_AXES[image.layout]].Clear()
    dims[_AXES[image.layout]].dim_value = 3
    del proto.graph.value_info[:]
    return f"the open height and width are {size[0]} x {size[1]}"


def _shown(info: ValueInfoProto) -> str:
    return str(tensor_info(info))
