"""Every way of writing one network becomes one normal form, which computes the same features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

from orchestrator.errors import UserError
from orchestrator.graphs.describe import describe_model
from orchestrator.graphs.prepare import prepare
from orchestrator.intake.normalizing import Normal, normalize
from orchestrator.intake.proving import prove
from orchestrator.intake.reading import Original, read
from tests.intake import made

RAW = {"mean": 0.0, "std": 1.0}
SIZE = (made.HEIGHT, made.WIDTH)


def given(folder: Path, proto: ModelProto | bytes) -> Original:
    path = folder / "model.onnx"
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    return read(path)


def taken(folder: Path, proto: ModelProto, **how: object) -> tuple[Original, Normal]:
    original = given(folder, proto)
    return original, normalize(original, **how)


def reference(pixels: np.ndarray) -> np.ndarray:
    return made.features(made.plain().SerializeToString(), made.fed(pixels))


def angle(a: np.ndarray, b: np.ndarray) -> float:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(((a * b).sum(axis=1) / lengths).min())


# form, what is said, how the normal form is fed, keywords, cosine to the plain network
FORMS = [
    (made.channels_last, ["channels last", "Transpose taken out"], {}, {}, 1e-5),
    (made.channels_last_normalized, ["Transpose taken out"], RAW, {}, 1e-5),
    (made.half, ["float16"], {}, {}, 1e-3),
    (made.half_inside, ["float16"], {}, {}, 1e-3),
    (made.double, ["float64"], {}, {}, 1e-5),
    (made.uint8_pixels, ["uint8 input is fed as float32"], RAW, {}, 1e-5),
    (made.uint8_channels_last, ["uint8 input", "Transpose taken out"], RAW, {}, 1e-5),
    (made.fixed_batch, ["the batch 8 became 1, also in node 'flat' (Reshape)"], {}, {}, 1e-5),
    (made.fixed_batch_4, ["the batch 4 became 1"], {}, {}, 1e-5),
    (made.fixed_batch_10_merged, ["the batch 10 became 1", "'merged'"], {}, {}, 1e-5),
    (made.batch_zero, ["the batch 0 became 1"], {}, {}, 1e-5),
    (made.batch_minus_one, ["the batch -1 became 1"], {}, {}, 1e-5),
    (made.flattened_by_shape, ["open batch is 1", "do not depend on the image"], {}, {}, 1e-5),
    (made.old_style, ["spatial=0 with statistics for each channel", "shape (C,)"], {}, {}, 1e-5),
    (made.slope_flat, ["1 PReLU have slopes of the shape (C,)"], {}, {}, 1e-5),
    (made.dropout, ["2 Dropout"], {}, {}, 1e-5),
    (made.unit_length, ["do not depend on the image"], {}, {}, 1e-5),
    (made.no_batch_axis, ["'face' [64] got its batch: [1, 64]"], {}, {}, 1e-5),
    (made.quality_first, ["'face' is the embedding; left out: quality"], {}, {}, 1e-5),
    (made.open_size, ["open height and width are 24 x 20"], {}, {"size": SIZE}, 1e-5),
    (made.newest, ["opset 23 is said in 13"], {}, {}, 1e-5),
]


@pytest.mark.parametrize(
    ("form", "says", "feeding", "how", "apart"), FORMS, ids=[form[0].__name__ for form in FORMS]
)
def test_each_form_becomes_the_plain_network(tmp_path, form, says, feeding, how, apart):
    original, normal = taken(tmp_path, form(), **how)
    for words in says:
        assert any(words in change for change in normal.changes), normal.changes
    pixels = made.images()
    inputs = made.fed(pixels, **feeding)
    proof = prove(original, normal, inputs)
    assert proof.cosine >= 1 - apart
    assert angle(proof.features, reference(pixels)) >= 1 - apart
    proto = onnx.load_model_from_string(normal.data)
    onnx.checker.check_model(proto, full_check=True)
    info = describe_model(normal.data)
    assert (info.image_shape, info.input.dtype) == ((3, *SIZE), "float32")
    assert info.input.shape[0] in (1, None, "N")
    assert (len(info.outputs), info.embedding_size) == (1, made.DIM)
    assert describe_model(prepare(normal.data)).opset == 13
    kinds = {node.op_type for node in proto.graph.node}
    assert not kinds & {"Cast", "Dropout", "Shape", "Transpose"}


@pytest.mark.parametrize("form", [made.normalized_inside, made.normalized_by_bn])
def test_what_needs_no_change_stays_as_it_is(tmp_path, form):
    """Normalization stays in the graph and is found; the plain net and open batches stay too."""
    for proto in (form(), made.plain(), made.plain(batch="N"), made.slope_four()):
        original, normal = taken(tmp_path, proto)
        assert (normal.changes, normal.data) == ((), original.data)
    original, normal = taken(tmp_path, form())
    assert normal.inside is not None
    assert np.allclose(normal.inside.mean, made.MEAN, rtol=1e-3)
    assert np.allclose(normal.inside.std, made.STD, rtol=1e-3)
    assert normal.inside.fed == ((0.0,) * 3, (1.0,) * 3)
    pixels = made.images()
    proof = prove(original, normal, made.fed(pixels, **RAW))
    assert angle(proof.features, reference(pixels)) > 1 - 1e-5


@pytest.mark.parametrize(
    "form",
    [made.channels_last_normalized, made.uint8_pixels, made.uint8_channels_last],
)
def test_normalization_inside_is_found(tmp_path, form):
    inside = taken(tmp_path, form())[1].inside
    assert inside is not None
    assert np.allclose((inside.mean, inside.std), ((made.MEAN,) * 3, (made.STD,) * 3), rtol=1e-4)
    assert taken(tmp_path, made.plain())[1].inside is None


@pytest.mark.parametrize("opset", [7, 8, 9, 11, 13, 14, 17, 18, 21, 22, 23])
def test_opsets(tmp_path, opset):
    """The same network at every opset; most need no change before `prepare`."""
    how = {"spatial": 1} if opset == 7 else {}
    net = made.Net(opset=opset, ir=3 if opset < 9 else min(opset - 5, 11) if opset > 13 else 7)
    made.head(net, made.body(net, "data", **how))
    proto = made.as_inputs(net.proto()) if opset < 9 else net.proto()
    original, normal = taken(tmp_path, proto)
    pixels = made.images(3)
    proof = prove(original, normal, made.fed(pixels))
    assert angle(proof.features, reference(pixels)) > 1 - 1e-6
    assert describe_model(prepare(normal.data)).opset == 13


def test_statistics_for_each_element(tmp_path):
    """What spatial=0 means where its statistics have that shape; onnxruntime computes it too."""
    original, normal = taken(tmp_path, made.every_element())
    assert any("became Mul and Add" in change for change in normal.changes)
    values = {t.name: numpy_helper.to_array(t) for t in original.proto.graph.initializer}
    inputs = made.fed(made.images(3))
    relu = made.Net(opset=8, ir=4)
    shape = values["g"].shape
    relu.outputs.append((made.body(relu, "data"), TensorProto.FLOAT, [1, *shape]))
    x = made.features(relu.proto().SerializeToString(), inputs).reshape(3, *shape)
    x = (x - values["mu"]) / np.sqrt(values["v"] + 1e-5) * values["g"] + values["b"]
    expected = x.reshape(3, -1) @ values["fc"].T + values["bias"]
    proof = prove(original, normal, inputs)
    assert np.allclose(proof.features, expected, atol=1e-4)


def test_an_output_of_four_axes_is_taken_as_it_is(tmp_path):
    original, normal = taken(tmp_path, made.four_axes())
    assert (normal.changes, normal.embedding_size) == ((), made.DIM)
    pixels = made.images(2)
    assert angle(prove(original, normal, made.fed(pixels)).features, reference(pixels)) > 1 - 1e-5


def test_weights_beside_the_file(tmp_path, monkeypatch):
    """They come from the model's folder, whatever lies in the current one."""
    folder, elsewhere = tmp_path / "models", tmp_path / "cwd"
    folder.mkdir()
    elsewhere.mkdir()
    path = made.beside(folder, made.plain())
    assert len(path.read_bytes()) < 4000
    (elsewhere / "weights.bin").write_bytes(b"\1" * (folder / "weights.bin").stat().st_size)
    monkeypatch.chdir(elsewhere)
    original = read(path)
    normal = normalize(original)
    assert normal.changes == ("the weights beside the file (weights.bin) were brought inside",)
    pixels = made.images()
    proof = prove(original, normal, made.fed(pixels))
    assert np.array_equal(proof.features, reference(pixels))
    (folder / "weights.bin").write_bytes(b"\1" * (folder / "weights.bin").stat().st_size)
    assert read(path).fingerprint != original.fingerprint, "the weights are part of the model"


