"""Twins: a vendor's arithmetic as an ONNX graph that onnxruntime computes.

Every activation passes through QuantizeLinear and DequantizeLinear with the vendor's own
parameters; weights and biases are stored as the vendor's integers. A tensor keeps its name for
the dequantized value, which is what the next layer sees. A twin predicts a board's distribution
(mean cosine, Rank-1), not its vectors: one flipped bit spreads through the layers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from orchestrator.calibration.table import CalibrationTable
from orchestrator.graphs import edit
from orchestrator.toolchains.base import Scheme
from orchestrator.toolchains.emit import resolve_nodes, table_of
from orchestrator.toolchains.vendor_rules import Parameters, VendorRule, round_half_away

WEIGHTED = ("Conv", "Gemm", "MatMul")

# round(x / scale + zero) on the way to the nearest level, and back: operator and constant.
_SNAP = (
    ("Div", "scale"),
    ("Add", "zero"),
    ("Add", "half"),
    ("Floor", ""),
    ("Sub", "zero"),
    ("Mul", "scale"),
)


def emit_twin(
    prepared: bytes, table: CalibrationTable | None, scheme: Scheme, rule: VendorRule
) -> bytes:
    """The twin of a prepared model.

    Args:
        prepared: what `prepare` made.
        table: ranges of exactly that model.
        scheme: its calibrator and `keep_float` are used; its axes are the rule's.
        rule: the vendor's formulas.

    Raises:
        UserError: no table, or another model's.
    """
    table = table_of(prepared, table, scheme)
    proto = onnx.ModelProto.FromString(prepared)
    in_float = set(resolve_nodes(proto, scheme.keep_float))
    activations = activation_parameters(proto, table, scheme.calibrator, rule)
    return edit.dump(_Twin(proto, rule, activations, in_float).build())


def activation_parameters(
    proto: ModelProto, table: CalibrationTable, calibrator: str | None, rule: VendorRule
) -> dict[str, Parameters]:
    """Scale and zero point of every activation, by name, by the vendor's formulas."""
    found = {name: rule.activation(*r) for name, r in table.ranges(calibrator).items()}
    readers = edit.consumers(proto.graph)
    for node in reversed(proto.graph.node):
        passes = node.op_type in rule.pass_through and node.input[0] in found
        if passes and node.output[0] in found and len(readers[node.input[0]]) == 1:
            found[node.input[0]] = found[node.output[0]]
    return found


