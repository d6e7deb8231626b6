"""Fit the head and write the ONNX file: python export.py MODEL FOLDER CHECKPOINT.pt OUT.onnx

Opset 13, open batch. The written file is compared with the network in torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from head import Head, fit, maps
from net import Bottleneck, IResNet, MobileFaceNet, Network, Unit, network
from onnx import TensorProto, helper, numpy_helper
from recipes import MAP, MEAN, RECIPES, SIZE, Recipe
from torch import nn

COMPARED = 8  # faces


class Writer:
    """Collects a graph's nodes and weights."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray | torch.Tensor) -> str:
        """Add a weight as float32; its name."""
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else value
        array = np.ascontiguousarray(array, np.float32)
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def node(
        self, op: str, inputs: list[str], output: str, name: str | None = None, **attributes: object
    ) -> str:
        """Add a node; its output, whose name it has unless another is given."""
        name = output if name is None else name
        self.nodes.append(helper.make_node(op, inputs, [output], name=name, **attributes))
        return output

    def model(self, recipe: Recipe) -> onnx.ModelProto:
        """The whole file."""
        kind, size = TensorProto.FLOAT, recipe.embedding_size
        image = helper.make_tensor_value_info(recipe.input, kind, ["N", 3, SIZE, SIZE])
        features = helper.make_tensor_value_info(recipe.output, kind, ["N", size])
        graph = helper.make_graph(self.nodes, recipe.graph, [image], [features], self.weights)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 13)],
            producer_name="synthface",
            ir_version=recipe.ir_version,
        )
        onnx.checker.check_model(model, full_check=True)
        return model


class IResNetWriter(Writer):
    """BatchNormalization stays a node of its own, as InsightFace's exporter leaves it."""

    def conv(self, conv: nn.Conv2d, x: str, name: str) -> str:
        """Add a convolution."""
        shape = {"kernel_shape": list(conv.kernel_size), "strides": list(conv.stride)}
        pads, weight = list(conv.padding) * 2, self.constant(f"{name}.weight", conv.weight)
        return self.node("Conv", [x, weight], name, **shape, pads=pads, dilations=[1, 1], group=1)

    def norm(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, x: str, name: str) -> str:
        """Add a BatchNormalization."""
        values = {k: getattr(norm, k) for k in ("weight", "bias", "running_mean", "running_var")}
        weights = [self.constant(f"{name}.{k}", v) for k, v in values.items()]
        return self.node("BatchNormalization", [x, *weights], name, epsilon=norm.eps, momentum=0.9)

    def act(self, act: nn.PReLU, x: str, name: str) -> str:
        """Add a PReLU."""
        return self.node(
            "PRelu", [x, self.constant(f"{name}.slope", act.weight[:, None, None])], name
        )

    def write(self, net: IResNet, recipe: Recipe) -> None:
        """Add all nodes; the head is the network's own."""
        x = self.norm(net.bn, self.conv(net.conv, recipe.input, "stem.conv"), "stem.bn")
        x = self.act(net.act, x, "stem.prelu")
        for k, block in enumerate(net.blocks):
            name = f"block{k}."
            y = self.conv(block.conv1, self.norm(block.bn1, x, f"{name}bn1"), f"{name}conv1")
            y = self.act(block.act, self.norm(block.bn2, y, f"{name}bn2"), f"{name}prelu")
            y = self.norm(block.bn3, self.conv(block.conv2, y, f"{name}conv2"), f"{name}bn3")
            if block.down is not None:
                x = self.conv(block.down[0], x, f"{name}down.conv")
                x = self.norm(block.down[1], x, f"{name}down.bn")
            x = self.node("Add", [y, x], f"{name}add")
        x = self.node("Flatten", [self.norm(net.bn_out, x, "bn_out")], "flatten", axis=1)
        fc = [self.constant("fc.weight", net.fc.weight), self.constant("fc.bias", net.fc.bias)]
        self.norm(net.features, self.node("Gemm", [x, *fc], "fc", transB=1), recipe.output)


