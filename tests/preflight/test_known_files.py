"""A plan of known models parses none of them, and still sees what no longer agrees."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from orchestrator.errors import UserError
from orchestrator.hashing import sha256_file
from orchestrator.intake import reading
from orchestrator.preflight.known_files import FILE, KnownFiles
from orchestrator.preflight.model import hold_against_file
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.request import Request
from orchestrator.specs.model import ModelSpec, load_model

ROOT = Path(__file__).resolve().parents[2]
NAME = "synthface-ir"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The default project's files, with no state."""
    for name in ("matrix.yaml", "device_inventory.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "models").mkdir()
    for end in (".yaml", ".onnx"):
        shutil.copy(ROOT / "models" / f"{NAME}{end}", tmp_path / "models")
    return tmp_path


def manifest(project: Path) -> Path:
    return project / "models" / f"{NAME}.yaml"


def agrees(project: Path, state: Path) -> None:
    """Hold the manifest against its file, and remember that they agree."""
    known = KnownFiles(state)
    hold_against_file(load_model(manifest(project)), known)
    known.save()


def plan(project: Path) -> Plan:
    files = [str(project / name) for name in ("matrix.yaml", "device_inventory.yaml")]
    return make_plan(Request(*files, str(project / ".farm"), str(project / "runs"), limit=60))


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The model files that are parsed from here on."""
    paths: list[Path] = []
    read = reading.read

    def noted(path: Path) -> reading.Original:
        paths.append(path)
        return read(path)

    monkeypatch.setattr(reading, "read", noted)
    return paths


def test_the_second_plan_is_the_first_and_parses_nothing(project: Path, parsed: list[Path]) -> None:
    first = plan(project)
    assert parsed
    parsed.clear()
    second = plan(project)
    assert not parsed
    assert second.intake == first.intake
    assert second.resolution.keys == first.resolution.keys
    assert second.cells == first.cells


def imported_by_a_plan(project: Path) -> set[str]:
    """Which large packages a plan imports, in a process of its own."""
    code = (
        "import sys\nfrom orchestrator.preflight.planner import make_plan\n"
        "from orchestrator.request import Request\n"
        "make_plan(Request('matrix.yaml', 'device_inventory.yaml', '.farm', 'runs', limit=60))\n"
        "large = ('numpy', 'onnx', 'onnxruntime', 'ray', 'paramiko', 'scipy', 'PIL')\n"
        "print(*(name for name in large if name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_second_plan_imports_nothing_that_computes(project: Path) -> None:
    assert {"numpy", "onnx"} <= imported_by_a_plan(project)
    assert not imported_by_a_plan(project)


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ("height: 112", "height: 96", "describes 3 x 96 x 112"),
        ("width: 112", "width: 96", "describes 3 x 112 x 96"),
        ("layout: NCHW", "layout: NHWC", "NHWC"),
        ("name: data", "name: pixels", "has the input 'data', not 'pixels'"),
        ("output: fc1", "output: nothing", "has no output 'nothing'"),
    ],
)
def test_a_manifest_that_no_longer_agrees_with_a_known_file_is_refused(
    project: Path, written: str, instead: str, said: str
) -> None:
    state = project / ".farm"
    agrees(project, state)
    assert KnownFiles(state).sha256(load_model(manifest(project)))
    text = manifest(project).read_text()
    assert written in text
    manifest(project).write_text(text.replace(written, instead))
    with pytest.raises(UserError, match=said):
        agrees(project, state)


def replaced(project: Path, proto: onnx.ModelProto) -> ModelSpec:
    """The manifest's file replaced by another, which the manifest names by its hash."""
    file = project / "models" / f"{NAME}.onnx"
    before = sha256_file(file)
    file.write_bytes(proto.SerializeToString())
    manifest(project).write_text(manifest(project).read_text().replace(before, sha256_file(file)))
    return load_model(manifest(project))


def test_another_file_under_the_name_of_a_known_one_is_parsed(
    project: Path, parsed: list[Path]
) -> None:
    state = project / ".farm"
    agrees(project, state)
    proto = onnx.load(project / "models" / f"{NAME}.onnx")
    proto.producer_name = "another"
    parsed.clear()
    spec = replaced(project, proto)
    assert not KnownFiles(state).sha256(spec)
    agrees(project, state)
    assert parsed == [spec.path]
    proto.graph.input[0].name = "another"
    for node in proto.graph.node:
        node.input[:] = ["another" if name == "data" else name for name in node.input]
    replaced(project, proto)
    with pytest.raises(UserError, match="has the input 'another', not 'data'"):
        agrees(project, state)


def test_a_file_with_weights_beside_it_is_read_each_time(project: Path, parsed: list[Path]) -> None:
    state = project / ".farm"
    file = project / "models" / f"{NAME}.onnx"
    before = sha256_file(file)
    onnx.save(onnx.load(file), file, save_as_external_data=True, location="weights.bin")
    manifest(project).write_text(manifest(project).read_text().replace(before, sha256_file(file)))
    for _ in range(2):
        agrees(project, state)
    assert len(parsed) == 2
    weights = project / "models" / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(UserError, match="cut off"):
        agrees(project, state)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"agree": 3}', "\x00"])
def test_a_damaged_memory_is_no_memory(project: Path, content: str) -> None:
    state = project / ".farm"
    state.mkdir()
    (state / FILE).write_text(content)
    spec = load_model(manifest(project))
    assert not KnownFiles(state).sha256(spec)
    agrees(project, state)
    assert KnownFiles(state).sha256(spec) == spec.sha256
    assert len(json.loads((state / FILE).read_text())["agree"]) == 1
