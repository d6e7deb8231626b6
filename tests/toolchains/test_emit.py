"""What stands in the QDQ files of each scheme."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from orchestrator.calibration import CalibrationTable, calibrate
from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs.sessions import faithful_session
from orchestrator.toolchains import Scheme, tensorrt_rules, toolchain
from tests.toolchains import nets

TRT = Scheme("int8", "per-channel", "symmetric", "minmax")
NPU = Scheme("uint8", "per-tensor", "asymmetric", "minmax")


@lru_cache
def table(method: str = "minmax") -> CalibrationTable:
    return calibrate(nets.iresnet(), [nets.images(16)], method, bins=512)


def quantized(scheme: Scheme, chain: str = "onnxruntime", method: str = "minmax"):
    data = toolchain(chain).quantize(nets.iresnet(), table(method), scheme).data
    return onnx.load_model_from_string(data)


def parameters(proto: onnx.ModelProto) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(scale, zero point) by the tensor a QuantizeLinear reads or a DequantizeLinear makes."""
    constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            found[node.input[0]] = (constants[node.input[1]], constants[node.input[2]])
    return found


def test_one_table_serves_both_schemes_with_the_documented_formulas():
    low, high = table().ranges()["prelu"]
    scale, zero = parameters(quantized(TRT))["prelu"]
    assert scale == pytest.approx(max(abs(low), abs(high)) / 127, rel=1e-6)
    assert zero == 0
    assert zero.dtype == np.int8
    scale, zero = parameters(quantized(NPU))["prelu"]
    assert scale == pytest.approx((high - low) / 255, rel=1e-6)
    assert zero == round(float(-low / scale))
    assert zero.dtype == np.uint8


def test_the_quantizer_in_memory_does_what_quantize_static_does(tmp_path, caplog):
    """quantize_static with its calibration cache is the documented way in."""
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.calibrate import save_tensors_data

    from orchestrator.graphs.prepare import prepare
    from orchestrator.toolchains.emit import QUANTIZED_OPERATORS, stock_ranges

    source, target, cache = (tmp_path / name for name in ("in.onnx", "out.onnx", "cache.json"))
    source.write_bytes(prepare(nets.iresnet()))
    save_tensors_data(stock_ranges(table(), "minmax"), cache)
    for scheme, kind in ((TRT, ort.QuantType.QInt8), (NPU, ort.QuantType.QUInt8)):
        ort.quantize_static(
            str(source),
            str(target),
            per_channel=scheme.granularity == "per-channel",
            activation_type=kind,
            weight_type=kind,
            op_types_to_quantize=list(QUANTIZED_OPERATORS),
            calibration_cache_path=str(cache),
            extra_options={
                "ActivationSymmetric": scheme is TRT,
                "WeightSymmetric": scheme is TRT,
                "QuantizeBias": scheme is NPU,
            },
        )
        stock, ours = onnx.load(target), quantized(scheme)
        assert sorted(n.SerializeToString() for n in stock.graph.node) == (
            sorted(n.SerializeToString() for n in ours.graph.node)
        )
        assert sorted(t.SerializeToString() for t in stock.graph.initializer) == (
            sorted(t.SerializeToString() for t in ours.graph.initializer)
        )


def test_float16_halves_the_file_and_keeps_float32_at_its_ends():
    chain = toolchain("onnxruntime")
    half = chain.quantize(nets.iresnet(), None, Scheme("float16"))
    assert half == chain.quantize(nets.iresnet(), None, Scheme("float16"))
    made = chain.convert(half.data)
    assert len(made.data) < 0.6 * len(nets.iresnet())
    assert made.manifest["input"]["dtype"] == made.manifest["output"]["dtype"] == "float32"
    batch = nets.images(6)
    cosine = nets.cosines(nets.run(made.data, batch), nets.run(nets.iresnet(), batch))
    assert cosine.min() > 0.99999
    assert nets.run(made.data, batch).tobytes() != nets.run(nets.iresnet(), batch).tobytes()


def test_granularity_is_of_the_weights():
    for scheme, channels in ((TRT, 16), (NPU, 1)):
        scale, _ = parameters(quantized(scheme))["conv1.w_quantized"]
        assert scale.size == channels


