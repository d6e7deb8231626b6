"""An IResNet-50 with random weights: InsightFace's graph and size, nobody's parameters.

43.6 million parameters, 53 Conv, 79 BatchNormalization, 25 PRelu, 24 Add, 512 numbers out.
For time and memory only: an untrained net says nothing about accuracy. The normalizations
carry the statistics of the activations before them, as in a trained net, so that values
neither explode nor vanish.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

UNITS = (3, 4, 14, 3)
WIDTHS = (64, 128, 256, 512)
EPSILON = 2e-5


class _Builder:
    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self.norms: list[tuple[str, str, int]] = []

    def constant(self, name: str, array: np.ndarray) -> str:
        self.constants[name] = np.asarray(array, np.float32)
        return name

    def node(self, operator: str, name: str, inputs: list[str], **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def conv(self, name: str, x: str, into: int, out: int, kernel: int, stride: int = 1) -> str:
        weight = self.random.standard_normal((out, into, kernel, kernel), np.float32)
        weight *= np.sqrt(2 / (into * kernel * kernel))
        # Trained nets have output channels of very different size.
        weight *= np.exp(self.random.normal(0, 0.35, (out, 1, 1, 1)))
        return self.node(
            "Conv",
            name,
            [x, self.constant(f"{name}.weight", weight)],
            kernel_shape=[kernel] * 2,
            pads=[kernel // 2] * 4,
            strides=[stride] * 2,
        )

    def bn(self, name: str, x: str, channels: int) -> str:
        self.norms.append((name, x, channels))
        gamma = self.constant(f"{name}.weight", self.random.uniform(0.7, 1.3, channels))
        beta = self.constant(f"{name}.bias", self.random.normal(0, 0.1, channels))
        mean = self.constant(f"{name}.running_mean", np.zeros(channels))
        variance = self.constant(f"{name}.running_var", np.ones(channels))
        return self.node(
            "BatchNormalization", name, [x, gamma, beta, mean, variance], epsilon=EPSILON
        )

    def prelu(self, name: str, x: str, channels: int) -> str:
        slope = self.random.uniform(0.05, 0.4, (channels, 1, 1))
        return self.node("PRelu", name, [x, self.constant(f"{name}.slope", slope)])


def build(seed: int = 50) -> bytes:
    """The ONNX file: opset 13, IR 7, `input` [N, 3, 112, 112] to `embedding` [N, 512]."""
    b = _Builder(seed)
    x = b.prelu("prelu", b.bn("bn1", b.conv("conv1", "input", 3, 64, 3), 64), 64)
    width = 64
    for stage, (units, out) in enumerate(zip(UNITS, WIDTHS, strict=True), 1):
        for unit in range(units):
            name, stride = f"layer{stage}.{unit}", 2 if unit == 0 else 1
            y = b.conv(f"{name}.conv1", b.bn(f"{name}.bn1", x, width), width, out, 3)
            y = b.prelu(f"{name}.prelu", b.bn(f"{name}.bn2", y, out), out)
            y = b.bn(f"{name}.bn3", b.conv(f"{name}.conv2", y, out, out, 3, stride), out)
            if unit == 0:
                x = b.conv(f"{name}.downsample.0", x, width, out, 1, stride)
                x = b.bn(f"{name}.downsample.1", x, out)
            x, width = b.node("Add", f"{name}.add", [y, x]), out
    x = b.node("Flatten", "flatten", [b.bn("bn2", x, 512)], axis=1)
    inputs = 512 * 7 * 7
    weight = b.random.standard_normal((512, inputs), np.float32) * np.float32(inputs**-0.5)
    fc = [x, b.constant("fc.weight", weight), b.constant("fc.bias", np.zeros(512))]
    b.bn("embedding", b.node("Gemm", "fc", fc, transB=1), 512)
    _set_statistics(b)
    return _model(b, b.nodes, ["embedding"]).SerializeToString()


def _set_statistics(b: _Builder) -> None:
    """Give every normalization the mean and variance of its input over a few smooth images."""
    import onnxruntime

    nodes: list[onnx.NodeProto] = []
    outputs: list[str] = []
    for node in b.nodes:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            continue
        (x, gamma, beta), (y,) = node.input[:3], node.output
        axes = [0] if y == "embedding" else [0, 2, 3]
        shape = [-1] if y == "embedding" else [1, -1, 1, 1]
        b.constants[f"{y}.shape"] = np.asarray(shape, np.int64)
        b.constants["epsilon"] = np.float32([EPSILON])
        for step in (
            helper.make_node("ReduceMean", [x], [f"{y}.m"], axes=axes),
            helper.make_node("Sub", [x, f"{y}.m"], [f"{y}.c"]),
            helper.make_node("Mul", [f"{y}.c", f"{y}.c"], [f"{y}.s"]),
            helper.make_node("ReduceMean", [f"{y}.s"], [f"{y}.v"], axes=axes),
            helper.make_node("Add", [f"{y}.v", "epsilon"], [f"{y}.e"]),
            helper.make_node("Sqrt", [f"{y}.e"], [f"{y}.d"]),
            helper.make_node("Div", [f"{y}.c", f"{y}.d"], [f"{y}.n"]),
            helper.make_node("Reshape", [gamma, f"{y}.shape"], [f"{y}.g"]),
            helper.make_node("Reshape", [beta, f"{y}.shape"], [f"{y}.b"]),
            helper.make_node("Mul", [f"{y}.n", f"{y}.g"], [f"{y}.t"]),
            helper.make_node("Add", [f"{y}.t", f"{y}.b"], [y]),
        ):
            nodes.append(step)
        outputs += [f"{y}.m", f"{y}.v"]
    session = onnxruntime.InferenceSession(
        _model(b, nodes, outputs).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    values = dict(zip(outputs, session.run(outputs, {"input": smooth_images(6)}), strict=True))
    for name, _, _ in b.norms:
        b.constants[f"{name}.running_mean"] = values[f"{name}.m"].reshape(-1)
        b.constants[f"{name}.running_var"] = values[f"{name}.v"].reshape(-1)


def smooth_images(count: int, seed: int = 7) -> np.ndarray:
    """float32 (count, 3, 112, 112) within [-1, 1]: noise with a picture's low frequencies."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(-1, 1, (count, 3, 14, 14)).astype(np.float32)
    fine = random.normal(0, 0.08, (count, 3, 112, 112)).astype(np.float32)
    return np.clip(coarse.repeat(8, axis=2).repeat(8, axis=3) * np.float32(0.8) + fine, -1, 1)


def _model(b: _Builder, nodes: list[onnx.NodeProto], outputs: list[str]) -> onnx.ModelProto:
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "ir50",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, 112, 112])],
        [
            helper.make_tensor_value_info(o, TensorProto.FLOAT, ["N", 512])
            if o == "embedding"
            else helper.make_tensor_value_info(o, TensorProto.FLOAT, None)
            for o in outputs
        ],
        [numpy_helper.from_array(v, k) for k, v in b.constants.items() if k in used],
    )
    opsets = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=7, producer_name="farm-bench")
