"""Small face-like networks with random weights, built node by node."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 16


class Net:
    """Adds nodes and random constants; every tensor is named after its node."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def node(self, operator: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def conv(self, name: str, x: str, into: int, out: int, kernel: int = 3, **kw: object) -> str:
        groups = int(str(kw.get("group", 1)))
        shape = (out, into // groups, kernel, kernel)
        weight = self.random.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        # Output channels of very different size make per-channel scales matter.
        weight *= np.exp(self.random.normal(0, 0.5, (out, 1, 1, 1)))
        kw.setdefault("pads", [kernel // 2] * 4)
        return self.node(
            "Conv", name, [x, self.constant(f"{name}.w", weight)], kernel_shape=[kernel] * 2, **kw
        )

    def bn(self, name: str, x: str, channels: int) -> str:
        parts = {
            "gamma": self.random.uniform(0.5, 1.5, channels),
            "beta": self.random.normal(0, 0.2, channels),
            "mean": self.random.normal(0, 0.2, channels),
            "var": self.random.uniform(0.5, 2.0, channels),
        }
        names = [self.constant(f"{name}.{key}", value) for key, value in parts.items()]
        return self.node("BatchNormalization", name, [x, *names], epsilon=2e-5)

    def prelu(self, name: str, x: str, channels: int) -> str:
        slope = self.random.uniform(-0.2, 0.4, (channels, 1, 1))
        return self.node("PRelu", name, [x, self.constant(f"{name}.slope", slope)])

    def gemm(self, name: str, x: str, into: int, out: int, **kw: object) -> str:
        weight = self.random.normal(0, into**-0.5, (out, into) if kw.get("transB") else (into, out))
        bias = self.constant(f"{name}.b", self.random.normal(0, 0.1, out))
        return self.node("Gemm", name, [x, self.constant(f"{name}.w", weight), bias], **kw)

    def model(
        self,
        output: str,
        *,
        shape: tuple[object, ...] = ("N", 3, SIZE, SIZE),
        opset: int = 13,
        ir: int = 7,
        embedding: int | None = 32,
    ) -> bytes:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("data", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [shape[0], embedding])],
            self.constants,
        )
        opsets = [helper.make_opsetid("", opset)]
        proto = helper.make_model(graph, opset_imports=opsets, ir_version=ir)
        return proto.SerializeToString()


def iresnet(seed: int = 0, opset: int = 13) -> bytes:
    """InsightFace's block order in small: every kind of fold, and a BN that must stay."""
    net = Net(seed)
    x = net.prelu("stem.prelu", net.bn("stem.bn", net.conv("stem.conv", "data", 3, 8), 8), 8)
    y = net.conv("conv1", net.bn("bn1", x, 8), 8, 16)
    y = net.prelu("prelu", net.bn("bn2", y, 16), 16)
    y = net.bn("bn3", net.conv("conv2", y, 16, 16, strides=[2, 2]), 16)
    short = net.bn("down.bn", net.conv("down", x, 8, 16, 1, strides=[2, 2]), 16)
    x = net.bn("bn_out", net.node("Add", "add", [y, short]), 16)
    x = net.node("Flatten", "flatten", [x], axis=1)
    x = net.gemm("fc", x, 16 * (SIZE // 2) ** 2, 32, transB=1)
    return net.model(net.bn("fc1", x, 32), opset=opset)


def images(count: int, seed: int = 0) -> np.ndarray:
    """float32 (count, 3, SIZE, SIZE) within [-1, 1], each with its own brightness and contrast."""
    random = np.random.default_rng(seed)
    noise = random.uniform(-1, 1, (count, 3, SIZE, SIZE))
    contrast = random.uniform(0.1, 0.7, (count, 1, 1, 1))
    return (noise * contrast + random.uniform(-0.3, 0.3, (count, 1, 1, 1))).astype(np.float32)


PREPROCESSING = {
    "layout": "NCHW",
    "colour": "RGB",
    "mean": [127.5] * 3,
    "std": [127.5] * 3,
    "height": SIZE,
    "width": SIZE,
}


def photos(count: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, SIZE, SIZE, 3), as `images` before preprocessing."""
    ready = images(count, seed).transpose(0, 2, 3, 1)
    return np.clip(np.round(ready * 127.5 + 127.5), 0, 255).astype(np.uint8)


def run(model: bytes, batch: np.ndarray) -> np.ndarray:
    """First output of a faithful session, image by image."""
    from orchestrator.graphs.sessions import faithful_session

    session = faithful_session(model)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in batch])


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cosine of each pair of rows."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(axis=1) / lengths
