"""What of a file is the same after every training: python structure.py FILE.onnx OTHER.onnx

Says whether two files differ in no more than the values of their weights. Needs onnx alone.
"""

from __future__ import annotations

import sys

import onnx


def structure(model: onnx.ModelProto) -> list[str]:
    """One line for each node, weight, input, output and version; no values of weights."""
    graph = model.graph
    opsets = [f"opset {o.domain!r} {o.version}" for o in model.opset_import]
    lines = [f"ir {model.ir_version}", *opsets, f"graph {graph.name}"]
    for kind, values in (("input", graph.input), ("output", graph.output)):
        for value in values:
            tensor = value.type.tensor_type
            shape = [d.dim_param or d.dim_value for d in tensor.shape.dim]
            lines.append(f"{kind} {value.name} {tensor.elem_type} {shape}")
    for node in graph.node:
        named = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        ends = f"{list(node.input)} {list(node.output)}"
        lines.append(f"node {node.op_type} {node.name!r} {ends} {sorted(named.items())}")
    weights = [f"weight {w.name} {w.data_type} {list(w.dims)}" for w in graph.initializer]
    return lines + sorted(weights)


def differences(one: onnx.ModelProto, other: onnx.ModelProto) -> list[str]:
    """Lines that only one of the two has, marked - and +."""
    a, b = structure(one), structure(other)
    return [f"- {line}" for line in a if line not in b] + [f"+ {x}" for x in b if x not in a]


if __name__ == "__main__":
    found = differences(onnx.load(sys.argv[1]), onnx.load(sys.argv[2]))
    print("\n".join(found) or "the same structure")
    sys.exit(bool(found))
