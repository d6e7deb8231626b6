"""`farm gc` and what others have sent: no bundle of a run whose folder is there ever goes."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from orchestrator.bundle.gathering import gather
from orchestrator.cli.main import main
from tests.bundle.made import ENTRIES, RENDERED, faces, matrix, sent

OLD = time.time() - 30 * 86400.0


def aged(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        os.utime(path, (OLD, OLD), follow_symlinks=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "matrix.yaml").write_text(f"models: synthface-ir\n{RENDERED}{ENTRIES}")
    (tmp_path / "device_inventory.yaml").write_text(
        "boards:\n  - {name: this-host, kind: host-cpu, transport: local}\n"
    )
    return tmp_path


def gc(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, object]:
    main(["gc", "--json", *words])
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_bundles_go_with_their_runs(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = project / ".farm"
    faces(project / "a" / "faces")
    faces(project / "b" / "faces", 100)
    one, two = (gather(matrix(project / name, rest="test_set: {folder: faces}\n")) for name in "ab")
    trees = [sent(each, state) for each in (one, two)]
    assert set(one.manifest.blobs) & set(two.manifest.blobs), "the model is in both"
    run = project / "runs" / "20260101-000000-aaaa"
    run.mkdir(parents=True)
    (run / "request.json").write_text(json.dumps({"matrix": str(trees[0] / "matrix.yaml")}))
    (state / "uploads" / "parts").mkdir(exist_ok=True)
    (state / "uploads" / "parts" / ("0" * 64)).write_bytes(b"x" * 5000)
    assert gc(capsys, "--max-size", "0")["removed"] == [], "all of it was used within a week"
    aged(state / "uploads")
    assert len(gc(capsys, "--max-size", "0", "--dry-run")["removed"]) == 2
    assert trees[1].is_dir()
    removed = gc(capsys, "--max-size", "0")["removed"]
    assert removed == [f"uploads/{'0' * 64}", f"uploads/{two.manifest.name}"] or set(removed) == {
        f"uploads/{'0' * 64}",
        f"uploads/{two.manifest.name}",
    }
    assert not trees[1].exists()
    # What the run needs is whole, and what only the other had is gone.
    assert sorted(p.name for p in trees[0].iterdir()) == ["faces", "matrix.yaml", "models"]
    blobs = {path.name for path in (state / "uploads" / "blobs").glob("*/*")}
    assert blobs == set(one.manifest.blobs)
    (run / "request.json").unlink()
    aged(state / "uploads")
    gc(capsys, "--max-size", "0")
    left = [path for path in (state / "uploads").rglob("*") if path.is_file()]
    assert left == []
