"""Twins compute what the vendors' formulas say."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from orchestrator.agents.session.preprocess import Preprocessor
from orchestrator.calibration import CalibrationTable, calibrate
from orchestrator.errors import UserError
from orchestrator.toolchains import (
    Scheme,
    Toolchain,
    make_twin,
    twin_names,
    twin_of,
    twin_toolchain,
    vendor_rules,
)
from tests.toolchains import nets

U8 = Scheme("uint8", "per-tensor", "asymmetric", "minmax")
CASES = [
    ("tengine", U8),
    ("rknn1", U8),
    ("rknn", Scheme("int8", "per-channel", "asymmetric", "minmax")),
    ("rknn", Scheme("int8", "per-tensor", "asymmetric", "minmax")),
    ("tensorrt", Scheme("int8", "per-channel", "symmetric", "minmax")),
]


@lru_cache
def table() -> CalibrationTable:
    return calibrate(nets.iresnet(), [nets.images(16)])


def test_every_vendor_is_covered():
    assert {vendor for vendor, _ in CASES} == set(twin_names())


@pytest.mark.parametrize("vendor", twin_names())
def test_a_twin_is_made_by_a_toolchain_that_offers_what_the_vendor_does(vendor):
    chain = twin_toolchain(vendor)
    assert isinstance(chain, Toolchain)
    assert {scheme.axes for name, scheme in CASES if name == vendor} == set(
        chain.capabilities.schemes
    )
    with pytest.raises(UserError, match="does not offer uint8 per-channel symmetric"):
        chain.quantize(nets.iresnet(), table(), Scheme("uint8", "per-channel", "symmetric"))


def test_a_twin_is_called_as_its_vendor_is():
    called = [twin_of(vendor) for vendor, _ in CASES]
    assert called == ["Tengine", "RKNN 1.x", "RKNN 2", "RKNN 2", "TensorRT"]
    assert twin_of("tensorrt") == "TensorRT"
    made = [make_twin(v, nets.iresnet(), table(), s).manifest["twin_of"] for v, s in CASES]
    assert made == called


@pytest.mark.parametrize(("vendor", "scheme"), CASES, ids=str)
def test_a_twin_is_close_to_float_and_says_what_it_is(vendor, scheme):
    made = make_twin(vendor, nets.iresnet(), table(), scheme)
    assert made == make_twin(vendor, nets.iresnet(), table(), scheme)
    assert made.manifest["executed_by"] == "twin"
    assert made.manifest["twin_facts"]
    onnx.checker.check_model(onnx.load_model_from_string(made.data), full_check=True)
    batch = nets.images(12, seed=5)
    cosine = nets.cosines(nets.run(made.data, batch), nets.run(nets.iresnet(), batch))
    assert 0.985 < cosine.mean() < 0.999999


def test_vendors_no_longer_share_one_artifact():
    made = {make_twin(vendor, nets.iresnet(), table(), scheme).sha256 for vendor, scheme in CASES}
    assert len(made) == len(CASES)


def small() -> bytes:
    net = nets.Net(3)
    x = net.prelu("prelu", net.conv("conv", "data", 3, 4, pads=[0] * 4), 4)
    x = net.gemm("fc", net.node("Flatten", "flat", [x]), 4 * 14 * 14, 8, transB=1)
    return net.model(x, embedding=8)


def by_hand(model: bytes, ranges, image: np.ndarray) -> np.ndarray:
    """Tengine's uint8 arithmetic in plain numpy, layer by layer, as its reference kernels do."""
    proto = onnx.load_model_from_string(model)
    constant = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}

    def activation(name: str, values: np.ndarray) -> np.ndarray:
        scale, zero = vendor_rules.tengine_activation(*ranges[name])
        integers = np.clip(vendor_rules.round_half_away(values / scale) + zero, 0, 255)
        return ((integers - zero) * scale).astype(np.float32)

    def weight(values: np.ndarray) -> tuple[np.ndarray, np.float32]:
        scale, zero = vendor_rules.tengine_weight(values)
        integers = np.clip(vendor_rules.round_half_away(values / scale + zero), 0, 255)
        return (integers - zero) * scale, scale

    def bias(values: np.ndarray, scale: np.float32) -> np.ndarray:
        return vendor_rules.round_half_away(values / scale) * scale

    scale, zero = vendor_rules.tengine_activation(*ranges["data"])
    levels = np.clip(vendor_rules.round_half_away(image / scale + np.float32(zero)), 0, 255)
    x = ((levels - zero) * scale).astype(np.float32)  # by the board's agent
    w, _ = weight(constant["conv.w"])
    windows = np.lib.stride_tricks.sliding_window_view(x[0], (3, 3), axis=(1, 2))
    y = activation("conv", np.einsum("chwij,ocij->ohw", windows, w))
    slope = constant["prelu.slope"].astype(np.float16).astype(np.float32)
    y = activation("prelu", np.where(y > 0, y, y * slope))
    y = activation("flat", y.reshape(-1))
    w, scale = weight(constant["fc.w"])
    in_scale = vendor_rules.tengine_activation(*ranges["flat"])[0]
    return activation("fc", w @ y + bias(constant["fc.b"], in_scale * scale))