def test_a_weights_file_over_2_gb_is_read_where_it_counts(tmp_path):
    """A sparse file: weights behind 3 GB of nothing."""
    path = made.beside(tmp_path, made.plain())
    file = tmp_path / "weights.bin"
    data = file.read_bytes()
    ahead = 3 * 2**30
    with file.open("wb") as stream:
        stream.seek(ahead)
        stream.write(data)
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "offset":
                entry.value = str(int(entry.value) + ahead)
    path.write_bytes(proto.SerializeToString())
    original = read(path)
    proof = prove(original, normalize(original), made.fed(made.images(2)))
    assert np.array_equal(proof.features, reference(made.images(2)))


def test_weights_over_2_gb_are_refused_before_they_are_read(tmp_path):
    """One ONNX file cannot hold them; the file beside it is sparse here."""
    path = made.beside(tmp_path, made.plain())
    proto = onnx.load(path, load_external_data=False)
    tensor = next(t for t in proto.graph.initializer if t.name == "fc")
    tensor.dims[:] = [made.DIM, 2**24]
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match=r"are 4\.3 GB, more than the 2 GB that one ONNX file"):
        read(path)


def edit_location(proto: ModelProto, key: str, value: str) -> None:
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == key:
                entry.value = value


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("location", "../weights.bin", "not inside the model's folder"),
        ("location", "/etc/passwd", "not inside the model's folder"),
        ("location", "link.bin", "not inside the model's folder"),
        ("location", "", "not inside the model's folder"),
        ("location", "gone.bin", "there is no file"),
        ("offset", "99999999", "at 99999999 are named"),
        ("offset", "-8", "at -8 are named"),
        ("offset", "x", "is damaged"),
        ("length", "7", "need 64 bytes|need 2400 bytes"),
    ],
)
def test_weights_that_are_not_where_they_should_be(tmp_path, key, value, says):
    folder = tmp_path / "models"
    folder.mkdir()
    path = made.beside(folder, made.plain())
    (tmp_path / "weights.bin").write_bytes((folder / "weights.bin").read_bytes())
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    proto = onnx.load(path, load_external_data=False)
    edit_location(proto, key, value)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match=says):
        read(path)


