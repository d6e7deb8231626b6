"""From the user's ONNX file to the graph that every toolchain starts from.

Prepared once and marked, so that calibration and every toolchain see the same tensors: exact
folds, foreign domains stripped, constants no longer listed as inputs, opset 13 where the model
can be said in it. That nothing changed is proved on random and extreme inputs, or refused.
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs import edit
from orchestrator.graphs.describe import describe_proto
from orchestrator.graphs.fold import FoldReport, fold, normalize_gemms
from orchestrator.graphs.recipes import IR, OPSET, PREPARE
from orchestrator.graphs.sessions import faithful_session
from orchestrator.graphs.stamp import set_opset, strip_domains

_MARK = "farm.prepared"
_FOLDED = "farm.folded"

# Largest change allowed, as a fraction of the output's largest value. A fold rounds weights
# once (2^-24 each); sums over some thousand products stay two orders below this.
_TOLERANCE = 1e-4
_MIN_COSINE = 1.0 - 1e-6


def prepare(model: bytes) -> bytes:
    """Prepare a face model; a prepared one is returned as it is.

    Args:
        model: an ONNX file with one float32 input [N or 1, 3, H, W].

    Returns:
        An ONNX file with the same input, the same outputs and the same values.

    Raises:
        UserError: damaged weights, a wrong input shape, an operator outside ONNX's own set.
        ToolchainError: the prepared model does not compute what the given one does.
    """
    prepared = _prepared(model)
    if prepared is not model:
        prove_equal(model, prepared)
    return prepared


def _prepared(model: bytes) -> bytes:
    proto = edit.load(model, check=False)
    if is_prepared(proto):
        return model
    edit.check_model(model)
    check_input(proto)
    check_operators(proto)
    check_weights(proto)
    name_nodes(proto)
    drop_constant_inputs(proto)
    del proto.graph.value_info[:]
    if edit.opset(proto) < OPSET:
        proto = set_opset(proto, OPSET)
    normalize_gemms(proto.graph)
    report = fold(proto.graph)
    strip_domains(proto)
    try:
        proto = set_opset(proto, OPSET)
    except ToolchainError:
        pass  # a newer opset may be all right for the toolchain; it says so where it is not
    else:
        proto.ir_version = IR
    _mark(proto, report)
    return edit.dump(proto)


def is_prepared(proto: ModelProto) -> bool:
    """Whether `prepare` of this very recipe made the model."""
    return any(p.key == _MARK and p.value == str(PREPARE) for p in proto.metadata_props)


def folded_nodes(proto: ModelProto) -> dict[str, str]:
    """Of a prepared model: names of the nodes that are gone and of those that took them in."""
    for prop in proto.metadata_props:
        if prop.key == _FOLDED and prop.value:
            return dict(pair.split("\t", 1) for pair in prop.value.split("\n"))
    return {}


def fingerprint(prepared: bytes) -> str:
    """What a calibration table states as its model: sha256 of the prepared file."""
    return hashlib.sha256(prepared).hexdigest()


def check_input(proto: ModelProto) -> None:
    """Raise UserError unless the model has one float32 image input, batch 1 or symbolic."""
    info = describe_proto(proto)
    channels, _, _ = info.image_shape
    batch = info.input.shape[0]
    if channels != 3:
        raise UserError(
            f"the model's input is {info.input}: {channels} channels, expected 3",
            "export the model with channels first: [N, 3, height, width]",
        )
    if isinstance(batch, int) and batch != 1:
        raise UserError(
            f"the model's input is {info.input}: the batch is fixed to {batch}, expected 1 or a "
            "symbolic batch",
            "export the model with a dynamic batch",
        )


def check_operators(proto: ModelProto) -> None:
    """Raise UserError at the first operator that no toolchain here can know."""
    edit.check_repeatable(proto.graph)
    for node in proto.graph.node:
        edit.check_plain(node)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger"):
            raise UserError(
                f"{edit.label(node)}: the model is quantized already, expected float32",
                "give the float32 model, which farm quantizes; a quantized file goes beside it, as "
                "`quantized:` of the manifest, and is deployed by `quantization: as-given`",
            )


def check_weights(proto: ModelProto) -> None:
    """Raise UserError at the first constant with a value that is not finite."""
    readers = edit.consumers(proto.graph)
    for tensor in proto.graph.initializer:
        if tensor.data_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
            continue
        array = numpy_helper.to_array(tensor)
        finite = np.isfinite(array)
        if not finite.all():
            bad = int(array.size - np.count_nonzero(finite))
            users = ", ".join(edit.label(node) for node in readers.get(tensor.name, ())[:2])
            raise UserError(
                f"weights '{tensor.name}' of {users or 'no node'}: {bad} of {array.size} values "
                "are NaN or infinite, expected finite numbers",
                "the file or the training is damaged; export the model again",
            )


def prove_equal(model: bytes, changed: bytes) -> None:
    """Raise ToolchainError unless both files compute the same.

    Run on noise and on the extremes of an image normalised to about [-1, 1]; the differences
    allowed are those of rounding (cosine >= 1 - 1e-6, 1e-4 of the largest output).
    """
    images = probe_images(model)
    # One after the other: a session holds the weights more than once.
    names, before = _outputs(model, images)
    _, after = _outputs(changed, images)
    bad = [_not_finite(names, outputs) for outputs in before]
    if all(bad):
        raise UserError(
            f"the model's output '{bad[0]}' is NaN or infinite for {len(bad)} of {len(bad)} images "
            "within [-1, 1], noise among them",
            "look at its weights, and at the range of pixels it was trained on",
        )
    for one, other, name in zip(before, after, bad, strict=True):
        # A model that normalizes each image divides by nothing where all pixels are alike.
        if name:
            continue
        for label, a, b in zip(names, one, other, strict=True):
            _require_close(label, a, b)


def _not_finite(names: list[str], outputs: list[npt.NDArray[np.float32]]) -> str:
    """The first output with a value that is not finite; empty if there is none."""
    return next((n for n, o in zip(names, outputs, strict=True) if not np.isfinite(o).all()), "")


def _outputs(
    model: bytes, images: list[npt.NDArray[np.float32]]
) -> tuple[list[str], list[list[npt.NDArray[np.float32]]]]:
    session = faithful_session(model)
    key = session.get_inputs()[0].name
    names = [info.name for info in session.get_outputs()]
    try:
        return names, [session.run(None, {key: image}) for image in images]
    except Exception as error:  # onnxruntime's own, which have no common root
        text = " ".join(str(error).split())
        raise UserError(
            f"onnxruntime cannot compute the model: {text[:500]}",
            "fix the node that it names and export the model again",
        ) from error


def probe_images(model: bytes) -> list[npt.NDArray[np.float32]]:
    """Float32 images (1, 3, H, W) to compare two versions of a model on."""
    channels, height, width = describe_proto(onnx.ModelProto.FromString(model)).image_shape
    shape = (1, channels, height, width)
    noise = np.random.default_rng(0).uniform(-1.0, 1.0, (2, *shape)).astype(np.float32)
    return [*noise, np.full(shape, -1.0, np.float32), np.full(shape, 1.0, np.float32)]


def _require_close(
    name: str, before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]
) -> None:
    a, b = before.astype(np.float64).ravel(), after.astype(np.float64).ravel()
    top = float(np.abs(a).max(initial=0.0))
    if top == 0.0 and not b.any():
        return
    gap = float(np.abs(a - b).max()) / max(top, 1e-30)
    lengths = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
    cosine = float(a @ b) / max(lengths, 1e-300)
    if gap > _TOLERANCE or cosine < _MIN_COSINE:
        raise ToolchainError(
            f"preparing the model changed its output '{name}': largest difference {gap:.2g} of "
            f"its largest value (allowed {_TOLERANCE:g}), cosine {cosine:.9f}",
            "please report this model's graph; it was refused rather than changed",
        )


def name_nodes(proto: ModelProto) -> None:
    """Give every node a unique name, which messages and keep_float need."""
    seen: set[str] = set()
    for node in proto.graph.node:
        wanted = node.name or node.output[0]
        name, number = wanted, 1
        while name in seen:
            number += 1
            name = f"{wanted}_{number}"
        node.name = name
        seen.add(name)


def drop_constant_inputs(proto: ModelProto) -> None:
    """Files of IR 3 list their constants as inputs as well."""
    constants = edit.initializers(proto.graph)
    inputs = [info for info in proto.graph.input if info.name not in constants]
    if len(inputs) != len(proto.graph.input):
        copies = [onnx.ValueInfoProto.FromString(info.SerializeToString()) for info in inputs]
        del proto.graph.input[:]
        proto.graph.input.extend(copies)
    if proto.ir_version < 4:
        proto.ir_version = 4


def _mark(proto: ModelProto, report: FoldReport) -> None:
    del proto.metadata_props[:]
    pairs = "\n".join(f"{gone}\t{into}" for gone, into in report.folded)
    onnx.helper.set_model_props(proto, {_MARK: str(PREPARE), _FOLDED: pairs})
