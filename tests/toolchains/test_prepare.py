"""Preparing changes no value, and refuses what cannot be prepared."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs.describe import describe_model
from orchestrator.graphs.prepare import folded_nodes, prepare, prove_equal
from orchestrator.graphs.stamp import set_opset
from tests.toolchains import nets


def operators(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_model_from_string(model).graph.node)


def edited(model: bytes, change) -> bytes:
    proto = onnx.load_model_from_string(model)
    change(proto)
    return proto.SerializeToString()


def set_constant(proto: onnx.ModelProto, name: str, array: np.ndarray) -> None:
    tensor = next(t for t in proto.graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(array, np.float32), name))


def test_folds_everything_but_the_bn_before_a_padded_convolution():
    model = nets.iresnet()
    prepared = prepare(model)
    assert operators(model)["BatchNormalization"] == 7
    left = onnx.load_model_from_string(prepared)
    kept = [n.name for n in left.graph.node if n.op_type == "BatchNormalization"]
    assert kept == ["bn1"]
    np.testing.assert_allclose(
        nets.run(prepared, nets.images(4)), nets.run(model, nets.images(4)), atol=2e-5
    )


def test_a_bn_folds_into_the_grouped_convolution_without_padding_behind_it():
    net = nets.Net()
    x = net.bn("bn", net.prelu("p", net.conv("c0", "data", 3, 8), 8), 8)
    x = net.conv("c1", x, 8, 12, 1, group=4)
    x = net.node("Flatten", "f", [net.node("GlobalAveragePool", "g", [x])])
    model = net.model(x, embedding=12)
    prepared = prepare(model)
    assert operators(prepared)["BatchNormalization"] == 0
    np.testing.assert_allclose(
        nets.run(prepared, nets.images(3)), nets.run(model, nets.images(3)), atol=1e-5
    )


def test_every_gemm_becomes_rows_of_outputs():
    net = nets.Net()
    x = net.node("Flatten", "f", [net.conv("c", "data", 3, 4)])
    model = net.model(net.gemm("fc", x, 4 * 256, 32, alpha=0.5, beta=2.0))
    prepared = prepare(model)
    gemm = next(n for n in onnx.load_model_from_string(prepared).graph.node if n.name == "fc")
    assert [(a.name, a.i) for a in gemm.attribute] == [("transB", 1)]
    np.testing.assert_allclose(
        nets.run(prepared, nets.images(3)), nets.run(model, nets.images(3)), atol=1e-5
    )


def test_a_weight_shared_by_two_convolutions_is_not_scaled_for_both():
    net = nets.Net()
    a = net.conv("a", "data", 3, 4)
    b = net.node("Conv", "b", ["data", "a.w"], kernel_shape=[3, 3], pads=[1] * 4)
    x = net.node("Add", "add", [net.bn("bn", a, 4), b])
    model = net.model(net.gemm("fc", net.node("Flatten", "f", [x]), 4 * 256, 32))
    np.testing.assert_allclose(
        nets.run(prepare(model), nets.images(3)), nets.run(model, nets.images(3)), atol=1e-5
    )


def test_a_bn_whose_input_is_read_twice_stays():
    net = nets.Net()
    a = net.conv("a", "data", 3, 4)
    x = net.node("Add", "add", [net.bn("bn", a, 4), a])
    model = net.model(net.gemm("fc", net.node("Flatten", "f", [x]), 4 * 256, 32))
    assert operators(prepare(model))["BatchNormalization"] == 1


def test_prepared_is_a_fixed_point_and_the_same_every_time():
    model = nets.iresnet()
    assert prepare(model) == prepare(model)
    assert prepare(prepare(model)) == prepare(model)


def test_foreign_domains_identities_and_constants_as_inputs_go():
    def pollute(proto: onnx.ModelProto) -> None:
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        proto.ir_version = 3
        for tensor in proto.graph.initializer:
            proto.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
        first = proto.graph.node[0]
        first.input[0] = "copy"
        proto.graph.node.insert(0, helper.make_node("Identity", ["data"], ["copy"]))

    model = nets.iresnet()
    prepared = onnx.load_model_from_string(prepare(edited(model, pollute)))
    assert [(o.domain, o.version) for o in prepared.opset_import] == [("", 13)]
    assert [info.name for info in prepared.graph.input] == ["data"]
    assert prepared.graph.node[0].op_type == "Conv"
    assert prepared.ir_version == 7


@pytest.mark.parametrize("opset", [11, 12, 13, 14, 15, 17])
def test_other_opsets_are_brought_to_13(opset: int):
    model = nets.iresnet(opset=opset)
    prepared = prepare(model)
    assert describe_model(prepared).opset == 13
    assert nets.run(prepared, nets.images(2)).tobytes() == (
        nets.run(prepare(nets.iresnet()), nets.images(2)).tobytes()
    )


def test_an_operator_that_changed_its_meaning_is_not_stamped_down():
    net = nets.Net()
    x = net.node("HardSwish", "swish", [net.conv("c", "data", 3, 4)])
    model = net.model(net.gemm("fc", net.node("Flatten", "f", [x]), 1024, 32), opset=14, ir=8)
    assert describe_model(prepare(model)).opset == 14
    with pytest.raises(ToolchainError, match=r"'swish' \(HardSwish\).*opset 13"):
        set_opset(onnx.load_model_from_string(model), 13)


def test_folded_nodes_can_be_looked_up():
    gone = folded_nodes(onnx.load_model_from_string(prepare(nets.iresnet())))
    assert gone["stem.bn"] == "stem.conv"
    assert gone["bn_out"] == "fc"
    assert gone["fc1"] == "fc"


def test_a_changed_value_is_caught():
    model = nets.iresnet()

    def nudge(proto: onnx.ModelProto) -> None:
        slope = next(t for t in proto.graph.initializer if t.name == "prelu.slope")
        set_constant(proto, "prelu.slope", numpy_helper.to_array(slope) * 1.01)

    with pytest.raises(ToolchainError, match="changed its output 'fc1'"):
        prove_equal(model, edited(model, nudge))


def test_nan_weights_are_named_with_their_node():
    def poison(proto: onnx.ModelProto) -> None:
        weight = numpy_helper.to_array(
            next(t for t in proto.graph.initializer if t.name == "conv1.w")
        ).copy()
        weight[0, 0, 0, 0] = np.nan
        set_constant(proto, "conv1.w", weight)

    with pytest.raises(UserError, match=r"'conv1\.w' of node 'conv1' \(Conv\): 1 of 1152"):
        prepare(edited(nets.iresnet(), poison))


def test_a_variance_that_is_not_positive_is_named():
    def poison(proto: onnx.ModelProto) -> None:
        set_constant(proto, "bn2.var", np.where(np.arange(16) == 5, -1, 1))

    with pytest.raises(UserError, match=r"'bn2'.*channel 5"):
        prepare(edited(nets.iresnet(), poison))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (("N", 3, 16), r"input is 'data' float32 \[N, 3, 16\]"),
        (("N", 4, 16, 16), "4 channels, expected 3"),
        ((8, 3, 16, 16), "batch is fixed to 8"),
        (("N", 3, "h", "w"), r"\[N, 3, h, w\]; expected one float32 input"),
    ],
)
def test_wrong_inputs_are_described(shape: tuple[object, ...], message: str):
    net = nets.Net()
    net.node("Relu", "relu", ["data"])
    rank = len(shape)
    model = net.model("relu", shape=shape, embedding=None)

    def same_rank(proto: onnx.ModelProto) -> None:
        output = helper.make_tensor_value_info("relu", 1, shape)
        proto.graph.output[0].CopyFrom(output)

    assert rank in (3, 4)
    with pytest.raises(UserError, match=message):
        prepare(edited(model, same_rank))


def test_what_is_not_a_model_is_refused():
    with pytest.raises(UserError, match="not an ONNX file"):
        prepare(b"not a model at all")
    with pytest.raises(UserError, match="not an ONNX file"):
        prepare(b"")


def test_custom_operators_and_quantized_models_are_refused():
    def custom(proto: onnx.ModelProto) -> None:
        proto.opset_import.append(helper.make_opsetid("com.acme", 1))
        proto.graph.node[2].domain = "com.acme"

    with pytest.raises(UserError, match=r"'stem\.prelu' \(PRelu\).*'com\.acme'"):
        prepare(edited(nets.iresnet(), custom))


def test_describe_reads_files_and_bytes(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(nets.iresnet())
    info = describe_model(path)
    assert info == describe_model(nets.iresnet())
    assert info.embedding_size == 32
    assert info.image_shape == (3, 16, 16)
    assert info.parameters == sum(int(np.prod(t.dims)) for t in onnx.load(path).graph.initializer)
    with pytest.raises(UserError, match=r"cannot read the model .*missing\.onnx"):
        describe_model(tmp_path / "missing.onnx")