def test_a_slope_that_fits_twice_is_refused(tmp_path):
    net = made.Net(size=(24, 32))  # 8 channels, and 8 wide at the PRelu
    made.head(net, made.body(net, "data", slope=(8,)))
    with pytest.raises(UserError, match=r"'prelu' .*8 channels and a width of 8"):
        taken(tmp_path, net.proto())


def test_a_damaged_normal_form_is_caught_by_the_proof(tmp_path):
    """The proof holds each row of the batch against its own image."""
    original, normal = taken(tmp_path, made.fixed_batch())
    proto = onnx.load_model_from_string(normal.data)
    slope = next(t for t in proto.graph.initializer if t.name == "slope")
    turned = numpy_helper.to_array(slope)[::-1].copy()
    slope.CopyFrom(numpy_helper.from_array(turned, "slope"))
    from dataclasses import replace

    wrong = replace(normal, data=proto.SerializeToString())
    with pytest.raises(UserError, match=r"lowest cosine 0\.\d+ on 6 images .expected 0\.99999"):
        prove(original, wrong, made.fed(made.images()))


def two_vectors() -> ModelProto:
    proto = made.quality_first()
    proto.graph.output.append(
        onnx.helper.make_tensor_value_info("flat", TensorProto.FLOAT, [1, 16 * 3 * 3])
    )
    return proto


