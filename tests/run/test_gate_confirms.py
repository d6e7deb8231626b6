"""A slow-down closes the gate only when both artifacts, timed again in turns, show it too."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .project import FLOAT, HOST, ROOT, Project

LIMIT = ("gate", "--max-slower", "p50=50%")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two runs of one row: with the small model, then with one that takes thrice as long."""
    made = Project(tmp_path_factory.mktemp("gate"))
    made.write(FLOAT, HOST, identities=20, unknown=10)
    matrix = made.folder / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("models: synthface-ir", "models: models/m.yaml"))
    (made.folder / "models").mkdir()
    for name in ("synthface-mfn", "synthface-ir"):
        text = (ROOT / "models" / f"{name}.yaml").read_text()
        text = text.replace(f"name: {name}", "name: m")
        (made.folder / "models" / "m.yaml").write_text(text)
        shutil.copy2(ROOT / "models" / f"{name}.onnx", made.folder / "models")
        done = made.farm("run")
        assert done.returncode == 0, done.stderr
    return made


def recorded(run: Path, p50_ms: float) -> None:
    """Give a run a time that counts, however busy this machine was; its raw times are gone."""
    log = run / "events.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for event in lines:
        if event["event"] == "run_started":
            event["run"] = run.name
        if event["event"] == "cell_finished":
            event["result"] |= {"verdict": "VALID", "verdict_reason": "", "verdict_reasons": []}
            event["result"]["latency"]["device"]["p50_ms"] = p50_ms
            event["result"]["provenance"]["keys"].pop("measure", None)
    log.write_text("".join(json.dumps(event) + "\n" for event in lines))


@pytest.mark.slow
def test_a_real_slow_down_fails_and_one_that_is_gone_does_not(project: Project) -> None:
    first, second = sorted((project.folder / "runs").glob("2*"))
    recorded(first, 1.0)
    recorded(second, 3.0)
    done = project.farm(*LIMIT, second.name, "--baseline", first.name)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "measured again, interleaved" in done.stdout
    assert "round 6 of 6" in done.stderr

    unhurt = first.with_name("29991231-slow")
    shutil.copytree(first, unhurt)
    recorded(unhurt, 3.0)
    done = project.farm(*LIMIT, unhurt.name, "--baseline", first.name)
    if "undecided" in done.stdout:  # this machine is busy with something else, and it is said
        assert done.returncode == 3
        assert "measured again, interleaved, but SUSPECT: " in done.stdout
    else:
        assert done.returncode == 0, done.stdout + done.stderr
        assert "not confirmed" in done.stdout
    done = project.farm(*LIMIT, unhurt.name, "--baseline", first.name, "--no-confirm")
    assert done.returncode == 3

    (project.folder / "device_inventory.yaml").write_text(
        "boards:\n" + HOST.replace("this-host", "another")
    )
    done = project.farm(*LIMIT, unhurt.name, "--baseline", first.name)
    assert done.returncode == 3
    assert "this-host is not in" in done.stdout
