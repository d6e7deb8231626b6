"""`farm doctor` and `farm schema` from the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.fleet.boards.entry import identity
from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.specs.inventory import load_inventory
from orchestrator.store.fleet_entries import Checked, Drained, Proof
from orchestrator.store.fleet_log import FleetLog

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("matrix.yaml", "device_inventory.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "models", tmp_path / "models")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("FARM_TENGINE_BIN_DIR", raising=False)
    return tmp_path


def findings(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, str]]]:
    code = main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    return code, {each["about"]: each for each in found}


def test_the_default_project_lacks_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = findings(capsys)
    assert code == 0, found
    assert found["matrix.yaml"]["state"] == "ok"
    assert found["rv1126"]["state"] == "note"
    assert found["rv1126"]["fix"] == "farm boards check rv1126"
    assert found["rv1126"]["mend"] == found["rv1126"]["fix"], "its old name works until 0.3"
    assert not (project / ".farm").exists()


def test_each_thing_missing_comes_with_what_mends_it(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_key = project / "key"
    ensure_key(open_key)
    open_key.chmod(0o644)
    inventory = project / "device_inventory.yaml"
    with inventory.open("a") as file:
        file.write(
            "\n  - {name: vim3-lab, kind: khadas-vim3, transport: {ssh: {host: 10.0.0.7}}}\n"
            "  - {name: rk, kind: rk3588, transport: {ssh: {host: 10.0.0.8, key: ~/key}},\n"
            "     recovery: {power: [no-such-pdu, off]}}\n"
        )
    log = FleetLog(project / "runs")
    log.append(Drained(board="rv1126", by="anna@lab", reason="demo"))
    board = load_inventory(inventory).board("imx8mp")
    assert board is not None
    proof = Proof(runtime="onnxruntime", proved=False, reason="hangs")
    log.append(
        Checked(
            board="imx8mp",
            identity=identity(board),
            state="quarantined",
            reason="\x1b[31mhangs",
            proofs=(proof,),
        )
    )
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    for words in (
        "ssh-keygen -t ed25519",
        "ssh-copy-id -p 22 10.0.0.7",
        "is not pinned",
        "chmod 600",
        "FARM_TENGINE_BIN_DIR=",
        "farm boards undrain rv1126",
        "quarantined: hangs",
        "its power hook no-such-pdu is not a program here",
        "farm boards check imx8mp",
    ):
        assert words in out, words
    assert "\x1b" not in out


def test_wrong_files_are_findings(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "matrix.yaml").write_text("entreis: []\n")
    (project / "device_inventory.yaml").unlink()
    code, found = findings(capsys)
    assert code == 1
    assert "matrix.yaml:1: " in found["matrix.yaml"]["text"]
    assert found["device_inventory.yaml"]["fix"] == "farm boards add user@host"


def test_schemas_are_printed_and_written(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "inventory"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "farm: inventory"
    assert main(["schema", "--out", "schemas"]) == 0
    assert "yaml-language-server" in capsys.readouterr().out
    names = sorted(path.name for path in (project / "schemas").iterdir())
    assert names == [f"farm-{n}.schema.json" for n in ("inventory", "kind", "matrix", "model")]
    assert main(["schema", "inventroy"]) == 2
    assert "did you mean 'inventory'" in capsys.readouterr().err