def test_tengines_twin_equals_its_arithmetic_done_by_hand():
    model = small()
    found = calibrate(model, [nets.images(8)])
    twin = make_twin("tengine", model, found, U8).data
    step = vendor_rules.tengine_activation(*found.ranges()["fc"])[0]
    for image in nets.images(6, seed=9):
        expected = by_hand(model, found.ranges(), image[None])
        # Sums in another order may put a value on the other side of a rounding: one step.
        off = np.abs(nets.run(twin, image[None])[0] - expected) / step
        assert off.max() < 1.01
        assert (off > 0.5).mean() <= 0.25


def test_tengines_twin_sees_the_levels_that_the_agent_makes():
    """QuantizeLinear alone rounds halves to even, which merges a quarter of the pixels' levels."""
    model = small()
    ramp = np.zeros((1, 3, 16, 16), np.float32)
    ramp[0, 0] = (np.arange(256, dtype=np.float32).reshape(16, 16) - 127.5) / np.float32(127.5)
    found = calibrate(model, [ramp, nets.images(4)])
    proto = onnx.load_model_from_string(make_twin("tengine", model, found, U8).data)
    proto.graph.output.append(onnx.helper.make_tensor_value_info("data.q", 2, [1, 3, 16, 16]))
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (levels,) = session.run(["data.q"], {"data": ramp})
    scale, zero = vendor_rules.tengine_activation(*found.ranges()["data"])
    described = {"height": 16, "width": 16, "dtype": "uint8", "mean": 127.5, "std": 127.5}
    prepare = Preprocessor({**described, "scale": float(scale), "zero_point": zero})
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., 0] = np.arange(256).reshape(16, 16)
    made = np.frombuffer(prepare(pixels.tobytes()), np.uint8).reshape(3, 16, 16)
    np.testing.assert_array_equal(levels[0, 0], made[0])
    assert len(np.unique(made[0])) >= 255


def test_an_all_positive_weight_keeps_the_zero_point_that_uint8_cannot_hold():
    net = nets.Net(4)
    net.node(
        "Conv", "c", ["data", net.constant("w", np.full((2, 3, 3, 3), 2.0))], kernel_shape=[3, 3]
    )
    net.constants[0].CopyFrom(
        numpy_helper.from_array(np.linspace(1, 3, 54, dtype=np.float32).reshape(2, 3, 3, 3), "w")
    )
    model = net.model(net.gemm("fc", net.node("Flatten", "f", ["c"]), 2 * 14 * 14, 8), embedding=8)
    twin = make_twin("tengine", model, calibrate(model, [nets.images(4)]), U8).data
    stored = {
        t.name: numpy_helper.to_array(t)
        for t in onnx.load_model_from_string(twin).graph.initializer
    }
    assert stored["w.dq"].dtype == np.float32
    np.testing.assert_allclose(stored["w.dq"].ravel(), np.linspace(1, 3, 54), atol=2 / 255 + 1e-6)


def test_kept_layers_are_float_in_a_twin():
    kept = Scheme(*U8.axes, calibrator="minmax", keep_float=("conv1",))
    names = {
        t.name
        for t in onnx.load_model_from_string(
            make_twin("rknn1", nets.iresnet(), table(), kept).data
        ).graph.initializer
    }
    assert "conv1.w" in names
    assert "conv2.w.q" in names


def test_unknown_twins_are_refused():
    with pytest.raises(UserError, match="no twin of 'tengin'") as caught:
        make_twin("tengin", nets.iresnet(), table(), U8)
    assert "did you mean 'tengine'?" in caught.value.hint
    with pytest.raises(UserError, match="'tengine' does not offer int8 per-channel"):
        make_twin("tengine", nets.iresnet(), table(), CASES[2][1])
    with pytest.raises(UserError, match="another model"):
        make_twin("tengine", nets.iresnet(4), table(), U8)
    with pytest.raises(UserError, match="needs a calibration table"):
        make_twin("tengine", nets.iresnet(4), None, U8)
