"""Models with several outputs: one row, each output dequantized by its own scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from orchestrator.agents import runtimes
from orchestrator.agents.protocol.errors import AgentError
from orchestrator.agents.runtimes.support import outputs
from orchestrator.agents.session.preprocess import Preprocessor

from .conftest import faces
from .shims import ShimFile, library
from .test_native import FEED, QUANTIZED, RAW, put

FIRST = 8


def both(file: ShimFile, images) -> np.ndarray:
    """A third of the feature with the file's scale, the rest with the second output's own."""
    second = replace(file, out_scale=2 * file.out_scale, out_zero=file.out_zero + 3)
    return np.hstack([file.features(images)[:, :FIRST], second.features(images)[:, FIRST:]])


def stated(file: ShimFile, dtype: str | None = None) -> dict:
    made = []
    for name, count, step in (("feature", FIRST, 0), ("more", file.dim - FIRST, 1)):
        one = {"name": name, "shape": [1, count], "dtype": dtype or file.dtype}
        if dtype is None:
            one |= {"scale": file.out_scale * (1 + step), "zero_point": file.out_zero + 3 * step}
        made.append(one)
    return {"output": made[0], "outputs": made}


def rows_of(runtime, images, meta) -> np.ndarray:
    try:
        feed = Preprocessor(meta)
        made = [runtime.run(feed(image.tobytes()))[0] for image in images]
        return np.array([np.frombuffer(row, "<f4") for row in made])
    finally:
        runtime.close()


@pytest.fixture
def two(monkeypatch):
    monkeypatch.setenv("SHIM_OUTPUTS", "2")


@pytest.mark.needs("gcc")
def test_tengine_dequantizes_each_output_by_its_own_scale(tmp_path, two):
    file, images = ShimFile("T", "uint8"), faces(3, 16)
    given = {
        "library": str(library("tengine")),
        "providers": ["CPU"],
        "interface": stated(file),
    }
    path = put(tmp_path, file.data)
    runtime = runtimes.open_runtime("tengine", path, given, Preprocessor(QUANTIZED))
    assert runtime.dim == file.dim
    assert [each["name"] for each in runtime.outputs] == ["feature", "more"]
    made = rows_of(runtime, images, QUANTIZED)
    assert np.abs(made - both(file, images)).max() <= 2.001 * file.out_scale
    assert np.corrcoef(made.ravel(), both(file, images).ravel())[0, 1] > 0.999


@pytest.mark.needs("gcc")
@pytest.mark.parametrize("generation", [1, 2])
def test_rknn_gives_the_outputs_one_after_another(tmp_path, two, generation):
    file, images = ShimFile("R", "uint8"), faces(3, 16)
    given = {"library": str(library(f"rknn{generation}")), "interface": stated(file)}
    path = put(tmp_path, file.data)
    runtime = runtimes.open_runtime("rknn", path, given, Preprocessor(RAW))
    made = rows_of(runtime, images, RAW)
    assert made.shape == (3, file.dim)
    assert np.abs(made - both(file, images)).max() <= 2.001 * file.out_scale
    assert np.corrcoef(made.ravel(), both(file, images).ravel())[0, 1] > 0.999


@pytest.mark.needs("gcc")
@pytest.mark.parametrize(
    ("vendor", "runtime", "feed"), [("T", "tengine", QUANTIZED), ("R", "rknn", RAW)]
)
def test_a_file_of_another_number_of_outputs_is_refused(tmp_path, two, vendor, runtime, feed):
    file = ShimFile(vendor, "uint8")
    given = {"library": str(library("tengine" if vendor == "T" else "rknn2"))}
    if vendor == "T":
        given["providers"] = ["CPU"]
    with pytest.raises(AgentError, match="has 2 outputs, expected one"):
        runtimes.open_runtime(runtime, put(tmp_path, file.data), given, Preprocessor(feed))


@pytest.mark.needs("gcc")
def test_the_second_outputs_scale_is_compared_with_the_file(tmp_path, two):
    file = ShimFile("R", "uint8")
    wrong = stated(file)
    wrong["outputs"][1] = wrong["outputs"][1] | {"scale": file.out_scale}
    given = {"library": str(library("rknn2")), "interface": wrong}
    with pytest.raises(AgentError, match="one of them is of another conversion"):
        runtimes.open_runtime("rknn", put(tmp_path, file.data), given, Preprocessor(RAW))
    small = stated(file)
    small["outputs"][1] = small["outputs"][1] | {"shape": [1, 3]}
    with pytest.raises(AgentError, match="'more' has 16 numbers, its manifest says 3"):
        runtimes.open_runtime(
            "rknn",
            put(tmp_path, file.data),
            given | {"interface": small},
            Preprocessor(RAW),
        )


def onnx_of_two(tmp_path) -> str:
    """Means by channel [1, 3] and four times the first of them [1, 1, 1]."""
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["data"], ["pool"]),
            helper.make_node("Reshape", ["pool", "flat"], ["means"]),
            helper.make_node("Slice", ["pool", "zero", "one", "axis"], ["first"]),
            helper.make_node("Reshape", ["first", "cube"], ["cubed"]),
            helper.make_node("Mul", ["cubed", "four"], ["scaled"]),
        ],
        "two",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 16, 16])],
        [
            helper.make_tensor_value_info("means", TensorProto.FLOAT, [1, 3]),
            helper.make_tensor_value_info("scaled", TensorProto.FLOAT, [1, 1, 1]),
        ],
        [
            numpy_helper.from_array(np.array(value, kind), name)
            for name, value, kind in (
                ("flat", [1, 3], np.int64),
                ("zero", [0], np.int64),
                ("one", [1], np.int64),
                ("axis", [1], np.int64),
                ("cube", [1, 1, 1], np.int64),
                ("four", 4, np.float32),
            )
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    path = tmp_path / "two.onnx"
    onnx.save(model, path)
    return str(path)


@pytest.mark.parametrize("bound", [False, True])
def test_onnxruntime_takes_the_outputs_in_the_interfaces_order(tmp_path, bound):
    named = {"outputs": [{"name": "scaled"}, {"name": "means"}]}
    given = {"bound": bound, "interface": named}
    runtime = runtimes.open_runtime("onnxruntime", onnx_of_two(tmp_path), given, Preprocessor(FEED))
    assert runtime.dim == 4
    images = faces(2, 16)
    made = rows_of(runtime, images, FEED)
    means = ((images.astype(np.float64) - 127.5) / 127.5).mean(axis=(1, 2))
    assert np.allclose(made, np.hstack([4 * means[:, :1], means]), atol=1e-5)


def test_onnxruntime_without_an_interface_takes_the_first_output(tmp_path):
    path = onnx_of_two(tmp_path)
    runtime = runtimes.open_runtime("onnxruntime", path, {}, Preprocessor(FEED))
    assert runtime.dim == 3
    runtime.close()


def test_an_output_that_the_model_lacks_is_named(tmp_path):
    named = {"outputs": [{"name": "boxes"}, {"name": "means"}]}
    with pytest.raises(AgentError, match="no output 'boxes', it has means, scaled"):
        runtimes.open_runtime(
            "onnxruntime", onnx_of_two(tmp_path), {"interface": named}, Preprocessor(FEED)
        )
    with pytest.raises(AgentError, match="expected a list"):
        outputs.stated({"interface": {"outputs": "means"}})