class MobileFaceNetWriter(Writer):
    """BatchNormalization is folded; nodes are numbered."""

    def __init__(self) -> None:
        super().__init__()
        self.units = 0

    def unit(self, unit: Unit, x: str) -> str:
        """Add a convolution with its BatchNormalization folded in, and its PReLU."""
        conv, norm, k = unit[0], unit[1], self.units
        self.units += 1
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        weight = self.constant(f"w{k}", conv.weight * scale[:, None, None, None])
        bias = self.constant(f"b{k}", norm.bias - norm.running_mean * scale)
        shape = {"kernel_shape": list(conv.kernel_size), "strides": list(conv.stride)}
        pads, group = list(conv.padding) * 2, conv.groups
        x = self.node(
            "Conv", [x, weight, bias], f"c{k}", f"conv{k}", **shape, pads=pads, group=group
        )
        if len(unit) == 2:
            return x
        slope = self.constant(f"a{k}", unit[2].weight[:, None, None])
        return self.node("PRelu", [x, slope], f"p{k}", f"prelu{k}")

    def write(self, net: MobileFaceNet, head: Head, recipe: Recipe) -> None:
        """Add all nodes; the head is a convolution over the whole map, centred."""
        x = recipe.input
        for k, part in enumerate(net.body):
            if not isinstance(part, Bottleneck):
                x = self.unit(part, x)
                continue
            y = x
            for unit in part.units:
                y = self.unit(unit, y)
            x = self.node("Add", [x, y], f"r{k}", f"add{k}") if part.residual else y
        weight = self.constant("head_w", head.weight.reshape(-1, *MAP))
        bias = self.constant("head_b", -head.mean)
        x = self.node("Conv", [x, weight, bias], "head", kernel_shape=list(MAP[1:]))
        self.node("Flatten", [x], recipe.output, "", axis=1)


def with_head(net: IResNet, head: Head) -> None:
    """Replace the trained head: the Linear is `head`, and the last BN only centres."""
    mean, variance = (torch.from_numpy(v).float() for v in (head.mean, head.variance))
    last = net.features
    net.fc.weight.data = torch.from_numpy(head.weight).float()
    net.fc.bias.data = torch.zeros(len(mean))
    last.running_mean, last.running_var = mean, variance
    last.weight.data, last.bias.data = (variance + last.eps).sqrt(), torch.zeros(len(mean))


def written(net: Network, head: Head, recipe: Recipe) -> onnx.ModelProto:
    """The file of a network (in evaluation mode) with a fitted head."""
    if isinstance(net, IResNet):
        with_head(net, head)
        plain = IResNetWriter()
        plain.write(net, recipe)
        return plain.model(recipe)
    folded = MobileFaceNetWriter()
    folded.write(net, head, recipe)
    return folded.model(recipe)


def difference(net: Network, head: Head, recipe: Recipe, path: str, faces: np.ndarray) -> float:
    """The largest difference between the file's features and the network's with the head."""
    wanted = maps(net, recipe, faces) @ head.weight.T - head.mean
    x = (faces.astype(np.float32) - np.float32(MEAN)) / np.float32(recipe.std)
    (found,) = ort.InferenceSession(path).run(None, {recipe.input: x})
    return float(np.abs(found - wanted).max())


def main(name: str, folder: Path, checkpoint: str, out: str) -> None:
    """Fit, write and compare."""
    torch.set_num_threads(1)
    recipe, net = RECIPES[name], network(name)
    state = torch.load(checkpoint)["trainer"]
    net.load_state_dict({k[4:]: v for k, v in state.items() if k.startswith("net.")})
    net.eval()
    faces, labels = np.load(folder / "faces.npy", mmap_mode="r"), np.load(folder / "labels.npy")
    head = fit(net, recipe, faces, labels)
    onnx.save(written(net, head, recipe), out)
    print("largest difference from torch:", difference(net, head, recipe, out, faces[:COMPARED]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4])
