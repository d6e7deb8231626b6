"""One small face network, written in the many ways in which exporters write it.

Conv 5x5/4, BatchNormalization, PRelu, Conv 3x3/2, Relu, Flatten, Gemm to 64: all forms hold the
same weights, so all of them must give the features of `plain`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper

HEIGHT, WIDTH = 24, 20
MEAN, STD = 127.5, 128.0
DIM = 64


@dataclass
class Net:
    """The parts of a model that is being written."""

    size: tuple[int, int] = (HEIGHT, WIDTH)
    seed: int = 0
    batch: int | str | None = 1
    opset: int = 13
    ir: int = 8
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    input_type: int = TensorProto.FLOAT
    input_shape: list[Any] | None = None
    outputs: list[tuple[str, int, list[Any]]] = field(default_factory=list)

    def node(self, kind: str, inputs: list[str], made: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [made], name=made, **attributes))
        return made

    def const(self, name: str, array: Any) -> str:
        self.constants[name] = np.asarray(array)
        return name

    def proto(self) -> ModelProto:
        shape = self.input_shape or [self.batch, 3, *self.size]
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("data", self.input_type, shape)],
            [helper.make_tensor_value_info(n, t, s) for n, t, s in self.outputs],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.ir)


def weights(net: Net) -> dict[str, np.ndarray]:
    random = np.random.default_rng(net.seed)
    height, width = (-(-(side // 4) // 2) for side in net.size)

    def normal(*shape: int) -> np.ndarray:
        fan = float(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        return (random.normal(size=shape) / np.sqrt(fan)).astype(np.float32)

    return {
        "c1": normal(8, 3, 5, 5),
        "gamma": random.uniform(0.5, 1.5, 8).astype(np.float32),
        "beta": normal(8),
        "mean": normal(8) * np.float32(0.1),
        "var": random.uniform(0.5, 2, 8).astype(np.float32),
        "slope": random.uniform(0.05, 0.4, 8).astype(np.float32),
        "c2": normal(16, 8, 3, 3),
        "fc": normal(DIM, 16 * height * width),
        "bias": normal(DIM) * np.float32(0.1),
    }


def body(net: Net, x: str, slope: tuple[int, ...] = (8, 1, 1), **bn: Any) -> str:
    """Down to the second Relu."""
    values = weights(net)
    for name, array in values.items():
        net.const(name, array.reshape(slope) if name == "slope" else array)
    pads = {"pads": [2, 2, 1, 1], "strides": [4, 4], "kernel_shape": [5, 5]}
    x = net.node("Conv", [x, "c1"], "conv1", **pads)
    x = net.node("BatchNormalization", [x, "gamma", "beta", "mean", "var"], "bn", **bn)
    x = net.node("PRelu", [x, "slope"], "prelu")
    x = net.node("Conv", [x, "c2"], "conv2", pads=[1] * 4, strides=[2, 2], kernel_shape=[3, 3])
    return net.node("Relu", [x], "relu")


def head(net: Net, x: str, made: str = "face", shape: list[Any] | None = None) -> str:
    if net.opset >= 7:
        x = net.node("Flatten", [x], "flat", axis=1)
    net.node("Gemm", [x, "fc", "bias"], made, transB=1)
    net.outputs.append((made, TensorProto.FLOAT, shape or [net.batch, DIM]))
    return made


def plain(**how: Any) -> ModelProto:
    net = Net(**how)
    head(net, body(net, "data"))
    return net.proto()


def images(count: int = 6, size: tuple[int, int] = (HEIGHT, WIDTH), seed: int = 5) -> np.ndarray:
    """uint8 (count, height, width, 3)."""
    from orchestrator.intake.pictures import pictures

    return pictures(count, size, seed)


def fed(pixels: np.ndarray, mean: float = MEAN, std: float = STD) -> np.ndarray:
    """float32 (n, 3, height, width)."""
    return ((pixels.transpose(0, 3, 1, 2).astype(np.float32) - mean) / std).astype(np.float32)


def features(model: bytes, inputs: np.ndarray) -> np.ndarray:
    """By onnxruntime alone, image by image."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.stack([session.run(None, {name: x[None]})[0].reshape(-1) for x in inputs])


