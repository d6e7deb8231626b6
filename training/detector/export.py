"""Write the ONNX file: python export.py CHECKPOINT.pt OUT.onnx

BatchNormalization folded; opset 13; outputs score_S, bbox_S, kps_S of strides 8, 16, 32. The
written file is compared with the network in torch.
"""

import sys

import numpy as np
import onnx
import onnxruntime as ort
import torch
from net import ANCHORS, HEIGHT, PARTS, STRIDES, WIDTH, Detector, Residual, cells
from onnx import TensorProto, helper, numpy_helper
from torch import nn


class Writer:
    """Collects a graph's nodes and weights."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a weight; its name."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, inputs: list[str], name: str, **attributes: object) -> str:
        """Add a node; its output, which has its name."""
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x: str, conv: nn.Conv2d, name: str, norm: nn.BatchNorm2d | None = None) -> str:
        """Add a convolution with its BatchNormalization folded in."""
        weight = conv.weight.detach().double()
        bias = torch.zeros(len(weight)).double() if conv.bias is None else conv.bias.double()
        if norm is not None:
            scale = (norm.weight / torch.sqrt(norm.running_var + norm.eps)).double()
            weight = weight * scale[:, None, None, None]
            bias = norm.bias.double() - norm.running_mean.double() * scale
        w = self.constant(f"{name}.weight", weight.detach().float().numpy())
        b = self.constant(f"{name}.bias", bias.detach().float().numpy())
        shape = {"kernel_shape": list(conv.kernel_size), "strides": list(conv.stride)}
        return self.node("Conv", [x, w, b], name, **shape, pads=list(conv.padding) * 2)

    def block(self, x: str, block: nn.Module, name: str) -> str:
        """Add a convolution with ReLU, or a residual sum around one."""
        if isinstance(block, Residual):
            return self.node("Add", [x, self.block(x, block.conv, name)], f"{name}.add")
        return self.node("Relu", [self.conv(x, block[0], name, block[1])], f"{name}.relu")

    def head(self, x: str, conv: nn.Conv2d, part: str, stride: int, size: int) -> None:
        """Add one output: values of an anchor last, anchors of a cell before it."""
        y = self.conv(x, conv, f"{part}_{stride}.conv")
        if part == "score":
            y = self.node("Sigmoid", [y], f"{part}_{stride}.sigmoid")
        y = self.node("Transpose", [y], f"{part}_{stride}.nhwc", perm=[0, 2, 3, 1])
        shape = np.array([-1, rows(stride), size], np.int64)
        self.node(
            "Reshape", [y, self.constant(f"{part}_{stride}.shape", shape)], f"{part}_{stride}"
        )


def rows(stride: int) -> int:
    """Anchors of a map."""
    height, width = cells(stride)
    return height * width * ANCHORS


def save(net: Detector, path: str) -> None:
    """Write the network (in evaluation mode) to `path`."""
    writer, x = Writer(), "input"
    for stride, stage, head in zip(STRIDES, net.stages, net.heads, strict=True):
        for k, block in enumerate(stage):
            x = writer.block(x, block, f"s{stride}.{k}")
        for part, size in PARTS:
            writer.head(x, head[part], part, stride, size)
    kind = TensorProto.FLOAT
    outputs = [
        helper.make_tensor_value_info(f"{part}_{stride}", kind, ["N", rows(stride), size])
        for part, size in PARTS
        for stride in STRIDES
    ]
    image = helper.make_tensor_value_info("input", kind, ["N", 3, HEIGHT, WIDTH])
    graph = helper.make_graph(writer.nodes, "synthdet", [image], outputs, writer.weights)
    opset = [helper.make_opsetid("", 13)]
    model = helper.make_model(graph, opset_imports=opset, producer_name="synthdet", ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def difference(net: Detector, path: str) -> float:
    """The largest difference between the file's outputs and the network's."""
    x = torch.randn(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = net(x)
    wanted = [found[s][p].sigmoid() if p == 0 else found[s][p] for p in range(3) for s in range(3)]
    run = ort.InferenceSession(path).run(None, {"input": x.numpy()})
    return max(float(np.abs(r - w.numpy()).max()) for r, w in zip(run, wanted, strict=True))


if __name__ == "__main__":
    net = Detector().eval()
    net.load_state_dict(torch.load(sys.argv[1])["net"])
    save(net, sys.argv[2])
    print("largest difference from torch:", difference(net, sys.argv[2]))
