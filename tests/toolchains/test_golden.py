"""What a recipe makes does not change unless its number does.

Artifacts are kept under keys that hold the recipes' numbers. When one of these digests changes,
raise its recipe in graphs/recipes.py and write the new digest here.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from orchestrator.calibration import CalibrationTable, calibrate
from orchestrator.calibration.network import float_tensors
from orchestrator.graphs.prepare import fingerprint, prepare
from orchestrator.graphs.recipes import CALIBRATE, EMIT, FINISH, INTEGERS, PRELUS, PREPARE, TWIN
from orchestrator.toolchains import Scheme, make_twin, toolchain
from tests.toolchains import nets

MODEL = (Path(__file__).parents[2] / "models" / "synthface-ir.onnx").read_bytes()
TRT = Scheme("int8", "per-channel", "symmetric", "minmax")
U8 = Scheme("uint8", "per-tensor", "asymmetric", "minmax")


def table() -> CalibrationTable:
    """Made up, so that no CPU's arithmetic is in it."""
    prepared = prepare(MODEL)
    names = float_tensors(onnx.load_model_from_string(prepared))
    highest = 1 + np.arange(len(names), dtype=np.float32) / 8
    return CalibrationTable(
        fingerprint(prepared), "minmax", names, -highest / 2, highest, ("0" * 64,)
    )


def digest(model: bytes) -> str:
    """Of everything in a file but the last digits of its floats and its makers' versions."""
    proto = onnx.load_model_from_string(model)
    lines = [f"{proto.ir_version} {[(o.domain, o.version) for o in proto.opset_import]}"]
    lines += [
        f"{n.op_type} {n.name} {list(n.input)} {list(n.output)} "
        f"{sorted((a.name, str(onnx.helper.get_attribute_value(a))) for a in n.attribute)}"
        for n in proto.graph.node
    ]
    for tensor in sorted(proto.graph.initializer, key=lambda t: t.name):
        array = numpy_helper.to_array(tensor)
        total = float(np.abs(array.astype(np.float64)).sum())
        lines.append(f"{tensor.name} {array.dtype} {array.shape} {total:.4g}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def deployed(scheme: Scheme) -> bytes:
    chain = toolchain("onnxruntime")
    return chain.convert(chain.quantize(MODEL, table(), scheme).data).data


@pytest.mark.parametrize(
    ("make", "recipes", "expected"),
    [
        (lambda: prepare(MODEL), (PREPARE,), {(1,): "2c58fe586e188036"}),
        (lambda: deployed(TRT), (PREPARE, EMIT, FINISH), {(1, 1, 1): "70760f13b2c04d86"}),
        (lambda: deployed(U8), (PREPARE, EMIT, FINISH), {(1, 1, 1): "f3ca56069f849e54"}),
        (
            lambda: make_twin("tengine", MODEL, table(), U8).data,
            (PREPARE, TWIN, FINISH, PRELUS, INTEGERS),
            {(1, 2, 1, 1, 1): "bba42bd32c01dc6b"},
        ),
        (
            lambda: make_twin("rknn1", MODEL, table(), U8).data,
            (PREPARE, TWIN, FINISH, PRELUS, INTEGERS),
            {(1, 2, 1, 1, 1): "8e055e4e1e262113"},
        ),
    ],
    ids=["prepared", "int8", "uint8", "tengine", "rknn1"],
)
def test_a_recipe_makes_what_it_made(make, recipes, expected):
    found = digest(make())
    assert expected.get(recipes) == found, "raise the recipe whose output changed"


def test_ranges_are_what_they_were():
    """Of a net whose every value is exact in float32, so that no CPU rounds it otherwise."""
    net = nets.Net()
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[0, 0], weight[1, 2] = 0.5, -2
    conv = net.node("Conv", "c", ["data", net.constant("w", weight)], kernel_shape=[1, 1])
    x = net.node("Flatten", "f", [net.node("GlobalAveragePool", "g", [conv])])
    model = net.model(x, embedding=2)
    ramp = (np.arange(3 * 16 * 16, dtype=np.float32).reshape(1, 3, 16, 16) - 256) / 512
    found = calibrate(model, [ramp, ramp / 2], "entropy", bins=256)
    ranges = np.array([found.ranges()[name] for name in found.tensors], np.float32)
    digest = hashlib.sha256(ranges.tobytes()).hexdigest()[:16]
    counts = hashlib.sha256(found.histograms.tobytes()).hexdigest()[:16]
    assert {1: ("424a558f41b1675f", "6987362025d1bb68")}.get(CALIBRATE) == (digest, counts)
    assert found.ranges("minmax")["data"] == (-0.5, 0.998046875)