# ---- the forms; each returns a model ------------------------------------------------------------


def channels_last() -> ModelProto:
    """TensorFlow's exporter: NHWC, and a Transpose at once."""
    net = Net(input_shape=[1, HEIGHT, WIDTH, 3])
    x = net.node("Transpose", ["data"], "turned", perm=[0, 3, 1, 2])
    head(net, body(net, x))
    return net.proto()


def channels_last_normalized() -> ModelProto:
    """Keras: a Rescaling layer in NHWC before the Transpose."""
    net = Net(input_shape=[None, HEIGHT, WIDTH, 3], batch=None)
    x = net.node("Mul", ["data", net.const("f", np.float32(1 / STD))], "scaled")
    shift = np.full(3, -MEAN / STD, np.float32)
    x = net.node("Add", [x, net.const("s", shift)], "shifted")
    x = net.node("Transpose", [x], "turned", perm=[0, 3, 1, 2])
    head(net, body(net, x))
    return net.proto()


def half() -> ModelProto:
    """float16 weights, input and output."""
    proto = plain()
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    return proto


def half_inside() -> ModelProto:
    """float16 weights, float32 input and output: Casts at both ends."""
    proto = half()
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT
    proto.graph.node[0].input[0] = "cast_in"
    proto.graph.node.insert(
        0, helper.make_node("Cast", ["data"], ["cast_in"], "cast_in", to=TensorProto.FLOAT16)
    )
    proto.graph.node[-1].output[0] = "half_face"
    proto.graph.node.append(
        helper.make_node("Cast", ["half_face"], ["face"], "cast_out", to=TensorProto.FLOAT)
    )
    return proto


def double() -> ModelProto:
    proto = plain()
    for tensor in proto.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.elem_type = TensorProto.DOUBLE
    return proto


def uint8_pixels() -> ModelProto:
    """Raw pixels: Cast, Sub, Div in the graph."""
    net = Net(input_type=TensorProto.UINT8)
    x = net.node("Cast", ["data"], "cast", to=TensorProto.FLOAT)
    x = net.node("Sub", [x, net.const("m", np.full((1, 3, 1, 1), MEAN, np.float32))], "sub")
    x = net.node("Div", [x, net.const("d", np.float32(STD))], "div")
    head(net, body(net, x))
    return net.proto()


def uint8_channels_last() -> ModelProto:
    """TensorFlow's image models: uint8 NHWC, Cast, Sub, Mul, Transpose."""
    net = Net(input_type=TensorProto.UINT8, input_shape=[1, HEIGHT, WIDTH, 3])
    x = net.node("Cast", ["data"], "cast", to=TensorProto.FLOAT)
    x = net.node("Sub", [x, net.const("m", np.full(3, MEAN, np.float32))], "sub")
    x = net.node("Mul", [x, net.const("d", np.float32(1 / STD))], "mul")
    x = net.node("Transpose", [x], "turned", perm=[0, 3, 1, 2])
    head(net, body(net, x))
    return net.proto()


def normalized_inside() -> ModelProto:
    """InsightFace's export: Sub and Mul first, pixels 0 to 255."""
    net = Net()
    x = net.node("Sub", ["data", net.const("m", np.float32(MEAN))], "sub")
    x = net.node("Mul", [x, net.const("d", np.float32(1 / STD))], "mul")
    head(net, body(net, x))
    return net.proto()


def normalized_by_bn() -> ModelProto:
    net = Net()
    for name, value in (("g", 1), ("b", 0), ("mu", MEAN), ("v", STD**2)):
        net.const(name, np.full(3, value, np.float32))
    x = net.node("BatchNormalization", ["data", "g", "b", "mu", "v"], "pixels", epsilon=1e-6)
    head(net, body(net, x))
    return net.proto()


