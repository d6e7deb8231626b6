"""Accuracy helpers: exact where they promise it, and a measured gain where they help."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from orchestrator.calibration import bias, calibrate
from orchestrator.graphs.equalize import equalizable, equalize
from orchestrator.graphs.prepare import fingerprint, prepare
from orchestrator.stages import accuracy_helpers, quantize
from orchestrator.toolchains import Scheme, make_twin
from tests.calibration.test_explain import spoiled
from tests.toolchains import nets

PLAIN = {
    "dtype": "uint8",
    "granularity": "per-tensor",
    "symmetry": "asymmetric",
    "calibrator": "minmax",
    "keep_float": (),
}
PREPROCESSING = {"layout": "NCHW", "colour": "RGB", "mean": 127.5, "std": 127.5}


@lru_cache
def lopsided() -> bytes:
    """A chain of convolutions whose channels differ in size by a thousand, undone by the next."""
    net = nets.Net(6)
    x = net.conv("a", "data", 3, 8)
    x = net.prelu("pa", x, 8)
    x = net.conv("dw", x, 8, 8, group=8)
    x = net.prelu("pdw", x, 8)
    x = net.conv("b", x, 8, 8)
    model = net.model(
        net.gemm("fc", net.node("Flatten", "flat", [x]), 8 * nets.SIZE**2, 32, transB=1)
    )
    proto = onnx.load_model_from_string(model)
    factors = np.exp2(np.arange(8) - 4).astype(np.float32)
    for tensor in proto.graph.initializer:
        if tensor.name == "a.w":
            values = numpy_helper.to_array(tensor) * factors.reshape(-1, 1, 1, 1)
        elif tensor.name == "b.w":
            values = numpy_helper.to_array(tensor) / factors.reshape(1, -1, 1, 1)
        else:
            continue
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    return bytes(proto.SerializeToString())


def pictures(count: int = 12) -> np.ndarray:
    shape = (count, nets.SIZE, nets.SIZE, 3)
    return np.random.default_rng(3).integers(0, 256, shape, np.uint8)


def made(model: bytes | None = None, **asked: Any) -> Any:
    model = model or lopsided()
    scheme = {**PLAIN, "equalize": False, "bias_correction": False, **asked}
    inputs = quantize.inputs_of(pictures(), PREPROCESSING)
    table = calibrate(accuracy_helpers.source_of(model, scheme), [inputs]).to_bytes()
    return quantize.quantize(model, table, scheme, "tengine", True, None, pictures(), PREPROCESSING)


def test_equalizing_changes_not_one_bit_of_the_float_model() -> None:
    before = prepare(lopsided())
    pairs = equalizable(onnx.load_model_from_string(before).graph)
    assert [(a.name, b.name) for a, b in pairs] == [("a", "dw"), ("dw", "b")]
    after = equalize(before)
    assert after != before
    batch = nets.images(4)
    np.testing.assert_array_equal(nets.run(after, batch), nets.run(before, batch))
    assert equalize(after) == after
    weights = {
        t.name: np.abs(numpy_helper.to_array(t)).reshape(8, -1).max(axis=1)
        for t in onnx.load_model_from_string(after).graph.initializer
        if t.name in ("a.w", "dw.w")
    }
    spread = [values.max() / values.min() for values in weights.values()]
    assert max(spread) < 8


def test_a_model_without_pairs_stays_as_it_is() -> None:
    net = nets.Net(1)
    x = net.node("Sigmoid", "s", [net.conv("a", "data", 3, 4)])
    x = net.conv("b", x, 4, 4)
    flat = net.node("Flatten", "flat", [x])
    prepared = prepare(net.model(net.gemm("fc", flat, 4 * nets.SIZE**2, 32, transB=1)))
    assert equalize(prepared) == prepared


def test_bias_correction_takes_the_mean_error_out() -> None:
    prepared = prepare(lopsided())
    inputs = quantize.inputs_of(pictures(), PREPROCESSING)
    scheme = Scheme("uint8", "per-tensor", "asymmetric", "minmax")
    twin = make_twin("tengine", prepared, calibrate(prepared, [inputs]), scheme).data
    before = bias.mean_errors(prepared, twin, [inputs])
    assert set(before) == {"a", "dw", "b", "fc"}
    corrected = bias.correct(prepared, before)
    table = calibrate(prepared, [inputs])
    moved = replace(table, model=fingerprint(corrected))
    again = make_twin("tengine", corrected, moved, scheme).data
    after = bias.mean_errors(prepared, again, [inputs])
    for name in before:
        assert np.abs(after[name]).sum() < 0.3 * np.abs(before[name]).sum(), name


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"equalize": True}, ["equalize"]),
        ({"bias_correction": True}, ["bias_correction"]),
        ({"equalize": True, "bias_correction": True}, ["equalize", "bias_correction"]),
    ],
)
def test_each_helper_says_what_it_gained(asked: dict[str, Any], names: list[str]) -> None:
    found = made(**asked)
    gains = found.facts["helpers"]
    assert [gain["helper"] for gain in gains] == names
    assert gains[0]["before"] < gains[0]["after"]
    batch = quantize.inputs_of(pictures(), PREPROCESSING)
    cosine = nets.cosines(
        nets.run(found.files[quantize.FILE], batch), nets.run(lopsided(), batch)
    ).mean()
    assert gains[-1]["after"] == pytest.approx(cosine, abs=1e-6)
    assert found.files == made(**asked).files


def test_suggested_layers_are_named_and_kept() -> None:
    found = made(spoiled("conv2"), keep_float=("suggested",))
    (gain,) = found.facts["helpers"]
    kept = found.provenance["scheme"]["keep_float"]
    assert gain["helper"].startswith("keep_float (conv2, ")
    assert "conv2" in kept
    assert gain["after"] > gain["before"]
    assert "keep_float (" in accuracy_helpers.words(found.facts["helpers"])


def test_nothing_is_done_unasked() -> None:
    assert not accuracy_helpers.asked(PLAIN)
    assert made().facts["helpers"] == []
