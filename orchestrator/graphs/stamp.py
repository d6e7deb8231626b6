"""Batch size, operator-set domains and versions of a file; what it computes stays."""

from __future__ import annotations

import onnx
from onnx import ModelProto

from orchestrator.errors import ToolchainError
from orchestrator.graphs import edit


def strip_domains(proto: ModelProto) -> None:
    """Keep only the operator-set domains that a node uses, in place."""
    used = {"" if n.domain in edit.STANDARD_DOMAINS else n.domain for n in proto.graph.node}
    versions = {}
    for entry in proto.opset_import:
        domain = "" if entry.domain in edit.STANDARD_DOMAINS else entry.domain
        if domain in used:
            versions[domain] = entry.version
    del proto.opset_import[:]
    for domain in sorted(versions):
        proto.opset_import.append(onnx.helper.make_opsetid(domain, versions[domain]))


def set_opset(proto: ModelProto, version: int) -> ModelProto:
    """The model at another version of the standard operator set.

    A version in which every operator used has the same definition is only stamped: the
    converter of the onnx package cannot go down over most of them. Otherwise upward the
    converter is asked, and downward is refused.

    Raises:
        ToolchainError: an operator means something else in that version.
    """
    current = edit.opset(proto)
    if current == version:
        return proto
    changed = [
        n
        for n in proto.graph.node
        if _definition(n.op_type, current) != _definition(n.op_type, version)
    ]
    blocking = [node for node in changed if not _same_use(node, current, version)]
    if not blocking:
        _drop_unset(proto)
        for entry in proto.opset_import:
            if entry.domain in edit.STANDARD_DOMAINS:
                entry.version = version
        return proto
    if version > current:
        try:
            return onnx.version_converter.convert_version(proto, version)
        except Exception as error:
            raise ToolchainError(
                f"the model cannot be brought from opset {current} to {version}: {error}",
                f"export it with opset {version}",
            ) from error
    names = ", ".join(edit.label(node) for node in blocking[:3])
    raise ToolchainError(
        f"the model has opset {current}, and {names} means something else in opset {version}, "
        "the newest that this toolchain takes",
        f"export it with opset {version} or lower",
    )


def _definition(operator: str, version: int) -> int | None:
    """The version in which the definition that `version` uses appeared."""
    try:
        return int(onnx.defs.get_schema(operator, version, "").since_version)
    except onnx.defs.SchemaError:
        return None


# Operators whose definitions between these versions differ only in types or in attributes
# and outputs that an exported inference graph does not use (onnx/docs/Changelog.md):
# bfloat16 or bidirectional broadcasting text (7, 9, 13, 16), negative axes (11), and
# training outputs of BatchNormalization (14, 15), which are then off.
_SAME_MEANING: dict[str, frozenset[int]] = {
    "Add": frozenset({7, 13, 14}),
    "Mul": frozenset({7, 13, 14}),
    "Sub": frozenset({7, 13, 14}),
    "BatchNormalization": frozenset({9, 14, 15}),
    "Conv": frozenset({1, 11, 22}),
    "Flatten": frozenset({9, 11, 13, 21, 23, 24, 25}),
    "Gemm": frozenset({9, 11, 13}),
    "GlobalAveragePool": frozenset({1, 22}),
    "MatMul": frozenset({9, 13}),
    "MaxPool": frozenset({8, 10, 11, 12, 22}),
    "PRelu": frozenset({9, 16}),
    "Relu": frozenset({6, 13, 14}),
    "Sigmoid": frozenset({6, 13}),
    "Concat": frozenset({4, 11, 13}),
    "Transpose": frozenset({1, 13, 21, 23, 24, 25}),
    # Newer versions add types, blocks and an output type, which `_same_use` looks at.
    "DequantizeLinear": frozenset({10, 13, 19, 21, 23, 24, 25}),
    "QuantizeLinear": frozenset({10, 13, 19, 21, 23, 24, 25}),
}


# Attributes of QuantizeLinear and DequantizeLinear after 13, with the values that change nothing.
_UNSET = {"saturate": 1, "block_size": 0, "output_dtype": 0, "precision": 0}


def _drop_unset(proto: ModelProto) -> None:
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            attributes = [a for a in node.attribute if a.name not in _UNSET]
            if len(attributes) < len(node.attribute):
                del node.attribute[:]
                node.attribute.extend(attributes)


def _same_use(node: onnx.NodeProto, current: int, version: int) -> bool:
    versions = _SAME_MEANING.get(node.op_type, frozenset())
    settings = edit.attributes(node)
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        # `axis` came with 13; what came later changes values where it is set.
        allowed = {"axis"} if version >= 13 else set()
        if {name for name, value in settings.items() if value != _UNSET.get(name)} - allowed:
            return False
    if node.op_type == "BatchNormalization" and settings.get("training_mode"):
        return False
    if node.op_type == "BatchNormalization" and "training_mode" in settings and version < 14:
        return False
    return _definition(node.op_type, current) in versions and (
        _definition(node.op_type, version) in versions
    )


def set_ir(proto: ModelProto, version: int) -> None:
    """State the file format's version; below 4 constants would have to be inputs."""
    proto.ir_version = version


def freeze_batch(proto: ModelProto, size: int = 1) -> None:
    """Give every input and output the batch `size`, in place; inferred shapes are dropped."""
    constants = edit.initializers(proto.graph)
    del proto.graph.value_info[:]
    for info in [*proto.graph.input, *proto.graph.output]:
        if info.name not in constants and info.type.tensor_type.shape.dim:
            info.type.tensor_type.shape.dim[0].dim_value = size
