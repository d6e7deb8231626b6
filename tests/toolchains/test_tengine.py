"""Tengine: formulas by worked numbers, command lines, and tools that lie."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx
import pytest

from orchestrator.calibration import CalibrationTable, calibrate
from orchestrator.errors import ToolchainError, TransientError, UserError
from orchestrator.graphs.prepare import prepare
from orchestrator.specs.artifact import ArtifactInterface
from orchestrator.toolchains import Scheme, toolchain, vendor_rules
from orchestrator.toolchains.vendors import tengine
from tests.toolchains import fake_tengine, nets

U8 = Scheme("uint8", "per-tensor", "asymmetric", "minmax")


@lru_cache
def table() -> CalibrationTable:
    return calibrate(nets.iresnet(), [nets.images(16)])


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [
        # (max - min) / 255 and int(-min / scale): 127.5 is cut off to 127, as observed on the
        # input of a real conversion (scale 0.007843, zero point 127).
        (-1.0, 1.0, 2 / 255, 127),
        (-0.9, 3.0, 3.9 / 255, 58),  # 58.846
        (0.5, 2.55, 2.55 / 255, 0),  # a positive range begins at 0
        (-2.55, -1.0, 2.55 / 255, 255),  # a negative one ends there
        (0.0, 0.0, 1.0, 0),
    ],
)
def test_activation_formula(low, high, scale, zero):
    found = vendor_rules.tengine_activation(np.float32(low), np.float32(high))
    assert found == (pytest.approx(scale, rel=1e-6), zero)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [
        (-0.5, 0.77, 1.27 / 255, 100),  # 100.39
        (1.0, 3.55, 0.01, -100),  # 0 is not included: the zero point falls outside uint8
        (-3.55, -1.0, 0.01, 355),
    ],
)
def test_weight_formula(low, high, scale, zero):
    values = np.array([low, (low + high) / 2, high], np.float32)
    found_scale, found_zero = vendor_rules.tengine_weight(values)
    assert found_scale == pytest.approx(scale, rel=1e-5)
    assert abs(found_zero - zero) <= 1  # float32 may fall on either side of a whole number


def test_roundf_takes_halves_away_from_zero():
    values = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4999998], np.float32)
    found = vendor_rules.round_half_away(values)
    np.testing.assert_array_equal(found, [-3, -2, -1, 1, 2, 3, 2])


def test_the_scale_file_says_every_activation_exactly():
    text = tengine.scale_file(prepare(nets.iresnet()), table(), U8)
    lines = [line.split(" ") for line in text.splitlines()]
    assert [line[0] for line in lines] == sorted(table().tensors)
    ranges = table().ranges()
    for name, scale, zero in lines:
        expected = vendor_rules.tengine_activation(*ranges[name])
        assert np.float32(float(scale)) == expected[0]
        assert int(zero) == expected[1]


def test_flatten_hands_its_scale_on_to_its_input():
    net = nets.Net()
    x = net.node("MaxPool", "pool", [net.conv("c", "data", 3, 4)], kernel_shape=[2, 2])
    model = net.model(net.gemm("fc", net.node("Flatten", "f", [x]), 4 * 225, 32))
    pooled = calibrate(model, [nets.images(4)])
    text = tengine.scale_file(prepare(model), pooled, U8)
    scales = {line.split(" ", 1)[0]: line.split(" ", 1)[1] for line in text.splitlines()}
    assert scales["c"] == scales["pool"] == scales["f"]
    ranges = pooled.ranges()
    assert ranges["c"] != ranges["pool"]


def test_command_line():
    words = " ".join(tengine.quantize_arguments(112, 96, "uint8.tmfile"))
    assert words == (
        "-m float.tmfile -i unused -o uint8.tmfile -f ours.scale -a 0 -g 3,112,96 -t 1"
    )


def quantized() -> bytes:
    return toolchain("tengine").quantize(nets.iresnet(), table(), U8).data


def test_what_is_handed_to_the_tools_is_float_opset_11_batch_1():
    proto = onnx.load_model_from_string(quantized())
    assert (proto.opset_import[0].version, proto.ir_version) == (11, 6)
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    assert not {n.op_type for n in proto.graph.node} & {"QuantizeLinear", "DequantizeLinear"}
    onnx.checker.check_model(proto)
    np.testing.assert_allclose(
        nets.run(quantized(), nets.images(3)), nets.run(nets.iresnet(), nets.images(3)), atol=2e-5
    )


def test_both_tools_run_in_a_folder_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bin_dir = fake_tengine.install(tmp_path / ".." / tmp_path.name)
    chain = toolchain("tengine", {"bin_dir": str(bin_dir)})
    made = chain.convert(quantized())
    assert made.format == "tmfile"
    assert made.manifest["precision"] == "uint8"
    interface = ArtifactInterface.of(made.manifest, "it")
    ranges = table().ranges()
    for end, tensor in ((interface.input, "data"), (interface.output, interface.output.name)):
        scale, zero = vendor_rules.tengine_activation(*ranges[tensor])
        assert (end.dtype, np.float32(end.scale), end.zero_point) == ("uint8", scale, zero)
    assert interface.input.normalized_by == "caller"
    assert len(made.data) == pytest.approx(len(quantized()) / 4, abs=2)
    assert chain.version() != toolchain("tengine").version()
    float_file = chain.quantize(nets.iresnet(), None, Scheme("float32")).data
    assert chain.convert(float_file).manifest["precision"] == "float32"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["convert_tool", "quant_tool_uint8"]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("no file", r"convert_tool ended with exit code 0 but made no float\.tmfile"),
        ("no uint8 file", r"quant_tool_uint8 ended with exit code 0 but made no uint8\.tmfile"),
        ("silent", "never said that it saved it"),
    ],
)
def test_a_success_without_an_artifact_is_a_failure(tmp_path, mode, message):
    chain = toolchain("tengine", {"bin_dir": str(fake_tengine.install(tmp_path, mode))})
    with pytest.raises(ToolchainError, match=message) as caught:
        chain.convert(quantized())
    assert "to repeat it by hand: " in caught.value.hint
    assert str(tmp_path) in caught.value.hint


def test_a_tool_that_hangs_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(tengine, "_DEADLINE", 1.0)
    chain = toolchain("tengine", {"bin_dir": str(fake_tengine.install(tmp_path, "hangs"))})
    with pytest.raises(TransientError, match="still running after 1 s and was stopped"):
        chain.convert(quantized())


def test_missing_tools_are_an_error_and_never_a_twin(monkeypatch, tmp_path):
    monkeypatch.delenv(tengine.BIN_DIR_VARIABLE, raising=False)
    with pytest.raises(ToolchainError, match="convert_tool and quant_tool_uint8 not found"):
        toolchain("tengine").convert(quantized())
    monkeypatch.setenv(tengine.BIN_DIR_VARIABLE, str(tmp_path))
    with pytest.raises(ToolchainError, match=f"not found in {tmp_path}"):
        toolchain("tengine").convert(quantized())
    with pytest.raises(UserError, match="'tengine' has no option 'bindir'") as caught:
        toolchain("tengine", {"bindir": "x"})
    assert "bin_dir" in caught.value.hint


def test_an_operator_outside_the_npu_is_named():
    net = nets.Net()
    x = net.node("Flatten", "f", [net.conv("c", "data", 3, 4)])
    weight = net.constant("w", net.random.normal(0, 0.1, (1024, 32)))
    model = net.model(net.node("MatMul", "product", [x, weight]))
    with pytest.raises(UserError, match=r"'product' \(MatMul\): toolchain 'tengine' does not run"):
        toolchain("tengine").quantize(model, calibrate(model, [nets.images(2)]), U8)


def test_an_opset_that_is_too_new_is_said_with_the_node():
    net = nets.Net()
    x = net.node("HardSwish", "swish", [net.conv("c", "data", 3, 4)])
    x = net.gemm("fc", net.node("Flatten", "f", [x]), 1024, 32)
    model = net.model(x, opset=14, ir=8)
    with pytest.raises(ToolchainError, match=r"opset 14, and .*'swish' \(HardSwish\).*opset 11"):
        toolchain("tengine").quantize(model, calibrate(model, [nets.images(2)]), U8)


def test_float_layers_are_refused():
    with pytest.raises(UserError, match="no float layers"):
        toolchain("tengine").quantize(
            nets.iresnet(), table(), Scheme(*U8.axes, calibrator="minmax", keep_float=("conv1",))
        )
