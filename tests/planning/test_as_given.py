"""Rows that deploy a model's own quantized file: what the plan finds, says and refuses."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest

from orchestrator.cli import main
from orchestrator.errors import UserError
from orchestrator.planning.facts import BoardFacts
from orchestrator.preflight.planner import Plan, encoder_backend, make_plan
from orchestrator.request import Request
from orchestrator.toolchains import toolchain
from orchestrator.toolchains.base import Scheme

ROOT = Path(__file__).resolve().parents[2]
FACTS = BoardFacts("x86_64", "cpu", "3.11", {"onnxruntime": "1", "tensorrt": "8.6.1"})
BOARDS = """\
boards:
  - {name: this-host, kind: host-cpu, transport: local}
  - {name: nx, kind: jetson-xavier-nx, transport: emulated}
  - {name: nx-lab, kind: jetson-orin-nx, transport: {ssh: {host: 192.0.2.7}}}
  - {name: rk, kind: rk3588, transport: emulated}
  - {name: vim3, kind: khadas-vim3, transport: emulated}
  - {name: rv, kind: rv1126, transport: {ssh: {host: 192.0.2.8}}}
"""
MATRIX = """\
models: face
test_set: {rendered: {identities: 20, unknown: 10}}
calibration: {rendered: {images: 20}}
entries:
  - {name: float, boards: this-host, quantization: [float32, as-given]}
  - {name: nx, boards: [nx, nx-lab], quantization: as-given, gallery: [same, float32]}
  - {name: rk, boards: rk, quantization: as-given}
  - {name: vim3, boards: vim3, quantization: as-given}
  - {name: rv, boards: rv, quantization: as-given}
"""


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """synthface-mfn in QDQ, by farm's own quantizer for TensorRT."""
    from orchestrator import images
    from orchestrator.calibration import calibrate
    from orchestrator.specs import RenderedCalibration
    from orchestrator.stages.quantize import inputs_of

    model = (ROOT / "models/synthface-mfn.onnx").read_bytes()
    pictures = images.calibration_rows(RenderedCalibration(images=8)).images()
    how = {"layout": "NCHW", "colour": "RGB", "mean": [127.5] * 3, "std": [128.0] * 3}
    table = calibrate(model, [inputs_of(pictures, how)])
    chain = toolchain("tensorrt")
    scheme = Scheme("int8", "per-channel", "symmetric", "minmax")
    return bytes(chain.convert(chain.quantize(model, table, scheme).data).data)


def project(folder: Path, data: bytes | None, matrix: str = MATRIX) -> Request:
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "models/synthface-mfn.onnx", models)
    text = (
        (ROOT / "models/synthface-mfn.yaml")
        .read_text()
        .replace("name: synthface-mfn", "name: face")
    )
    if data is not None:
        (models / "qat.onnx").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        text += f'quantized:\n  file: qat.onnx\n  sha256: "{digest}"\n'
    (models / "face.yaml").write_text(text)
    (folder / "matrix.yaml").write_text(matrix)
    (folder / "device_inventory.yaml").write_text(BOARDS)
    return Request(
        matrix=str(folder / "matrix.yaml"),
        inventory=str(folder / "device_inventory.yaml"),
        state=str(folder / "state"),
        runs=str(folder / "runs"),
    )


def test_each_vendor_takes_the_file_or_says_why_not(tmp_path: Path, quantized: bytes) -> None:
    plan = make_plan(project(tmp_path, quantized), facts=FACTS)
    rows = {cell.name: (encoder_backend(cell.probe), cell.reason) for cell in plan.cells}
    assert rows["this-host/as-given"] == ("onnxruntime", "")
    assert rows["nx"] == rows["nx*"] == ("TensorRT twin (onnxruntime)", "")
    assert rows["nx-lab"] == ("TensorRT", "")
    assert rows["rk"] == ("RKNN 2 twin (onnxruntime)", "")
    assert "tengine takes no file that is quantized already" in rows["vim3"][1]
    assert "rknn1 takes no file that is quantized already" in rows["rv"][1]
    given = plan.given["face"]
    assert (given.dtype, given.granularity, given.symmetry) == ("int8", "per-channel", "symmetric")
    assert given.lowest <= given.cosine <= 1
    assert given.cosine > 0.97
    cell = next(cell for cell in plan.cells if cell.name == "nx")
    assert plan.axes(cell)["granularity"] == "per-channel"
    assert plan.hardware(cell) == "Jetson NX (as given)"
    # Nothing is calibrated or quantized; each maker has one file of it.
    made = {step.id for step in plan.graph.steps.values() if step.stage in ("convert", "quantize")}
    assert made == {
        *("convert/onnxruntime/float32", "convert/onnxruntime/as-given"),
        *("convert/tensorrt-twin/as-given", "convert/tensorrt/as-given"),
        "convert/rknn-twin/as-given",
    }
    assert not [step for step in plan.graph.steps if step.startswith("calibrate")]
    assert plan.graph.steps["parity/nx-lab"].inputs["quantized"] == "convert/tensorrt-twin/as-given"


