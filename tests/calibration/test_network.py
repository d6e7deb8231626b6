"""The network that is calibrated computes the bits of the model's own operators."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from orchestrator.calibration.network import Network
from orchestrator.graphs.prepare import prepare
from orchestrator.graphs.sessions import faithful_session
from tests.toolchains import nets


def test_every_activation_has_the_models_bits(tmp_path):
    prepared = prepare(nets.iresnet())
    proto = onnx.ModelProto.FromString(prepared)
    assert "PRelu" in {node.op_type for node in proto.graph.node}
    network = Network(prepared, tmp_path, tensors=True)
    fetched = [name for name in network.tensors if name != network.input]
    kept = {output.name for output in proto.graph.output}
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in fetched
        if name not in kept
    )
    session = faithful_session(proto.SerializeToString(), threads=1, optimize=False)
    for image in nets.images(3)[:, None]:
        expected = dict(zip(fetched, session.run(fetched, {network.input: image}), strict=True))
        found = dict(zip(network.tensors, network.activations(image), strict=True))
        extremes = dict(zip(network.tensors, network.extremes(image), strict=True))
        assert set(found) == {*expected, network.input}
        for name, values in expected.items():
            assert found[name].tobytes() == values.tobytes(), name
            assert extremes[name].tolist() == [values.min(), values.max()], name
    assert list(tmp_path.iterdir()) == []
