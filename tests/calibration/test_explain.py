"""The layer report names the layer that is bad, and its figures are right."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from orchestrator.calibration import calibrate, explain, parity
from orchestrator.errors import UserError
from orchestrator.graphs.prepare import prepare
from orchestrator.graphs.sessions import faithful_session
from orchestrator.toolchains import Scheme, make_twin, toolchain
from tests.toolchains import nets

U8 = Scheme("uint8", "per-tensor", "asymmetric", "minmax")
TRT = Scheme("int8", "per-channel", "symmetric", "minmax")


@lru_cache
def spoiled(node: str) -> bytes:
    """iresnet with one huge weight, which takes a per-tensor scale from all the others."""
    proto = onnx.load_model_from_string(nets.iresnet())
    tensor = next(t for t in proto.graph.initializer if t.name == f"{node}.w")
    weight = numpy_helper.to_array(tensor).copy()
    weight.reshape(-1)[0] *= 0
    weight.reshape(-1)[1] = np.abs(weight).max() * 150
    tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    return proto.SerializeToString()


def quantized(model: bytes, scheme: Scheme, how: str) -> bytes:
    table = calibrate(model, [nets.images(16)])
    if how == "qdq":
        chain = toolchain("onnxruntime")
        return chain.convert(chain.quantize(model, table, scheme).data).data
    return make_twin(how, model, table, scheme).data


@pytest.mark.parametrize("node", ["stem.conv", "conv1", "conv2", "down", "fc"])
@pytest.mark.parametrize("how", ["qdq", "tengine"])
def test_the_one_bad_layer_is_named(node: str, how: str):
    model = spoiled(node)
    report = explain(prepare(model), quantized(model, U8, how), [nets.images(6, seed=3)])
    assert report.first_bad is not None
    assert report.first_bad.name == node
    # A layer behind it whose one scale serves the same loud channel may lose as much.
    assert node in report.bad
    assert report.worst.name in report.bad


@pytest.mark.parametrize(("how", "scheme"), [("qdq", TRT), ("qdq", U8), ("tengine", U8)])
def test_a_sound_model_has_no_bad_layer(how: str, scheme: Scheme):
    model = nets.iresnet()
    report = explain(prepare(model), quantized(model, scheme, how), [nets.images(6, seed=3)])
    assert report.first_bad is None
    assert report.images == 6
    prepared = onnx.load_model_from_string(prepare(model))
    assert [layer.name for layer in report.layers] == [node.name for node in prepared.graph.node]
    own = [layer.own_db for layer in report.layers if layer.operator == "Conv"]
    assert min(own) > 25


def test_figures_of_the_last_layer_are_those_of_the_features():
    model = nets.iresnet()
    made = quantized(model, U8, "qdq")
    batch = nets.images(5, seed=4)
    last = explain(prepare(model), made, [batch[:2], batch[2:]]).layers[-1]
    real, other = nets.run(prepare(model), batch), nets.run(made, batch)
    sqnr = 10 * np.log10((real**2).sum() / ((real - other) ** 2).sum())
    assert last.name == "fc"
    assert last.reached_db == pytest.approx(sqnr, abs=0.05)
    assert last.reached_cosine == pytest.approx(nets.cosines(real, other).mean(), abs=1e-5)
    assert last.own_db > last.reached_db


def test_own_error_is_that_of_the_layer_alone():
    """Everything but one layer kept in float gives that layer's own figure at its output."""
    model = nets.iresnet()
    table = calibrate(model, [nets.images(16)])
    nodes = [n.name for n in onnx.load_model_from_string(prepare(model)).graph.node]
    batch = nets.images(4, seed=6)
    full = make_twin("rknn1", model, table, U8).data
    own = {layer.name: layer.own_db for layer in explain(prepare(model), full, [batch]).layers}
    # Its input is quantized by the layer before, so that one stays too.
    kept = tuple(name for name in nodes if name not in ("prelu", "conv2"))
    alone = make_twin("rknn1", model, table, Scheme(*U8.axes, calibrator="minmax", keep_float=kept))
    proto = onnx.load_model_from_string(alone.data)
    proto.graph.output.append(onnx.helper.make_tensor_value_info("bn3", 1, None))
    reference = onnx.load_model_from_string(prepare(model))
    reference.graph.output.append(onnx.helper.make_tensor_value_info("bn3", 1, None))
    sessions = [faithful_session(p.SerializeToString()) for p in (reference, proto)]
    real, other = (
        np.concatenate([s.run(["bn3"], {"data": image[None]})[0] for image in batch])
        for s in sessions
    )
    sqnr = 10 * np.log10((real**2).sum() / ((real - other) ** 2).sum())
    assert own["conv2"] == pytest.approx(sqnr, abs=0.3)


def test_kept_layers_lose_nothing_themselves():
    model = nets.iresnet()
    table = calibrate(model, [nets.images(16)])
    kept = Scheme(*U8.axes, calibrator="minmax", keep_float=("stem.conv",))
    made = make_twin("rknn1", model, table, kept).data
    first = explain(prepare(model), made, [nets.images(2)]).layers[0]
    assert first.name == "stem.conv"
    assert first.own_db > 30


def test_nothing_to_compare_is_an_error():
    model = nets.iresnet()
    made = quantized(model, U8, "qdq")
    with pytest.raises(UserError, match="no images"):
        explain(prepare(model), made, [])
    net = nets.Net()
    x = net.node("Flatten", "f", [net.conv("c", "data", 3, 4)])
    other = prepare(net.model(net.gemm("g", x, 4 * 256, 32)))
    with pytest.raises(UserError, match="do not belong together"):
        explain(other, made, [nets.images(1)])


def test_parity_finds_the_stage_where_features_change():
    random = np.random.default_rng(0)
    real = random.normal(0, 1, (20, 8)).astype(np.float32)
    twin = real + random.normal(0, 0.1, real.shape).astype(np.float32)
    board = random.normal(0, 1, real.shape).astype(np.float32)
    found = parity([("float32", real), ("prepared", real * 2), ("twin", twin), ("board", board)])
    assert [stage.stage for stage in found] == ["float32", "prepared", "twin", "board"]
    assert found[1].to_float == pytest.approx(1)
    assert 0.97 < found[2].to_previous < 0.9999
    assert found[3].to_previous < 0.5
    with pytest.raises(UserError, match=r"stage 'short' has features \(20, 4\)"):
        parity([("float32", real), ("short", real[:, :4])])
