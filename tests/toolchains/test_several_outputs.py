"""Files with several outputs: what manifest and interface say of each."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from orchestrator.graphs.sessions import faithful_session, joined
from orchestrator.specs.artifact import ArtifactInterface
from orchestrator.toolchains import finish
from orchestrator.toolchains.vendors.onnxruntime import OnnxRuntimeToolchain


def model(outputs: tuple[str, ...]) -> bytes:
    """A convolution whose mean is `small`, and a hundred times that, which is `large`."""
    weights = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    shapes = {"small": [1, 4, 1, 1], "large": [1, 4]}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["data", "w"], ["conv"], "conv"),
            helper.make_node("GlobalAveragePool", ["conv"], ["small"], "pool"),
            helper.make_node("Flatten", ["small"], ["flat"], "flat"),
            helper.make_node("Gemm", ["flat", "hundred"], ["large"], "fc"),
        ],
        "two",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in outputs],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(100 * np.eye(4, dtype=np.float32), "hundred"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return made.SerializeToString()


def test_the_interface_has_every_output_in_the_files_order():
    facts = finish.onnx_facts(model(("large", "small")))
    read = ArtifactInterface.of(facts, "the file")
    assert read.outputs is not None
    assert [(each.name, each.shape) for each in read.outputs] == [
        ("large", (1, 4)),
        ("small", (1, 4, 1, 1)),
    ]
    assert read.output == read.outputs[0]
    assert ArtifactInterface.model_validate(read.to_json()) == read


def test_one_output_leaves_the_interface_as_it_was():
    facts = finish.onnx_facts(model(("large",)))
    assert "outputs" not in facts
    told = ArtifactInterface.of(facts, "the file").to_json()
    assert set(told) == {"input", "output"}
    assert told["output"] == {"name": "large", "shape": [1, 4], "dtype": "float32"}


def test_each_output_is_quantized_with_a_scale_of_its_own():
    from orchestrator import calibration
    from orchestrator.toolchains.base import Scheme

    data = model(("small", "large"))
    images = np.random.default_rng(1).normal(size=(8, 3, 8, 8)).astype(np.float32)
    table = calibration.calibrate(data, list(images[:, None]))
    chain = OnnxRuntimeToolchain()
    scheme = Scheme("int8", "per-channel", "symmetric", "minmax", ())
    artifact = chain.convert(chain.quantize(data, table, scheme).data)
    before, after = faithful_session(data), faithful_session(artifact.data)
    exact, found = (
        np.stack([joined(session.run(None, {"data": image[None]})) for image in images])
        for session in (before, after)
    )
    assert exact.shape == found.shape == (8, 8)
    assert [each.name for each in onnx.load_from_string(artifact.data).graph.output] == [
        "small",
        "large",
    ]
    # With the large output's scale the small one would be rounded to nothing.
    step = np.abs(exact[:, 4:]).max() / 127
    assert np.abs(exact[:, :4]).max() < 2 * step
    for part in (slice(0, 4), slice(4, 8)):
        error = np.abs(found[:, part] - exact[:, part]).max()
        assert error < 0.05 * np.abs(exact[:, part]).max()
