"""Bad input from the command line on: a clear error, and nothing half-written in the store."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from orchestrator.cli.main import main
from orchestrator.hashing import sha256_bytes
from tests.run.project import FLOAT, HOST, ROOT, Project, emulated, entry

UINT8 = "uint8 per-tensor asymmetric"
RENDERED = "  rendered: {images: 16, difficulty: 1.5}"


def unfinished(project: Project) -> list[str]:
    """What lies in the store and is not whole: all but locks and committed entries."""
    store = project.folder / ".farm" / "store"
    whole = {path.parent for path in store.glob("*/*/manifest.json")}
    return [
        str(path.relative_to(store))
        for path in store.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.parent not in whole
    ]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project(tmp_path)
    made.write(FLOAT + entry("vim3", UINT8), HOST + emulated("vim3", "khadas-vim3"), 4, 4)
    monkeypatch.chdir(tmp_path)
    return made


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def own_model(project: Project, change: Callable[[onnx.ModelProto], None]) -> None:
    """The default model, changed, in the project's own folder."""
    proto = onnx.load(ROOT / "models" / "synthface-ir.onnx")
    change(proto)
    data = proto.SerializeToString()
    folder = project.folder / "models"
    folder.mkdir()
    (folder / "bad.onnx").write_bytes(data)
    manifest = (ROOT / "models" / "synthface-ir.yaml").read_text()
    old = sha256_bytes((ROOT / "models" / "synthface-ir.onnx").read_bytes())
    (folder / "bad.yaml").write_text(
        manifest.replace(old, sha256_bytes(data)).replace("synthface-ir", "bad")
    )
    edit(project.folder / "matrix.yaml", "models: synthface-ir", "models: bad")


def nan_weight(proto: onnx.ModelProto) -> None:
    conv = next(node for node in proto.graph.node if node.name == "block1.conv2")
    tensor = next(t for t in proto.graph.initializer if t.name == conv.input[1])
    values = numpy_helper.to_array(tensor).copy()
    values.flat[7] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def with_last(proto: onnx.ModelProto, *nodes: onnx.NodeProto) -> None:
    """Nodes between the features and their output; they read `before`, the last makes `after`."""
    last = proto.graph.node[-1]
    output = last.output[0]
    last.output[0] = "before"
    proto.graph.node.extend(nodes)
    proto.graph.node[-1].output[0] = output


def forbidden_operator(proto: onnx.ModelProto) -> None:
    """The features less their mean, by an operator that the NPU does not run."""
    mean = helper.make_node("ReduceMean", ["before"], ["mean"], name="turned", axes=[1])
    with_last(proto, mean, helper.make_node("Sub", ["before", "mean"], ["after"], name="less"))


def too_new(proto: onnx.ModelProto) -> None:
    """An operator of opset 18 that no earlier one has."""
    proto.opset_import[0].version = 18
    with_last(proto, helper.make_node("Mish", ["before"], ["after"], name="swish"))


def test_an_empty_calibration_folder(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.folder / "faces").mkdir()
    edit(project.folder / "matrix.yaml", RENDERED, "  folder: faces")
    assert main(["plan", "--predict"]) == 2
    error = capsys.readouterr().err
    assert "faces" in error
    assert "no image" in error
    assert not (project.folder / ".farm").exists()


@pytest.mark.slow
def test_a_calibration_image_of_the_wrong_size(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project.folder / "faces"
    folder.mkdir()
    for name, size in (("a.png", (112, 112)), ("b.png", (100, 112))):
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(folder / name)
    edit(project.folder / "matrix.yaml", RENDERED, "  folder: faces")
    assert main(["plan", "--predict"]) == 2
    error = capsys.readouterr().err
    assert "b.png" in error
    assert "112 x 112" in error
    assert [name for name in unfinished(project) if "calibrat" in name] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (forbidden_operator, ["'turned' (ReduceMean)", "'tengine' does not run ReduceMean"]),
        (too_new, ["'swish' (Mish)", "opset 13"]),
    ],
    ids=["forbidden operator", "opset too new"],
)
def test_a_model_that_a_toolchain_cannot_take(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[onnx.ModelProto], None],
    words: list[str],
) -> None:
    """Its row is impossible in the plan already; the float32 row on this host is not."""
    own_model(project, change)
    assert main(["plan", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["impossible"] for row in rows if row["board"] == "this-host"] == [""]
    (reason,) = (row["impossible"] for row in rows if row["board"] == "vim3")
    for word in words:
        assert word in reason
    assert not list((project.folder / ".farm").glob("store/*/*/manifest.json"))


def test_weights_that_are_nan(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    own_model(project, nan_weight)
    assert main(["plan"]) == 2
    error = capsys.readouterr().err
    assert "bad.yaml:4: " in error
    assert "block1.conv2" in error
    assert "NaN" in error
    assert unfinished(project) == []


@pytest.mark.slow
def test_a_disk_that_is_full_while_emitting(project: Project) -> None:
    """The system refuses files beyond 600 kB, which images and table stay below and the file
    that is emitted (1 MB) does not."""
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))\n"
        "from orchestrator.cli.main import main\n"
        "sys.exit(main(['plan', '--predict', '--only', 'vim3']))\n"
    )
    edit(project.folder / "matrix.yaml", "images: 16", "images: 8")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert "no room left" in done.stderr or "no space left" in done.stderr, done.stderr
    assert unfinished(project) == []
    again = subprocess.run(
        project.command("plan", "--predict", "--only", "vim3"),
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert again.returncode == 0, again.stdout + again.stderr