def test_biases_are_float_by_tensorrts_rule_and_int32_by_the_npus():
    kinds = [
        {numpy_helper.to_array(t).dtype.name for t in quantized(s).graph.initializer}
        for s in (TRT, NPU)
    ]
    assert "int32" not in kinds[0]
    assert "int32" in kinds[1]


def test_the_calibrator_is_the_schemes():
    wide = parameters(quantized(NPU, method="entropy"))["prelu"][0]
    other = Scheme("uint8", "per-tensor", "asymmetric", "entropy")
    assert parameters(quantized(other, method="entropy"))["prelu"][0] < wide
    with pytest.raises(UserError, match="has no histograms"):
        toolchain("onnxruntime").quantize(nets.iresnet(), table(), other)


def test_kept_nodes_stay_float_and_folded_ones_are_found():
    kept = Scheme(*TRT.axes, calibrator="minmax", keep_float=("conv1", "fc1"))
    names = {t.name for t in quantized(kept).graph.initializer}
    assert {"conv1.w", "fc.w"} <= names
    assert "conv2.w_quantized" in names
    with pytest.raises(UserError, match="keep_float names 'conv9'") as caught:
        quantized(Scheme(*TRT.axes, calibrator="minmax", keep_float=("conv9",)))
    assert "did you mean 'conv" in caught.value.hint


def test_batch_normalization_and_prelu_keep_float_parameters():
    names = {t.name for t in quantized(NPU).graph.initializer}
    assert {"bn1.gamma", "prelu.slope", "stem.prelu.slope"} <= names


def tensorrt_file() -> onnx.ModelProto:
    chain = toolchain("tensorrt")
    data = chain.convert(chain.quantize(nets.iresnet(), table(), TRT).data).data
    return onnx.load_model_from_string(data)


def test_the_tensorrt_file_keeps_every_rule():
    proto = tensorrt_file()
    assert tensorrt_rules.violations(proto.SerializeToString()) == []
    assert sum(node.op_type == "QuantizeLinear" for node in proto.graph.node) > 5
    assert (proto.opset_import[0].version, proto.ir_version) == (13, 7)


def constant(proto: onnx.ModelProto, of: str, position: int) -> onnx.TensorProto:
    node = next(n for n in proto.graph.node if n.op_type == "DequantizeLinear" and of in n.input[0])
    return next(t for t in proto.graph.initializer if t.name == node.input[position])


def edit_zero(proto):
    constant(proto, "prelu", 2).CopyFrom(
        numpy_helper.from_array(np.array(3, np.int8), constant(proto, "prelu", 2).name)
    )


def edit_type(proto):
    zero = constant(proto, "prelu", 2)
    zero.CopyFrom(numpy_helper.from_array(np.array(0, np.uint8), zero.name))


def edit_scale(proto):
    scale = constant(proto, "prelu", 1)
    scale.CopyFrom(numpy_helper.from_array(np.array(-1, np.float32), scale.name))


def weight_pair(proto):
    """QuantizeLinear and DequantizeLinear of conv1's weight."""
    first = next(n for n in proto.graph.node if n.input[0] == "conv1.w")
    return first, next(n for n in proto.graph.node if n.input[0] == first.output[0])


def edit_axis(proto, *, to=1, only_first=False):
    for node in weight_pair(proto)[: 1 if only_first else 2]:
        next(a for a in node.attribute if a.name == "axis").i = to


def edit_negative_axis(proto):
    edit_axis(proto, to=-4)


def edit_one_axis(proto):
    edit_axis(proto, to=2, only_first=True)


def edit_stored(proto):
    """The weight as int8 in the file, as other runtimes take it."""
    first, second = weight_pair(proto)
    stored = np.zeros(onnx_shape(proto, "conv1.w"), np.int8)
    proto.graph.initializer.append(numpy_helper.from_array(stored, "stored"))
    second.input[0] = "stored"
    proto.graph.node.remove(first)


def onnx_shape(proto, name):
    return list(next(t for t in proto.graph.initializer if t.name == name).dims)


