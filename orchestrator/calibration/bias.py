"""Bias correction: the mean error that quantization adds to each channel, taken out of its bias.

Rounding moves the mean of a layer's output, and what follows sees that shift in every image. The
mean over images and places of float32 minus quantized, each layer given the same float32 inputs,
is added to the float bias before it is quantized (Nagel et al., ICCV 2019, section 4.2, with the
mean measured instead of derived). Only sums a channel are kept, so memory is bounded.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from orchestrator.calibration.calibrate import Source, batches_of
from orchestrator.calibration.explain import Joined
from orchestrator.errors import UserError
from orchestrator.graphs import edit
from orchestrator.graphs.sessions import SAME_SUMS, faithful_session

WEIGHTED = ("Conv", "Gemm")


def mean_errors(
    prepared: bytes, quantized: bytes, images: Source
) -> dict[str, npt.NDArray[np.float64]]:
    """Mean of float32 minus quantized, a channel, of every Conv and Gemm with float32 inputs.

    Args:
        prepared: what `prepare` made.
        quantized: a QDQ model or a twin of it.
        images: float32 (n, 3, H, W) batches as the model takes them.

    Raises:
        UserError: no images, or the models do not belong together.
    """
    joined = Joined(onnx.ModelProto.FromString(prepared), onnx.ModelProto.FromString(quantized))
    names = joined.return_errors(WEIGHTED)
    session = faithful_session(edit.dump(joined.model), threads=SAME_SUMS)
    sums: dict[str, npt.NDArray[np.float64]] = {}
    places: dict[str, int] = {}
    for batch in batches_of(images):
        for image in batch:
            values = iter(session.run(joined.outputs, {joined.input: image[None]}))
            for name in names:
                error, shape = next(values), next(values)
                sums[name] = sums.get(name, 0.0) + error.astype(np.float64).reshape(-1)
                places[name] = places.get(name, 0) + int(np.prod(shape[2:]))
    if not sums:
        raise UserError("no images to correct biases with", "give calibration images")
    return {name: sums[name] / places[name] for name in names}


def correct(prepared: bytes, errors: dict[str, npt.NDArray[np.float64]]) -> bytes:
    """The prepared model with `errors` added to its biases, by node name."""
    proto = onnx.ModelProto.FromString(prepared)
    constants = edit.initializers(proto.graph)
    for node in proto.graph.node:
        if node.name not in errors:
            continue
        error = errors[node.name]
        bias = np.zeros(len(error))
        if len(node.input) > 2 and node.input[2]:
            bias = numpy_helper.to_array(constants[node.input[2]]).astype(np.float64)
        name = edit.fresh_name(proto.graph, f"{node.name}.corrected")
        while len(node.input) < 3:
            node.input.append("")
        node.input[2] = name
        edit.replace_initializer(proto.graph, name, bias + error)
    edit.drop_unused_initializers(proto.graph)
    return edit.dump(proto)
