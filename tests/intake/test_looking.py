"""Features are looked at before anything is quantized."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from orchestrator.cli.setup.init_model import take
from orchestrator.errors import UserError
from orchestrator.graphs.prepare import prepare
from orchestrator.intake.looking import look
from orchestrator.toolchains.vendors.onnxruntime import OnnxRuntimeToolchain
from tests.intake import made


def features(**changes: float) -> np.ndarray:
    """Eight good rows; `row_column=value` changes one number."""
    rows = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    for place, value in changes.items():
        row, column = (int(part) for part in place[1:].split("_"))
        rows[row, column] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "fatal"),
    [
        (features(r1_3=np.nan, r5_0=np.nan), "NaN for 2 of 8 images"),
        (features(r7_1=np.inf), "infinite for 1 of 8 images"),
        (np.zeros((8, 64), np.float32), "all zero for 8 of 8 images"),
        (np.tile(features()[:1], (8, 1)), "same for all of 8 images"),
        (features()[:, :1], "one number an image"),
    ],
)
def test_what_is_of_no_use(rows, fatal):
    assert fatal in look(rows).fatal


def test_what_is_doubtful():
    assert look(features()) == look(features()[::-1])
    assert (look(features()).fatal, look(features()).warnings) == ("", ())
    rows = features()
    rows[3] = 0
    assert look(rows).warnings == ("the model's output is all zero for 1 of 8 images",)
    rows = features()
    rows[:, [2, 9, 40]] = (0, 1.5, -3)
    assert look(rows).warnings == (
        "3 of the 64 numbers of the model's features are the same for all of 8 images",
    )
    rows = 1000 + features() * np.float32(0.1)
    assert "hardly depend on the image" in look(rows).warnings[0]


def ending(kind: str, *constants: np.ndarray) -> ModelProto:
    """The plain network with one more node behind it."""
    proto = made.plain()
    proto.graph.node[-1].output[0] = "raw"
    names = []
    for index, array in enumerate(constants):
        names.append(f"k{index}")
        proto.graph.initializer.append(numpy_helper.from_array(array, names[-1]))
    proto.graph.node.append(helper.make_node(kind, ["raw", *names], ["face"], "last"))
    return proto


def given(folder: Path, proto: ModelProto) -> Path:
    onnx.save(proto, folder / "model.onnx")
    return folder / "model.onnx"


@pytest.mark.parametrize(
    ("proto", "says"),
    [
        (ending("Sqrt"), "output is NaN for 8 of 8 images, whatever mean and std"),
        (ending("Div", np.zeros(64, np.float32)), "output is infinite for 8 of 8 images"),
        (ending("Mul", np.zeros(64, np.float32)), "output is all zero for 8 of 8 images"),
        (
            ending("Clip", np.float32(9e8), np.float32(1e9)),
            "output is the same for all of 8 images",
        ),
    ],
    ids=["nan", "infinite", "zero", "constant"],
)
def test_a_model_that_says_nothing_is_refused(tmp_path, proto, says):
    with pytest.raises(UserError) as caught:
        take(given(tmp_path, proto), None, None, lambda size: None)
    assert says in str(caught.value)


def test_dead_numbers_are_counted(tmp_path):
    alive = np.ones(64, np.float32)
    alive[[1, 5, 8]] = 0
    taken = take(given(tmp_path, ending("Mul", alive)), None, None, lambda size: None)
    assert taken.looked.warnings == (
        "3 of the 64 numbers of the model's features are the same for all of 8 images",
    )


def whitened() -> ModelProto:
    """Each image by its own mean and deviation, as FaceNet was trained: 0 / 0 where it is flat."""
    net = made.Net()
    axes = {"axes": [1, 2, 3], "keepdims": 1}
    net.node("ReduceMean", ["data"], "own_mean", **axes)
    net.node("Sub", ["data", "own_mean"], "centred")
    net.node("Mul", ["centred", "centred"], "squared")
    net.node("ReduceMean", ["squared"], "own_variance", **axes)
    net.node("Sqrt", ["own_variance"], "own_deviation")
    x = net.node("Div", ["centred", "own_deviation"], "white")
    made.head(net, made.body(net, x))
    return net.proto()


def test_a_model_that_whitens_each_image_is_taken(tmp_path):
    """On a flat image it gives NaN, which says nothing against its weights."""
    path = given(tmp_path, whitened())
    flat = made.features(path.read_bytes(), np.full((1, 3, 24, 20), 0.5, np.float32))
    assert np.isnan(flat).all()
    taken = take(path, None, None, lambda size: None)
    assert (taken.normal.changes, taken.looked.fatal) == ((), "")
    chain = OnnxRuntimeToolchain()
    assert chain.convert(prepare(taken.normal.data)).data


@pytest.mark.parametrize("kind", ["Sqrt", "Log"])
def test_prepare_says_nan_not_weights(kind):
    net = made.Net()
    x = net.node("Flatten", [made.body(net, "data")], "flat")
    net.node("Gemm", [x, "fc", "bias"], "raw", transB=1)
    net.node("Abs", ["raw"], "positive")
    net.node("Neg", ["positive"], "negative")
    net.node(kind, ["negative"], "face")
    net.outputs.append(("face", 1, [1, made.DIM]))
    with pytest.raises(UserError, match=r"'face' is NaN or infinite for 4 of 4 images"):
        prepare(net.proto().SerializeToString())


@pytest.mark.parametrize("operator", ["RandomNormalLike", "RandomUniformLike"])
def test_a_model_that_draws_random_numbers_is_the_users_to_change(operator: str, tmp_path: Path):
    proto = made.plain()
    output = proto.graph.output[0].name
    last = next(node for node in proto.graph.node if output in node.output)
    last.output[list(last.output).index(output)] = "before"
    proto.graph.node.append(helper.make_node(operator, ["before"], [output], "noise"))
    with pytest.raises(UserError, match=rf"'noise'.* draws random numbers \({operator}\)"):
        prepare(proto.SerializeToString())
