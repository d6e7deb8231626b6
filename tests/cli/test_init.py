"""farm init: what it writes is what farm reads; the preprocessing that was trained is found."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pexpect
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from orchestrator.cli.main import main
from orchestrator.images import render
from orchestrator.preflight.planner import make_plan
from orchestrator.request import Request
from orchestrator.specs.matrix import load_matrix
from orchestrator.specs.model import load_model
from orchestrator.stages.variants import compare_variants, variants

from ..run.project import ROOT

SHIPPED = ROOT / "models" / "synthface-ir.onnx"


def farm_init(
    capsys: pytest.CaptureFixture[str], folder: Path, *words: str
) -> tuple[int, str, str]:
    code = main(["init", str(folder), "--yes", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def linear_model(
    path: Path, shape: tuple[int | str, ...], dim: int = 12, weights: np.ndarray | None = None
) -> Path:
    """Flattened pixels times a matrix: enough of a model to be read and fed."""
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    if weights is None:
        weights = np.random.default_rng(0).normal(size=(int(np.prod(sizes)), dim))
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["pixels"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["face"]),
        ],
        "g",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("face", TensorProto.FLOAT, [shape[0], weights.shape[1]])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def plan_of(folder: Path) -> object:
    return make_plan(
        Request(
            matrix=str(folder / "matrix.yaml"),
            inventory=str(folder / "device_inventory.yaml"),
            state=str(folder / ".farm"),
            runs=str(folder / "runs"),
        )
    )


def test_without_a_model_the_files_make_a_plan_of_farms_own(tmp_path, capsys):
    code, out, err = farm_init(capsys, tmp_path)
    assert code == 0, err
    assert "wrote" in out
    plan = plan_of(tmp_path)
    assert [cell.reason for cell in plan.cells] == [""] * 9
    assert {board.name for board in plan.boards.values()} >= {"this-host", "khadas-vim3"}


def test_nothing_is_overwritten_without_force(tmp_path, capsys):
    (tmp_path / "matrix.yaml").write_text("mine")
    code, out, _ = farm_init(capsys, tmp_path)
    assert code == 0
    assert f"left {tmp_path}/matrix.yaml as it is" in out
    assert (tmp_path / "matrix.yaml").read_text() == "mine"
    assert (tmp_path / "device_inventory.yaml").exists()
    farm_init(capsys, tmp_path, "--force")
    assert "models: synthface-ir" in (tmp_path / "matrix.yaml").read_text()


@pytest.mark.parametrize("kind", ["host-cpu", "rk3588", "cuda-gpu", "rv1126b"])
def test_any_kind_makes_a_valid_skeleton(tmp_path, capsys, kind):
    code, _, err = farm_init(capsys, tmp_path, "--boards", kind)
    assert code == 0, err
    assert all(not cell.reason for cell in plan_of(tmp_path).cells)


def test_the_shipped_models_preprocessing_is_found(tmp_path, capsys):
    """Trained on RGB, (x - 127.5) / 127.5."""
    words = ["--model", str(SHIPPED), "--name", "found", "--identities", "8", "--json"]
    code, out, err = farm_init(capsys, tmp_path, *words)
    assert code == 0, err
    said = json.loads(out)["comparison"]
    assert said["decided"] is True
    assert said["ranking"][0]["scaling"] == "(x - 127.5) / 127.5"
    assert said["ranking"][0]["rank1"] == 1.0
    wrong = {entry["colour"] for entry in said["ranking"] if not entry["as_good"]}
    assert wrong == {"RGB", "BGR"}
    found = load_model(tmp_path / "models" / "found.yaml")
    true = load_model(ROOT / "models" / "synthface-ir.yaml")
    assert found.input == true.input
    assert (found.output, found.embedding_size) == (true.output, true.embedding_size)
    assert found.path.samefile(SHIPPED)
    plan_of(tmp_path)
    code, _, err = farm_init(capsys, tmp_path, *words)
    assert code == 2
    assert "found.yaml is there already" in err


def faces(folder: Path, people: int, shots: int, size: tuple[int, int]) -> Path:
    """Coloured noise of each person, with a little noise of the shot."""
    random = np.random.default_rng(1)
    for person in range(people):
        face = random.integers(30, 226, (*size, 3))
        for shot in range(shots):
            pixels = np.clip(face + random.normal(0, 8, face.shape), 0, 255).astype(np.uint8)
            path = folder / f"p{person}" / f"{shot}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return folder


def test_own_faces_of_another_size_and_layout(tmp_path, capsys):
    model = linear_model(tmp_path / "My Net.onnx", (1, 12, 10, 3))
    own = faces(tmp_path / "own", 6, 3, (12, 10))
    code, out, err = farm_init(capsys, tmp_path, "--model", str(model), "--images", str(own))
    assert code == 0, err
    assert "6 identities, 12 probes, faces of --images" in out
    assert "UNDECIDED" in out, "six identities decide nothing"
    written = load_model(tmp_path / "models" / "My-Net.yaml")
    assert (written.input.layout, written.input.size) == ("NHWC", (12, 10))
    assert written.embedding_size == 12
    assert "UNDECIDED" in (tmp_path / "models" / "My-Net.yaml").read_text()
    assert load_matrix(tmp_path / "matrix.yaml").test_set.path == tmp_path / "faces.csv"


def test_own_faces_are_the_test_set(tmp_path, capsys):
    """A folder without roles becomes a list; nobody is measured on drawn faces unasked."""
    own = tmp_path / "own"
    for shot in range(3):
        for person, face in enumerate(render(np.arange(8), np.full(8, shot))):
            (own / f"p{person}").mkdir(parents=True, exist_ok=True)
            Image.fromarray(face).save(own / f"p{person}" / f"{shot}.png")
    code, out, err = farm_init(capsys, tmp_path, "--images", str(own))
    assert code == 0, err
    assert "6 identities are enrolled with their first image, 18 images search, 2 ident" in out
    with (tmp_path / "faces.csv").open() as file:
        listed = list(csv.DictReader(file))
    roles = Counter((line["identity"], line["role"]) for line in listed)
    enrolled = {who for who, role in roles if role == "gallery"}
    assert len(enrolled) == 6
    assert all(roles[who, "gallery"] == 1 and roles[who, "probe"] == 2 for who in enrolled)
    assert sorted(count for (who, _), count in roles.items() if who not in enrolled) == [3, 3]
    matrix = load_matrix(tmp_path / "matrix.yaml")
    assert matrix.scoring.table_far == 0.1, "18 searches say nothing of 1e-2"
    assert len(plan_of(tmp_path).rows["synthface-ir", "gallery"]) == 6


def test_a_folder_of_faces_that_is_not_there_is_refused(tmp_path, capsys):
    code, _, err = farm_init(capsys, tmp_path, "--images", str(tmp_path / "nosuch"))
    assert code == 2
    assert "nosuch" in err
    assert not (tmp_path / "matrix.yaml").exists()


def test_bgr_is_found_where_only_blue_says_who_it_is():
    """A model whose first channel alone counts, on faces that differ in blue alone."""
    random = np.random.default_rng(2)
    people = random.integers(0, 256, (10, 1, 1, 8, 8))
    images = np.zeros((20, 8, 8, 3), np.uint8)
    for shot in range(2):
        images[shot::2, ..., 2] = people[:, 0, 0] * 0.8 + 20
        noise = random.integers(0, 256, (10, 8, 8, 2))
        images[shot::2, ..., :2] = noise
    weights = random.normal(size=(64, 12)).astype(np.float32)

    def embed(fed: np.ndarray) -> np.ndarray:
        return fed[0, 0].reshape(-1) @ weights

    ids = [f"p{i // 2}" for i in range(20)]
    found = compare_variants(embed, images, ids, "NCHW")
    assert found.best.variant.colour == "BGR"
    assert all(one.variant.colour == "BGR" for one in found.ranking if one.as_good)
    assert len(found.ranking) == len(variants())


def test_a_dead_model_is_undecided_not_chosen():
    images = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3)).astype(np.uint8)
    found = compare_variants(
        lambda fed: np.ones(5, np.float32), images, [f"p{i // 2}" for i in range(8)], "NCHW"
    )
    assert not found.decided
    assert found.best.rank1 == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "gone.onnx"], "cannot read the model gone.onnx"),
        (["--boards", "khadas-vim4"], "did you mean 'khadas-vim3'?"),
        (["--model", str(SHIPPED), "--mean", "127.5"], "all three or none"),
        (["--model", str(SHIPPED), "--size", "96x96"], "takes 112x112, not 96x96"),
        (["--model", str(SHIPPED), "--images", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_mistakes_are_answered_and_write_nothing(tmp_path, capsys, words, says):
    code, _, err = farm_init(capsys, tmp_path, *words)
    assert code == 2
    assert says in err
    assert not list(tmp_path.iterdir())


def test_inputs_that_are_no_faces_are_refused(tmp_path, capsys):
    grey = linear_model(tmp_path / "grey.onnx", (1, 1, 8, 8))
    code, _, err = farm_init(capsys, tmp_path, "--model", str(grey))
    assert code == 2
    assert "no axis of 3 colours" in err


def test_open_sizes_are_asked_for(tmp_path, capsys):
    weights = np.random.default_rng(0).normal(size=(3 * 8 * 8, 4))
    model = linear_model(tmp_path / "open.onnx", ("n", 3, "h", "w"), weights=weights)
    code, _, err = farm_init(capsys, tmp_path, "--model", str(model))
    assert code == 2
    assert "say them: --size 112x112" in err
    known = ["--size", "8x8", "--colour", "BGR", "--mean", "0", "--std", "1", "2", "3"]
    code, _, err = farm_init(capsys, tmp_path, "--model", str(model), *known)
    assert code == 0, err
    written = load_model(tmp_path / "models" / "open.yaml").input
    assert (written.colour, written.mean, written.std) == ("BGR", (0, 0, 0), (1, 2, 3))


def test_three_questions_on_a_terminal(tmp_path):
    command = [*["-m", "orchestrator.cli.main", "init"], str(tmp_path)]
    child = pexpect.spawn(sys.executable, command, cwd=str(ROOT), timeout=60, encoding="utf-8")
    for question, answer in (
        ("your model's ONNX file", ""),
        ("your own aligned faces", ""),
        ("kinds of boards", "rv1126"),
    ):
        child.expect(question)
        child.sendline(answer)
    child.expect("next: farm plan")
    child.expect(pexpect.EOF)
    text = (tmp_path / "matrix.yaml").read_text()
    assert "boards: {kind: rv1126}" in text
    assert "khadas" not in text
