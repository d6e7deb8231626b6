"""farm init and farm plan with models as people bring them: taken, said, or refused at once."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from orchestrator.cli.main import main
from orchestrator.hashing import sha256_file
from orchestrator.preflight import model
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.request import Request
from orchestrator.specs.manifests import load_models
from orchestrator.specs.matrix import load_matrix
from orchestrator.specs.model import load_model
from tests.intake import made
from tests.red_detector import detector
from tests.run.project import FLOAT, HOST, ROOT, Project, emulated, entry

INT8 = "uint8 per-tensor asymmetric"
FACE = (112, 112)


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan compares file and normal form on two images: rendering them takes longest."""
    monkeypatch.setattr(model, "IMAGES", 2)


def at_112(form: made.Form, monkeypatch: pytest.MonkeyPatch) -> ModelProto:
    """A form at the size of rendered faces."""
    monkeypatch.setattr(made, "HEIGHT", 112)
    monkeypatch.setattr(made, "WIDTH", 112)
    real = made.Net
    monkeypatch.setattr(made, "Net", lambda **how: real(**({"size": FACE} | how)))
    return form()


def init(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["init", str(folder), "--yes", "--identities", "4", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def project(folder: Path) -> None:
    """A small matrix for the model `mine`: float32 on this host, one emulated board."""
    made_by_hand = Project(folder)
    made_by_hand.write(FLOAT + entry("vim3", INT8), HOST + emulated("vim3", "khadas-vim3"), 4, 4)
    matrix = folder / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("synthface-ir", "mine"))


def planned(folder: Path) -> Plan:
    return make_plan(
        Request(
            matrix=str(folder / "matrix.yaml"),
            inventory=str(folder / "device_inventory.yaml"),
            state=str(folder / ".farm"),
            runs=str(folder / "runs"),
        )
    )


@pytest.mark.parametrize(
    ("form", "said", "scaled"),
    [
        (made.channels_last, "channels last", False),
        pytest.param(made.half, "float16", False, marks=pytest.mark.slow),
        (made.uint8_channels_last, "uint8 input is fed as float32", True),
        (made.normalized_inside, "The graph normalizes pixels itself", True),
        (made.fixed_batch, "the batch 8 became 1", False),
        (made.old_style, "spatial=0", False),
        pytest.param(made.batch_minus_one, "the batch -1 became 1", False, marks=pytest.mark.slow),
        (made.quality_first, "'face' is the embedding", False),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_init_then_plan(tmp_path, capsys, monkeypatch, form, said, scaled):
    """init says what it did; plan does the same, and every step works on the normal form."""
    onnx.save(at_112(form, monkeypatch), tmp_path / "mine.onnx")
    code, out, err = init(tmp_path, capsys, "--model", str(tmp_path / "mine.onnx"))
    assert code == 0, err
    assert said in out
    assert ("mean is 0 and its std 1" in out) == scaled
    manifest = load_model(tmp_path / "models" / "mine.yaml")
    assert manifest.sha256 == sha256_file(tmp_path / "mine.onnx")
    assert manifest.embedding_size == made.DIM
    assert (manifest.input.mean[0] == 0, manifest.input.std[0] == 1) == (
        scaled,
        scaled,
    ) or not scaled
    project(tmp_path)
    plan = planned(tmp_path)
    taken, spec = plan.intake["mine"], plan.models["mine"]
    assert taken.original_sha256 == manifest.sha256
    assert spec.input.layout == "NCHW"
    assert spec.sha256 == sha256_file(spec.path)
    if form is made.normalized_inside:
        assert (taken.changes, spec) == ((), manifest)
        return
    assert any(said in change for change in taken.changes)
    assert spec.path.parent == (tmp_path / ".farm" / "models").resolve()
    steps = [s for name, s in plan.graph.steps.items() if name.startswith("convert/")]
    assert {step.params["model"] for step in steps} == {spec.sha256}
    written = {path: path.stat().st_mtime_ns for path in spec.path.parent.iterdir()}
    again = planned(tmp_path)
    assert again.models == plan.models
    assert written == {path: path.stat().st_mtime_ns for path in spec.path.parent.iterdir()}
    (record,) = (path for path in written if path.suffix == ".json")
    os.utime(record, (0, 0))
    planned(tmp_path)
    assert record.stat().st_mtime > 1e9  # in use: `farm gc` leaves it


def test_a_damaged_normal_form_is_made_again(tmp_path, capsys, monkeypatch):
    onnx.save(at_112(made.channels_last, monkeypatch), tmp_path / "mine.onnx")
    init(tmp_path, capsys, "--model", str(tmp_path / "mine.onnx"))
    project(tmp_path)
    path = planned(tmp_path).models["mine"].path
    path.write_bytes(b"damaged")
    assert sha256_file(planned(tmp_path).models["mine"].path) == path.stem


def test_a_record_of_an_earlier_version_is_read(tmp_path, capsys, monkeypatch):
    """And what programs read of it stands under the old name too."""
    onnx.save(at_112(made.old_style, monkeypatch), tmp_path / "mine.onnx")
    init(tmp_path, capsys, "--model", str(tmp_path / "mine.onnx"))
    project(tmp_path)
    taken = planned(tmp_path).intake["mine"]
    assert taken.to_dict()["repaired"] is taken.to_dict()["mended"] is True
    (path,) = (tmp_path / ".farm" / "models").glob("*.json")
    path.write_text(path.read_text().replace('"repaired"', '"mended"'))
    monkeypatch.setattr(model, "_remembered", {})
    written = path.read_bytes()
    assert planned(tmp_path).intake["mine"] == taken
    assert path.read_bytes() == written


def test_the_default_models_are_used_as_they_are(tmp_path):
    """So steps, keys and figures of the default matrix are what they were."""
    plan = make_plan(
        Request(
            str(ROOT / "matrix.yaml"),
            str(ROOT / "device_inventory.yaml"),
            str(tmp_path / ".farm"),
            str(tmp_path / "runs"),
        )
    )
    given = load_models(load_matrix(ROOT / "matrix.yaml"))
    assert plan.models == given
    assert [spec.path for spec in plan.models.values()] == [spec.path for spec in given.values()]
    assert [(taken.changes, taken.warnings) for taken in plan.intake.values()] == [((), ())]
    assert not list((tmp_path / ".farm" / "models").glob("*.onnx"))
    other = load_model(ROOT / "models" / "synthface-mfn.yaml")
    from orchestrator.intake.normalizing import normalize
    from orchestrator.intake.reading import read

    assert normalize(read(other.path)).changes == ()


@pytest.mark.slow
def test_rows_of_a_changed_model_are_the_plain_models_rows(tmp_path, capsys, monkeypatch):
    """One run of both: equal figures to the last digit, and the rows say what was done."""
    known = ["--colour", "RGB", "--mean", "127.5", "--std", "128", "--force"]
    for name, form in (("plain", made.plain), ("mine", made.channels_last)):
        with monkeypatch.context() as patch:
            proto = at_112(form, patch)
        for tensor in proto.graph.initializer:
            if tensor.name in ("fc", "bias"):
                alive = onnx.numpy_helper.to_array(tensor).copy()
                alive[[3, 9]] = 0
                tensor.CopyFrom(onnx.numpy_helper.from_array(alive, tensor.name))
        onnx.save(proto, tmp_path / f"{name}.onnx")
        code, _, err = init(tmp_path, capsys, "--model", str(tmp_path / f"{name}.onnx"), *known)
        assert code == 0, err
    project(tmp_path)
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("models: mine", "models: [plain, mine]"))
    done = Project(tmp_path).farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "runs" / "latest" / "results.json").read_text())["cells"]
    of = {(row["model"], row["board"]): row for row in rows}
    assert len(of) == 4
    for board in ("this-host", "vim3"):
        plain, mine = of["plain", board], of["mine", board]
        assert (mine["rank1"], mine["tar"]) == (plain["rank1"], plain["tar"])
        assert "intake" not in plain["provenance"]
        told = mine["provenance"]["intake"]
        assert told["original_sha256"] == sha256_file(tmp_path / "mine.onnx")
        assert told["original_sha256"] != mine["provenance"]["model_sha256"]
        assert any("channels last" in change for change in told["changes"])
        for row in (plain, mine):
            assert any("2 of the 64 numbers" in warning for warning in row["warnings"])