class _Twin:
    """One rewriting of a graph."""

    def __init__(
        self,
        proto: ModelProto,
        rule: VendorRule,
        activations: dict[str, Parameters],
        in_float: set[str],
    ) -> None:
        self._proto = proto
        self._graph: GraphProto = proto.graph
        self._rule = rule
        self._activations = activations
        self._in_float = in_float
        self._constants = edit.initializers(proto.graph)
        self._added: dict[str, onnx.TensorProto] = {}
        self._nodes: list[NodeProto] = []

    def build(self) -> ModelProto:
        """The rewritten model."""
        renamed = {}
        for info in self._graph.input:
            if info.name in self._activations and not self._kept_readers(info.name):
                renamed[info.name] = f"{info.name}.dq"
                source = self._snapped(info.name) if self._rule.caller_quantizes else info.name
                self._round_trip(info.name, source, f"{info.name}.dq")
        for original in self._graph.node:
            node = NodeProto.FromString(original.SerializeToString())
            for i, name in enumerate(node.input):
                node.input[i] = renamed.get(name, name)
            if node.name not in self._in_float:
                self._parameters(node, original.input[0])
            self._nodes.append(node)
            output = node.output[0]
            if output in self._activations and node.name not in self._in_float:
                node.output[0] = f"{output}.raw"
                self._round_trip(output, f"{output}.raw", output)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(self._added[name] for name in sorted(self._added))
        edit.drop_unused_initializers(self._graph)
        return self._proto

    def _kept_readers(self, name: str) -> bool:
        """Whether only float nodes read the graph's input."""
        readers = [node.name for node in self._graph.node if name in node.input]
        return bool(readers) and all(reader in self._in_float for reader in readers)

    def _snapped(self, tensor: str) -> str:
        """The input on the level that the board's agent gives it: QuantizeLinear rounds to even.

        Levels below 0, where halves would go down, are clipped anyway.
        """
        scale, zero = self._activations[tensor]
        constants = {"scale": scale, "zero": np.float32(zero), "half": np.float32(0.5)}
        names = {
            name: self._store(f"{tensor}.agent.{name}", np.asarray(value, np.float32))
            for name, value in constants.items()
        }
        last = tensor
        for number, (operator, constant) in enumerate(_SNAP):
            inputs = [last, names[constant]] if constant else [last]
            last = f"{tensor}.agent.{number}"
            self._nodes.append(helper.make_node(operator, inputs, [last], name=last))
        return last

    def _round_trip(self, tensor: str, source: str, target: str) -> None:
        scale, zero = self._activations[tensor]
        names = self._store_parameters(tensor, np.asarray(scale), np.asarray(zero))
        quantize = helper.make_node(
            "QuantizeLinear", [source, *names], [f"{tensor}.q"], name=f"{tensor}.quantize"
        )
        dequantize = helper.make_node(
            "DequantizeLinear", [f"{tensor}.q", *names], [target], name=f"{tensor}.dequantize"
        )
        self._nodes += [quantize, dequantize]

    def _parameters(self, node: NodeProto, source: str) -> None:
        """Replace a node's constants by the vendor's versions of them."""
        if node.op_type == "PRelu" and node.input[1] in self._constants:
            slope = numpy_helper.to_array(self._constants[node.input[1]])
            node.input[1] = self._store(
                f"{node.input[1]}.half", slope.astype(np.float16).astype(np.float32)
            )
        if node.op_type not in WEIGHTED or node.input[1] not in self._constants:
            return
        name = node.input[1]
        weight = numpy_helper.to_array(self._constants[name]).astype(np.float32)
        # MatMul has its output channels last, the others first.
        axis = weight.ndim - 1 if node.op_type == "MatMul" else 0
        scales, zeros = self._weight_parameters(weight, axis)
        node.input[1] = self._quantized_weight(name, weight, scales, zeros, axis)
        if len(node.input) > 2 and node.input[2] in self._constants and source in self._activations:
            bias = numpy_helper.to_array(self._constants[node.input[2]]).astype(np.float32)
            scale = (self._activations[source][0] * scales).astype(np.float32)
            node.input[2] = self._quantized_bias(f"{node.name}.bias", bias, scale)

    def _weight_parameters(
        self, weight: npt.NDArray[np.float32], axis: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        if self._rule.per_channel:
            rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        else:
            rows = weight.reshape(1, -1)
        pairs = [self._rule.weight(row) for row in rows]
        return (
            np.array([scale for scale, _ in pairs], np.float32),
            np.array([zero for _, zero in pairs], np.int64),
        )

    def _quantized_weight(
        self,
        name: str,
        weight: npt.NDArray[np.float32],
        scales: npt.NDArray[np.float32],
        zeros: npt.NDArray[np.int64],
        axis: int,
    ) -> str:
        target = f"{name}.dq"
        if f"{name}.q" in self._added or target in self._added:
            return target  # shared by two nodes
        shape = [1] * weight.ndim
        shape[axis] = scales.size
        scale, zero = scales.reshape(shape), zeros.reshape(shape).astype(np.float32)
        limits = np.iinfo(self._rule.dtype)
        integers = np.clip(round_half_away(weight / scale + zero), limits.min, limits.max)
        if zeros.min() < limits.min or zeros.max() > limits.max:
            # A zero point that ONNX's type cannot hold: the values themselves are stored.
            return self._store(target, ((integers - zero) * scale).astype(np.float32))
        self._store(f"{name}.q", integers.astype(self._rule.dtype))
        one = scales.size == 1
        names = self._store_parameters(
            name, scales.reshape(()) if one else scales, zeros.reshape(()) if one else zeros
        )
        attributes = {} if one else {"axis": axis}
        self._nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [f"{name}.q", *names],
                [target],
                name=f"{name}.dequantize",
                **attributes,
            )
        )
        return target

    def _quantized_bias(
        self, name: str, bias: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]
    ) -> str:
        limits = np.iinfo(np.int32)
        exact = round_half_away(bias / scale).astype(np.float64)
        integers = np.clip(exact, limits.min, limits.max).astype(np.int32)
        self._store(f"{name}.q", integers)
        one = scale.size == 1
        self._store(f"{name}.scale", scale.reshape(()) if one else scale)
        attributes = {} if one else {"axis": 0}
        self._nodes.append(
            helper.make_node(
                "DequantizeLinear",
                [f"{name}.q", f"{name}.scale"],
                [f"{name}.dq"],
                name=f"{name}.dequantize",
                **attributes,
            )
        )
        return f"{name}.dq"

    def _store_parameters(
        self, name: str, scale: npt.NDArray[np.float32], zero: npt.NDArray[np.int64]
    ) -> list[str]:
        return [
            self._store(f"{name}.scale", scale.astype(np.float32)),
            self._store(f"{name}.zero", zero.astype(self._rule.dtype)),
        ]

    def _store(self, name: str, array: npt.NDArray[np.generic]) -> str:
        self._added[name] = numpy_helper.from_array(np.array(array, order="C"), name)
        return name
