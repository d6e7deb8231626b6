"""`farm boards record`: nothing private in the file, and the replayed board is the recorded one."""

from __future__ import annotations

import getpass
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from orchestrator.agents.host.facts import describe
from orchestrator.agents.measurement.telemetry import Telemetry
from orchestrator.errors import BoardError, UserError
from orchestrator.fleet.boards.recording import Recording, cleaned, read_recording
from orchestrator.specs.inventory import load_inventory
from tests.cli.conftest import farm
from tests.cli.servers import EMPTY, Farm, adding, board_like
from tests.fleet.dressed import BOARDS, ONE_AND_OTHERS

__all__ = ["farm"]
RECORDED = sorted((Path(__file__).parents[1] / "recorded").glob("*.board.json"))
SERIAL, MAC = "290b7000000c0100000733815456354d", "c8:63:14:71:5a:01"
UUID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
PRIVATE = f"""\
processor\t: 0
Hardware\t: Khadas VIM3 of {socket.gethostname()}
Serial\t\t: {SERIAL}
note\t: {MAC} {UUID} /home/anna/venv
"""


@pytest.mark.needs("sshd")
@pytest.mark.parametrize("name", ONE_AND_OTHERS)
def test_a_recorded_board_is_replayed_as_itself(name: str, farm: Farm, tmp_path: Path) -> None:
    dressed = BOARDS[name]
    files = dressed.files | {"proc/cpuinfo": PRIVATE.encode(), "etc/machine-id": UUID.encode()}
    (tmp_path / "first").mkdir()
    (tmp_path / "again").mkdir()
    with board_like(tmp_path / "first", files) as (sshd, key):
        farm(*adding(sshd, key, "--name", "annas-board"))
        code, out, err = farm("record", "annas-board", "-o", "one.board.json")
        assert code == 0, out + err
        assert farm("record", "annas-board", "-o", "one.board.json")[0] == 2
    text = Path("one.board.json").read_text()
    secrets = {SERIAL, MAC, UUID, "annas-board", "/home/anna", socket.gethostname(), "127.0.0.1"}
    if len(getpass.getuser()) > 2:
        secrets.add(f"/{getpass.getuser()}/")
    found = [word for word in secrets if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text)]
    assert not found
    recording = read_recording(Path("one.board.json"))
    assert recording.kind == dressed.kind

    root = recording.lay_out(tmp_path / "laid")
    laid = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    Path("device_inventory.yaml").write_text(EMPTY)
    with board_like(tmp_path / "again", laid) as (sshd, key):
        farm(*adding(sshd, key, "--name", "replayed"))
        board = load_inventory("device_inventory.yaml").board("replayed")
        assert board is not None
        assert (board.kind, board.runtime.name) == (dressed.kind, dressed.runtime)
        farm("record", "replayed", "-o", "two.board.json")
    again = read_recording(Path("two.board.json"))
    for key in ("model", "compatible", "accelerators", "drivers", "clocks_mhz", "temperatures_c"):
        assert again.probe[key] == recording.probe[key], key
    assert again.hello["identity"] == recording.hello["identity"]
    assert again.files == recording.files
    assert again.present == recording.present


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_a_board_that_somebody_sent_is_what_it_was(path: Path, tmp_path: Path) -> None:
    recording = read_recording(path)
    root = str(recording.lay_out(tmp_path))
    told = describe(Telemetry(root), root)
    if "execution" not in recording.hello["identity"]:
        del told["identity"]["execution"]  # an agent of before did not tell it
    for name in ("identity", "model", "os", "drivers", "gpu"):
        assert told[name] == recording.hello[name], name


def made(**answer: Any) -> Recording:
    return cleaned("khadas-vim3", {}, {"hello": {}, "files": {}, "present": {}, **answer}, {"lab7"})


def test_names_are_taken_out_of_every_text_and_key() -> None:
    found = made(
        hello={"hostname": "lab7", "pid": 7, "os": "Image of lab7", "runtimes": {"lab7": "1"}},
        files={"/etc/os-release": "NAME=lab7\nlab7b stays\n"},
    )
    assert dict(found.hello) == {"os": "Image of removed", "runtimes": {"removed": "1"}}
    assert found.files["/etc/os-release"] == "NAME=removed\nlab7b stays\n"


def test_a_name_that_is_the_vendors_own_stays() -> None:
    tree = {"/proc/device-tree/compatible": "lab7,one\0"}
    assert made(files=tree).files == tree


def test_a_key_is_refused() -> None:
    with pytest.raises(BoardError, match="would hold a key"):
        made(files={"/etc/os-release": "ssh-ed25519 AAAAC3Nz"})


@pytest.mark.parametrize(
    "change",
    [
        {"farm_board_recording": 9},
        {"files": {"/../../etc/passwd": "x"}},
        {"present": {"relative": ""}},
        {"files": None},
    ],
)
def test_a_file_that_is_no_recording_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    data = json.loads(made().to_text()) | change
    path = tmp_path / "x.board.json"
    path.write_text(json.dumps(data))
    with pytest.raises(UserError):
        read_recording(path)