def edit_zeros(proto):
    zero = constant(proto, "prelu", 2)
    zero.CopyFrom(numpy_helper.from_array(np.zeros(3, np.int8), zero.name))


def edit_half(proto):
    scale = constant(proto, "prelu", 1)
    scale.CopyFrom(numpy_helper.from_array(np.array(1, np.float16), scale.name))


def edit_slope(proto):
    node = next(n for n in proto.graph.node if n.op_type == "PRelu")
    node.input[1] = weight_pair(proto)[1].output[0]


def edit_missing_pair(proto):
    node = next(n for n in proto.graph.node if n.op_type == "DequantizeLinear")
    reader = next(n for n in proto.graph.node if node.output[0] in n.input)
    at = list(reader.input).index(node.output[0])
    reader.input[at] = next(n for n in proto.graph.node if n.output[0] == node.input[0]).output[0]


def edit_three_inputs(proto):
    del weight_pair(proto)[0].input[2]


def edit_opset(proto):
    proto.opset_import[0].version = 17


def edit_batch(proto):
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"


def edit_domain(proto):
    proto.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))


@pytest.mark.parametrize(
    ("edit", "rule"),
    [
        (edit_zero, "zero point is not 0"),
        (edit_type, "the type is UINT8, expected INT8"),
        (edit_scale, "not a positive number"),
        (edit_axis, "16 scales on axis 1, expected 16 on axis 0"),
        (edit_negative_axis, "axis is -4, expected 0 or more"),
        (edit_one_axis, "QuantizeLinear and DequantizeLinear differ in axis or scale"),
        (edit_stored, "weights are stored as int8, expected float32 and a Q/DQ pair"),
        (edit_zeros, "3 zero points for 1 scales"),
        (edit_half, "the scale is float16"),
        (edit_slope, "the slope of a PRelu is quantized"),
        (edit_missing_pair, "takes int8 of"),
        (edit_three_inputs, "no zero point, which means uint8"),
        (edit_opset, "opset is 17"),
        (edit_batch, "a dimension without a number"),
        (edit_domain, "'com.microsoft' is unknown"),
    ],
)
def test_each_broken_rule_is_found(edit, rule):
    proto = tensorrt_file()
    edit(proto)
    assert any(rule in text for text in tensorrt_rules.violations(proto.SerializeToString()))


def test_other_schemes_break_tensorrts_rules_and_are_refused():
    proto = quantized(NPU)
    broken = tensorrt_rules.violations(proto.SerializeToString())
    assert any("UINT8" in text for text in broken)
    assert any("the bias is quantized" in text for text in broken)
    with pytest.raises(ToolchainError, match="breaks TensorRT's rules"):
        toolchain("tensorrt").convert(proto.SerializeToString())


def test_every_integer_is_of_the_schemes_type():
    for scheme, kind in ((TRT, TensorProto.INT8), (NPU, TensorProto.UINT8)):
        weights = [t for t in quantized(scheme).graph.initializer if "w_quantized" in t.name]
        assert weights
        assert {t.data_type for t in weights} == {kind}


def test_a_faithful_session_does_not_saturate():
    """Without VNNI onnxruntime's fused kernels add pairs of products in 16 bits: never fuse."""
    net = nets.Net(0)
    weights = net.constant("c.w", np.full((4, 3, 3, 3), 0.5))
    x = net.node("Conv", "c", ["data", weights], kernel_shape=[3, 3])
    x = net.node("Flatten", "flat", [x])
    model = net.model(net.gemm("fc", x, 4 * (nets.SIZE - 2) ** 2, 8, transB=1), embedding=8)
    bright = np.ones((1, 3, nets.SIZE, nets.SIZE), np.float32)
    scheme = Scheme("int8", "per-channel", "symmetric", "minmax")
    made = toolchain("onnxruntime").quantize(model, calibrate(model, [bright]), scheme)
    expected = nets.run(model, bright)
    options = faithful_session(made.data).get_session_options()
    assert options.get_session_config_entry("session.disable_quant_qdq") == "1"
    assert np.abs(nets.run(made.data, bright) - expected).max() < 0.02 * np.abs(expected).max()