def test_weights_beside_the_model_reach_the_run(tmp_path, capsys, monkeypatch):
    """init and plan work from another folder, in which a file of the same name lies."""
    folder, elsewhere = tmp_path / "models-of-mine", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    path = made.beside(folder, at_112(made.plain, monkeypatch))
    path = path.rename(folder / "mine.onnx")
    (elsewhere / "weights.bin").write_bytes(b"\0" * (folder / "weights.bin").stat().st_size)
    monkeypatch.chdir(elsewhere)
    relative = os.path.relpath(path, elsewhere)
    code, out, err = init(tmp_path, capsys, "--model", relative, "--json")
    assert code == 0, err
    said = json.loads(out)["intake"]
    assert said["changes"] == ["the weights beside the file (weights.bin) were brought inside"]
    assert said["cosine"] > 1 - 1e-6
    project(tmp_path)
    data = planned(tmp_path).models["mine"].path.read_bytes()
    inputs = made.fed(made.images(2, FACE))
    plain = made.features(at_112(made.plain, monkeypatch).SerializeToString(), inputs)
    assert np.array_equal(made.features(data, inputs), plain)


def quantized_file(folder: Path) -> Path:
    """What farm itself deploys: a QDQ model."""
    from orchestrator.stages import calibrate, quantize
    from tests.toolchains import nets

    model, photos = nets.iresnet(), nets.photos(4)
    table = list(calibrate.calibrate(model, photos, nets.PREPROCESSING, "minmax"))[-1]
    scheme = {
        "dtype": "int8",
        "granularity": "per-channel",
        "symmetry": "symmetric",
        "calibrator": "minmax",
        "keep_float": (),
    }
    assert isinstance(table, bytes)
    path = folder / "mine.onnx"
    path.write_bytes(quantize.quantize(model, table, scheme, "onnxruntime").files[quantize.FILE])
    return path