def fixed_batch(batch: int = 8) -> ModelProto:
    """A Reshape whose constant holds the batch."""
    net = Net(batch=batch)
    x = body(net, "data")
    columns = weights(net)["fc"].shape[1]
    x = net.node("Reshape", [x, net.const("to", np.array([batch, columns]))], "flat")
    net.node("Gemm", [x, "fc", "bias"], "face", transB=1)
    net.outputs.append(("face", TensorProto.FLOAT, [batch, DIM]))
    return net.proto()


def fixed_batch_4() -> ModelProto:
    return fixed_batch(4)


def fixed_batch_10_merged() -> ModelProto:
    """The batch as part of a product, and found again."""
    net = Net(batch=10)
    x = body(net, "data")
    height, width = (-(-(side // 4) // 2) for side in net.size)
    x = net.node("Reshape", [x, net.const("to", np.array([160, height, width]))], "merged")
    x = net.node("Reshape", [x, net.const("back", np.array([10, -1]))], "flat")
    net.node("Gemm", [x, "fc", "bias"], "face", transB=1)
    net.outputs.append(("face", TensorProto.FLOAT, [10, DIM]))
    return net.proto()


def batch_zero() -> ModelProto:
    return stated_batch(0)


def batch_minus_one() -> ModelProto:
    return stated_batch(-1)


def stated_batch(number: int) -> ModelProto:
    proto = plain()
    for info in (*proto.graph.input, *proto.graph.output):
        info.type.tensor_type.shape.dim[0].dim_value = number
    return proto


def flattened_by_shape() -> ModelProto:
    """PyTorch's x.view(x.size(0), -1): Shape, Gather, Unsqueeze, Concat, Reshape."""
    net = Net(batch="N")
    x = body(net, "data")
    net.node("Shape", [x], "shape")
    net.node("Gather", ["shape", net.const("zero", np.array(0))], "first", axis=0)
    net.node("Unsqueeze", ["first", net.const("axes", np.array([0]))], "lead")
    net.node("Concat", ["lead", net.const("rest", np.array([-1]))], "target", axis=0)
    x = net.node("Reshape", [x, "target"], "flat")
    net.node("Gemm", [x, "fc", "bias"], "face", transB=1)
    net.outputs.append(("face", TensorProto.FLOAT, ["N", DIM]))
    return net.proto()


def old_style() -> ModelProto:
    """MXNet's exporter: IR 3, opset 8, weights listed as inputs, spatial=0, slopes (C,)."""
    net = Net(opset=8, ir=3)
    head(net, body(net, "data", slope=(8,), spatial=0))
    return as_inputs(net.proto())


def oldest() -> ModelProto:
    net = Net(opset=7, ir=3)
    head(net, body(net, "data", spatial=1))
    return as_inputs(net.proto())


def as_inputs(proto: ModelProto) -> ModelProto:
    for tensor in proto.graph.initializer:
        info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(info)
    return proto


def every_element() -> ModelProto:
    """spatial=0 as it is meant: statistics for each element."""
    net = Net(opset=8, ir=4)
    x = body(net, "data")
    height, width = (-(-(side // 4) // 2) for side in net.size)
    random = np.random.default_rng(3)
    for name, values in (
        ("g", random.uniform(0.5, 1.5, (16, height, width))),
        ("b", random.normal(0, 0.1, (16, height, width))),
        ("mu", random.normal(0, 0.1, (16, height, width))),
        ("v", random.uniform(0.5, 2, (16, height, width))),
    ):
        net.const(name, values.astype(np.float32))
    x = net.node("BatchNormalization", [x, "g", "b", "mu", "v"], "each", spatial=0, epsilon=1e-5)
    head(net, x)
    return net.proto()


def slope_flat() -> ModelProto:
    net = Net()
    head(net, body(net, "data", slope=(8,)))
    return net.proto()


def slope_four() -> ModelProto:
    net = Net()
    head(net, body(net, "data", slope=(1, 8, 1, 1)))
    return net.proto()


def dropout() -> ModelProto:
    """With a mask that nothing reads, and as the last node."""
    net = Net(opset=12)
    net.const("ratio", np.float32(0.4))
    net.const("off", np.array(False))
    x = body(net, "data")
    inputs = [x, "ratio", "off"]
    net.nodes.append(helper.make_node("Dropout", inputs, ["dropped", "mask"], name="drop"))
    x = net.node("Flatten", ["dropped"], "flat", axis=1)
    net.node("Gemm", [x, "fc", "bias"], "fc1", transB=1)
    net.node("Dropout", ["fc1"], "face")
    net.outputs.append(("face", TensorProto.FLOAT, [1, DIM]))
    return net.proto()


def unit_length() -> ModelProto:
    """PyTorch's F.normalize: ReduceL2, Clip, Shape, Expand, Div."""
    net = Net(batch="N")
    x = net.node("Flatten", [body(net, "data")], "flat", axis=1)
    x = net.node("Gemm", [x, "fc", "bias"], "raw", transB=1)
    net.node("ReduceL2", [x], "norm", axes=[1], keepdims=1)
    net.node("Clip", ["norm", net.const("eps", np.float32(1e-12))], "clipped")
    net.node("Shape", [x], "shape")
    net.node("Expand", ["clipped", "shape"], "wide")
    net.node("Div", [x, "wide"], "face")
    net.outputs.append(("face", TensorProto.FLOAT, ["N", DIM]))
    return net.proto()


def four_axes() -> ModelProto:
    """[1, d, 1, 1]: the last layer is a Conv over everything."""
    net = Net()
    x = body(net, "data")
    height, width = (-(-(side // 4) // 2) for side in net.size)
    net.const("fc", weights(net)["fc"].reshape(DIM, 16, height, width))
    net.node("Conv", [x, "fc", "bias"], "face", kernel_shape=[height, width])
    net.outputs.append(("face", TensorProto.FLOAT, [1, DIM, 1, 1]))
    return net.proto()


def no_batch_axis() -> ModelProto:
    """[d]."""
    net = Net()
    x = net.node("Flatten", [body(net, "data")], "flat", axis=1)
    x = net.node("Gemm", [x, "fc", "bias"], "row", transB=1)
    net.node("Squeeze", [x, net.const("axes", np.array([0]))], "face")
    net.outputs.append(("face", TensorProto.FLOAT, [DIM]))
    return net.proto()


def quality_first() -> ModelProto:
    """A quality score of size 1 before the embedding."""
    net = Net()
    x = body(net, "data")
    net.node("GlobalAveragePool", [x], "pooled")
    net.node("Flatten", ["pooled"], "pooled_flat", axis=1)
    net.node("MatMul", ["pooled_flat", net.const("q", np.ones((16, 1), np.float32))], "quality")
    net.outputs.append(("quality", TensorProto.FLOAT, [1, 1]))
    head(net, x)
    return net.proto()


def open_size() -> ModelProto:
    net = Net(input_shape=["N", 3, "h", "w"], batch="N")
    head(net, body(net, "data"))
    return net.proto()


def newest() -> ModelProto:
    """Opset 23: a reduction with its axes as an input, Reshape with allowzero."""
    net = Net(opset=23, ir=11)
    x = body(net, "data")
    columns = weights(net)["fc"].shape[1]
    to = net.const("to", np.array([1, columns]))
    x = net.node("Reshape", [x, to], "flat", allowzero=0)
    x = net.node("Gemm", [x, "fc", "bias"], "raw", transB=1)
    net.node("ReduceL2", [x, net.const("axes", np.array([1]))], "norm", keepdims=1)
    net.node("Div", [x, "norm"], "face")
    net.outputs.append(("face", TensorProto.FLOAT, [1, DIM]))
    return net.proto()


def beside(folder: Path, proto: ModelProto, **how: Any) -> Path:
    """Saved with its weights in a file beside it."""
    path = folder / "model.onnx"
    told: dict[str, Any] = {"location": "weights.bin", "size_threshold": 0}
    onnx.save_model(proto, path, save_as_external_data=True, **(told | how))
    return path


Form = Callable[[], ModelProto]