def test_which_of_several_outputs(tmp_path):
    """The one that looks like an embedding by size, then by name; else somebody must say it."""
    assert taken(tmp_path, two_vectors())[1].output == "face"
    proto = two_vectors()
    for node in proto.graph.node:
        node.output[:] = ["out2" if name == "face" else name for name in node.output]
    proto.graph.output[1].name = "out2"
    with pytest.raises(UserError, match=r"more than one may be the embedding.*'out2' \[1, 64\]"):
        taken(tmp_path, proto)
    assert taken(tmp_path, proto, output="flat")[1].embedding_size == 144
    with pytest.raises(UserError, match="no output 'fc'; it has: 'quality'"):
        taken(tmp_path, proto, output="fc")
    with pytest.raises(UserError, match="one number an image"):
        taken(tmp_path, proto, output="quality")


def training() -> ModelProto:
    proto = made.dropout()
    on = next(t for t in proto.graph.initializer if t.name == "off")
    on.CopyFrom(numpy_helper.from_array(np.array(True), "off"))
    return proto


def bytes_added() -> ModelProto:
    proto = made.uint8_pixels()
    one = numpy_helper.from_array(np.array(200, np.uint8), "two_hundred")
    proto.graph.initializer.append(one)
    node = onnx.helper.make_node(
        "BitShift", ["data", "two_hundred"], ["more"], "add", direction="LEFT"
    )
    proto.graph.node.insert(0, node)
    proto.graph.node[1].input[0] = "more"
    return proto


def quantized() -> ModelProto:
    proto = made.plain()
    scale = numpy_helper.from_array(np.float32(0.1), "scale")
    zero = numpy_helper.from_array(np.uint8(128), "zero")
    proto.graph.initializer.extend([scale, zero])
    for name, kind, source in (("q", "QuantizeLinear", "data"), ("dq", "DequantizeLinear", "q")):
        proto.graph.node.insert(
            0 if name == "q" else 1,
            onnx.helper.make_node(kind, [source, "scale", "zero"], [name], name),
        )
    proto.graph.node[2].input[0] = "dq"
    return proto


@pytest.mark.parametrize(
    ("form", "says"),
    [
        (training, "'drop' (Dropout) is switched to training"),
        (bytes_added, "'add' (BitShift) computes with the uint8 input"),
        (quantized, "quantized already (node 'q' (QuantizeLinear)): a float32 model is needed"),
        (made.open_size, "height and width of its input 'data' are open"),
    ],
)
def test_what_has_no_normal_form(tmp_path, form, says):
    with pytest.raises(UserError) as caught:
        taken(tmp_path, form())
    assert says in str(caught.value)


def keras() -> ModelProto:
    """tf2onnx: a Transpose back to channels last before the row, MatMul and Add."""
    net = made.Net(input_shape=[1, made.HEIGHT, made.WIDTH, 3])
    x = made.body(net, net.node("Transpose", ["data"], "turned", perm=[0, 3, 1, 2]))
    x = net.node("Transpose", [x], "back", perm=[0, 2, 3, 1])
    x = net.node("Reshape", [x, net.const("row", np.array([-1, 144]))], "flat")
    weight = made.weights(net)["fc"].reshape(made.DIM, 16, 3, 3).transpose(2, 3, 1, 0)
    x = net.node("MatMul", [x, net.const("fc", weight.reshape(144, made.DIM))], "dense")
    net.node("Add", [x, "bias"], "face")
    net.outputs.append(("face", TensorProto.FLOAT, [1, made.DIM]))
    return net.proto()


def test_a_keras_model_becomes_the_plain_network(tmp_path):
    original, normal = taken(tmp_path, keras())
    pixels = made.images()
    proof = prove(original, normal, made.fed(pixels))
    assert angle(proof.features, reference(pixels)) > 1 - 1e-6
    left = [node.op_type for node in onnx.load_model_from_string(normal.data).graph.node]
    assert left == ["Conv", "BatchNormalization", "PRelu", "Conv", "Relu", "Reshape", "Gemm"]