def test_a_quantized_model_alone_is_refused_at_once(tmp_path, capsys, monkeypatch):
    """In init and in plan, with what to do instead."""
    path = quantized_file(tmp_path)
    code, _, err = init(tmp_path, capsys, "--model", str(path))
    assert code == 2
    assert "quantized already" in err
    assert "a float32 model is needed" in err
    assert "`quantized:`" in err
    assert "`quantization: as-given`" in err
    assert [p.name for p in tmp_path.iterdir()] == ["mine.onnx"]
    (tmp_path / "models").mkdir()
    manifest = (ROOT / "models" / "synthface-ir.yaml").read_text().replace("synthface-ir", "mine")
    old = next(line for line in manifest.splitlines() if line.startswith("sha256"))
    manifest = manifest.replace(old, f'sha256: "{sha256_file(path)}"')
    (tmp_path / "models" / "mine.yaml").write_text(manifest.replace("mine.onnx", "../mine.onnx"))
    project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["plan"]) == 2
    err = capsys.readouterr().err
    assert "mine.yaml:4: " in err
    assert "a float32 model is needed" in err
    assert "`quantization: as-given`" in err
    assert not (tmp_path / ".farm" / "models").exists()


def test_a_model_that_normalizes_twice_is_a_warning_of_its_rows(tmp_path, capsys, monkeypatch):
    onnx.save(at_112(made.normalized_inside, monkeypatch), tmp_path / "mine.onnx")
    known = ["--colour", "RGB", "--mean", "127.5", "--std", "128"]
    code, _, err = init(tmp_path, capsys, "--model", str(tmp_path / "mine.onnx"), *known)
    assert code == 0, err
    project(tmp_path)
    (warning,) = planned(tmp_path).intake["mine"].warnings
    assert "mean 0 and std 1 are expected there" in warning


def test_plan_refuses_useless_features_with_the_manifests_line(tmp_path, capsys, monkeypatch):
    path = tmp_path / "mine.onnx"
    proto = at_112(made.plain, monkeypatch)
    onnx.save(proto, path)
    assert init(tmp_path, capsys, "--model", str(path))[0] == 0
    for tensor in proto.graph.initializer:
        if tensor.name in ("fc", "bias"):
            zero = np.zeros(tuple(tensor.dims), np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(zero, tensor.name))
    before = sha256_file(path)
    onnx.save(proto, path)
    manifest = tmp_path / "models" / "mine.yaml"
    manifest.write_text(manifest.read_text().replace(before, sha256_file(path)))
    monkeypatch.setattr(model, "IMAGES", 8)
    project(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["plan"]) == 2
    err = capsys.readouterr().err
    assert "mine.yaml:4: " in err
    assert "output is all zero for 8 of 8 images" in err


def test_a_detector_is_recognized_by_its_outputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = detector(tmp_path / "red.onnx", "high", "wide")
    code, _, err = init(tmp_path / "p", capsys, "--model", str(model))
    assert code == 2
    assert "give both: --size 640x640" in err
    code, out, _ = init(tmp_path / "p", capsys, "--model", str(model), "--size", "128x160")
    assert code == 0
    assert "its outputs are those of a centerface head" in out
    spec = load_model(tmp_path / "p/models/red.yaml")
    assert spec.detection is not None
    assert (spec.task, spec.detection.head) == ("detection", "centerface")
    assert spec.detection.outputs == ("heat", "scale", "offset", "marks")
    matrix = load_matrix(tmp_path / "p/matrix.yaml")
    assert (matrix.task, matrix.test_set.size) == ("detection", (128, 160))
    given = ("--model", str(model), "--size", "128x160", "--images", str(tmp_path))
    code, _, err = init(tmp_path / "q", capsys, *given)
    assert code == 2
    assert "aligned faces do not test or calibrate" in err


def test_a_detector_of_another_fixed_size_is_copied_with_the_asked_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = detector(tmp_path / "red.onnx", 32, 32)
    folder = tmp_path / "p"
    code, out, _ = init(folder, capsys, "--model", str(model), "--size", "128x160")
    assert code == 0
    assert "The copy in models/ has an input of 128 x 160" in out
    found = onnx.load(folder / "models/red.onnx").graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in found] == [1, 3, 128, 160]
    assert load_model(folder / "models/red.yaml").input.size == (128, 160)
    code, _, err = init(folder, capsys, "--model", str(model), "--size", "128x160")
    assert code == 2
    assert "is there already" in err
