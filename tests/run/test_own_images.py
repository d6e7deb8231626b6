"""A user's own images from the command line on: refused at once, or skipped and said everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.cli.main import main
from orchestrator.images import gallery_rows, probe_rows
from orchestrator.preflight.planner import make_plan
from orchestrator.request import Request
from orchestrator.specs import FolderSet, RenderedSet
from orchestrator.specs.matrix import load_matrix
from tests.run.project import FLOAT, HOST, ROOT, Project, emulated, entry

PEOPLE = 6


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Six people as files, each with one gallery and one probe image."""
    made = Project(tmp_path)
    entries = FLOAT + entry("vim3", "uint8 per-tensor asymmetric")
    made.write(entries, HOST + emulated("vim3", "khadas-vim3"), 4, 4)
    drawn = RenderedSet(identities=PEOPLE, difficulty=1.0)
    for role, rows in (("gallery", gallery_rows(drawn)), ("probe", probe_rows(drawn))):
        for who, pixels in zip(rows.identities, rows.images(), strict=True):
            place = tmp_path / "faces" / role / f"p{who}"
            place.mkdir(parents=True)
            Image.fromarray(pixels).save(place / "0.png")
    matrix = tmp_path / "matrix.yaml"
    old = "rendered: {seed: 0, identities: 4, unknown: 4, difficulty: 1.5}"
    assert old in matrix.read_text()
    matrix.write_text(matrix.read_text().replace(old, "folder: faces"))
    monkeypatch.chdir(tmp_path)
    return made


def spoil(project: Project) -> Path:
    bad = project.folder / "faces" / "probe" / "p2" / "0.png"
    bad.write_bytes(bad.read_bytes()[:-60])
    return bad


def skip(project: Project) -> None:
    matrix = project.folder / "matrix.yaml"
    text = matrix.read_text()
    matrix.write_text(text.replace("folder: faces", "folder: {path: faces, skip_unreadable: true}"))


def test_plan_and_run_refuse_before_anything_starts(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = spoil(project)
    small = project.folder / "faces" / "probe" / "p4" / "0.png"
    Image.open(small).resize((100, 112)).save(small)
    for command in ("plan", "run"):
        assert main([command]) == 2
        error = capsys.readouterr().err
        assert f"{bad.relative_to(project.folder)}: PNG, damaged" in error
        assert f"{small.relative_to(project.folder)}: 112 x 100" in error
        assert "skip_unreadable: true" in error
    assert not (project.folder / "runs").exists()
    assert not (project.folder / ".farm" / "store").exists()


def test_the_plan_says_what_is_skipped(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(project)
    skip(project)
    assert main(["plan", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    (note,) = found["test_set"]["notes"]
    assert note.startswith("test set: 1 skipped as unreadable (skip_unreadable): ")
    assert main(["plan"]) == 0
    assert "1 skipped as unreadable" in capsys.readouterr().out


def test_init_refuses_what_it_cannot_take(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = spoil(project)
    asked = ["init", "new", "--model", str(ROOT / "models" / "synthface-ir.onnx"), "--yes"]
    asked += ["--images", "faces", "--identities", "4"]
    assert main(asked) == 2
    assert f"{bad.relative_to(project.folder)}: PNG, damaged" in capsys.readouterr().err
    assert not (project.folder / "new").exists()
    assert main([*asked, "--skip-unreadable"]) == 0
    assert "1 skipped as unreadable" in capsys.readouterr().out
    written = load_matrix(project.folder / "new" / "matrix.yaml").test_set
    assert isinstance(written, FolderSet)
    assert (written.path.resolve(), written.skip_unreadable) == (
        (project.folder / "faces").resolve(),
        True,
    )


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_is_skipped_stands_in_every_table(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(project)
    skip(project)
    done = project.farm("run", "--only", "float32")
    assert done.returncode == 0, done.stdout + done.stderr
    words = (
        "test set: 1 skipped as unreadable (skip_unreadable): faces/probe/p2/0.png: PNG, damaged"
    )
    assert words[:60] in " ".join(done.stdout.split())
    assert words[:60] in (project.latest / "table.md").read_text().replace("\\", "")
    (cell,) = project.cells().values()
    assert cell["test_set"]["notes"][0].startswith(words[:80])
    assert (cell["test_set"]["gallery"], cell["test_set"]["mated"]) == (6, 5)
    assert project.farm("export", "latest", "--format", "csv").returncode == 0
    assert "1 skipped as unreadable" in (project.latest / "results.csv").read_text()


KEYS = {
    "images/gallery": "d95894bd53fcdbefb7fd1aad836a476d1d129295e99b44434fb47ece051d9209",
    "images/probe": "c1e20fa3be85a0b9ad2e6bf30cc7100af0b6c7305b1518e76e2d2fa01a929fa1",
    "images/calibration": "64b23cd06359663084c53a6d838fac70c6c3b0316f90d3223c71dcf55e76134f",
}
FINGERPRINTS = {
    None: (
        "c436eaa3b7587d5496d66713f1aed634bfd901afb67024f35c7aa92cc04137c4",
        "c1f1c808f5061d995988e404756467b51a4f1949e5eac08f8ac0a35695f646d9",
        "bf6825a690faba21f7617ce2e5d83f649f5ecd693d3a217f4f65fa9b4b7f99b8",
    ),
    500: (
        "78abec6c4cf4ee5d40428b12d9a8c76af081fd71509e73ecbefef377aa94c306",
        "97a47f648b2e0879384d4ac97ec14e3baffd4de604a92363afc0206594820c94",
        "bf6825a690faba21f7617ce2e5d83f649f5ecd693d3a217f4f65fa9b4b7f99b8",
    ),
}
"""As farm made them before it looked into files: what a store holds of rendered faces stays."""


@pytest.mark.parametrize("limit", list(FINGERPRINTS))
def test_rendered_faces_keep_their_keys(limit: int | None, tmp_path: Path) -> None:
    files = (str(ROOT / "matrix.yaml"), str(ROOT / "device_inventory.yaml"))
    plan = make_plan(Request(*files, str(tmp_path), str(tmp_path / "runs"), limit=limit))
    found = {role: rows.fingerprint() for (_, role), rows in plan.rows.items()}
    assert tuple(found[r] for r in ("gallery", "probe", "calibration")) == FINGERPRINTS[limit]
    if limit is None:
        assert {step: plan.resolution.keys[step] for step in KEYS} == KEYS
    assert not (tmp_path / "images.json").exists()