def test_what_was_found_is_kept_and_another_file_is_another_key(
    tmp_path: Path, quantized: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = project(tmp_path, quantized)
    first = make_plan(request, facts=FACTS)
    (kept,) = (tmp_path / "state/given").iterdir()
    told = json.loads(kept.read_text())
    kept.write_text(json.dumps({**told, "cosine": 0.75}))
    assert make_plan(request, facts=FACTS).given["face"].cosine == 0.75
    proto = onnx.ModelProto.FromString(quantized)
    proto.producer_name = "somebody else"
    other = make_plan(project(tmp_path, proto.SerializeToString()), facts=FACTS)
    assert other.given["face"].cosine == told["cosine"]
    step = "convert/tensorrt/as-given"
    assert key(first, step) != key(other, step)
    float32 = "convert/onnxruntime/float32"
    assert key(first, float32) == key(other, float32)


def key(plan: Plan, step: str) -> str:
    return plan.resolution.keys[step]


def replaced(data: bytes, change: Any) -> bytes:
    proto = onnx.ModelProto.FromString(data)
    change(proto)
    return bytes(proto.SerializeToString())


def drop_input_size(proto: Any) -> None:
    for position in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[position].dim_value = 96
    del proto.graph.output[0].type.tensor_type.shape.dim[:]


def shuffle(proto: Any) -> None:
    """Other weights: a model that has nothing to do with the float32 one."""
    import numpy as np
    from onnx import numpy_helper

    random = np.random.default_rng(0)
    for tensor in proto.graph.initializer:
        if len(tensor.dims) > 1:
            values = numpy_helper.to_array(tensor)
            mixed = random.permutation(values.ravel()).reshape(values.shape)
            tensor.CopyFrom(numpy_helper.from_array(mixed, tensor.name))


def asymmetric(proto: Any) -> None:
    import numpy as np
    from onnx import numpy_helper

    constants = {tensor.name for tensor in proto.graph.initializer}
    first = next(
        node
        for node in proto.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    )
    zero = numpy_helper.from_array(np.int8(-1), "odd")
    proto.graph.initializer.append(zero)
    for node in proto.graph.node:
        if node.input[0] in (first.input[0], first.output[0]) and node.op_type.endswith("Linear"):
            node.input[2] = "odd"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (drop_input_size, "qat.onnx takes"),
        (shuffle, "is another model than synthface-mfn.onnx"),
    ],
)
def test_what_does_not_fit_the_float32_model_is_refused(
    tmp_path: Path, quantized: bytes, change: Any, says: str
) -> None:
    with pytest.raises(UserError) as caught:
        make_plan(project(tmp_path, replaced(quantized, change)), facts=FACTS)
    message = caught.value.message
    assert says in message
    line = 1 + (tmp_path / "models/face.yaml").read_text().split("  file: qat")[0].count("\n")
    assert f"face.yaml:{line}: " in message


def test_a_file_that_is_not_quantized_is_refused(tmp_path: Path) -> None:
    data = (ROOT / "models/synthface-mfn.onnx").read_bytes()
    with pytest.raises(UserError, match=r"face\.yaml:\d+: the file is not quantized"):
        make_plan(project(tmp_path, data), facts=FACTS)


def test_a_model_without_a_quantized_file_is_told_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"matrix\.yaml:5: .*needs `quantized: \{file"):
        make_plan(project(tmp_path, None), facts=FACTS)


def test_a_file_that_tensorrt_cannot_run_makes_its_rows_impossible(
    tmp_path: Path, quantized: bytes
) -> None:
    plan = make_plan(project(tmp_path, replaced(quantized, asymmetric)), facts=FACTS)
    reasons = {cell.name: cell.reason for cell in plan.cells}
    for row in ("nx", "nx*", "nx-lab"):
        assert "tensorrt cannot take the quantized file of face" in reasons[row]
        assert "a zero point is not 0" in reasons[row]
    assert not reasons["this-host/as-given"]
    assert plan.given["face"].symmetry == "asymmetric"


def test_the_plan_prints_the_cosine(
    tmp_path: Path, quantized: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    request = project(tmp_path, quantized)
    words = ["plan", request.matrix, "--inventory", request.inventory, "--state", request.state]
    assert main.main([*words, "--runs", request.runs]) == 1  # rows of Tengine and RKNN 1 are not
    out = " ".join(capsys.readouterr().out.split())
    assert "face as given (qat.onnx): int8 per-channel symmetric" in out
    assert "mean cosine to float32 0.9" in out


def test_own_images_without_a_calibration_are_compared_on_the_probes(
    tmp_path: Path, quantized: bytes
) -> None:
    import numpy as np
    from PIL import Image

    from orchestrator.images import render

    for role, shot, people in (("gallery", 0, 2), ("probe", 1, 5)):
        faces = render(np.arange(people), np.full(people, shot))
        for person, face in enumerate(faces):
            place = tmp_path / "faces" / role / f"p{person}"
            place.mkdir(parents=True)
            Image.fromarray(face).save(place / "0.png")
    _, _, rest = MATRIX.partition("calibration: {rendered: {images: 20}}\n")
    matrix = f"models: face\ntest_set: {{folder: {tmp_path / 'faces'}}}\n{rest}"
    given = make_plan(project(tmp_path, quantized, matrix), facts=FACTS).given["face"]
    assert given.images == 5
    assert given.cosine > 0.97
