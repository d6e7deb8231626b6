"""Stopping a run, here and on a server; and what a server that is no friend may do to a client."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from orchestrator.errors import UserError
from orchestrator.remote.address import Server
from orchestrator.remote.folder import REMOTE, Where, make_remote, where_of
from orchestrator.remote.runs import Remote
from orchestrator.request import Request
from orchestrator.store.fleet_log import FleetLog
from tests.bundle.made import matrix
from tests.patience import ENDS_S
from tests.reporting.made import Row, Size, make_run

from .client import nothing
from .site import ANN, Site, serving

HOLDS = """
import sys, time
from pathlib import Path
from orchestrator.store.going import going
with going(Path(sys.argv[1])):
    print("holds", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def carried(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Whoever carries on the run `a`, as far as another process sees it."""
    folder = make_run(tmp_path, "a", [Row("vim3")], size=Size(40, 20), finish=False)
    command = [sys.executable, "-c", HOLDS, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holds\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_a_run_of_this_computer_is_stopped(
    tmp_path: Path,
    carried: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["cancel", "a"]) == 0
    assert "`farm resume a` goes on with it" in capsys.readouterr().out
    assert carried.wait(ENDS_S) == -signal.SIGTERM
    assert main(["cancel", "a"]) == 2
    assert "does not go on" in capsys.readouterr().err


def test_a_run_of_a_server_is_stopped_and_noted(
    tmp_path: Path,
    carried: subprocess.Popen[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    laptop = tmp_path / "laptop"
    with serving(tmp_path, actions=True) as site:
        link = f"http://{site.host}"
        where = Where(link, "a")
        matrix(laptop)
        make_remote(laptop / "runs" / "a", where, Request("m", "", "", ""))
        monkeypatch.chdir(laptop)
        monkeypatch.setenv("FARM_TOKEN", site.token)
        assert main(["cancel", "a"]) == 0
        assert carried.wait(ENDS_S) == -signal.SIGTERM
        assert main(["cancel", "a"]) == 2
        said = capsys.readouterr()
        assert "run a does not go on" in said.err
        assert site.token not in said.out + said.err
        noted = [(e.event, e.by) for e in FleetLog(site.project.runs).entries()]
        assert noted == [("asked", ANN)]
        assert main(["watch", "a"]) == 1, "nobody carries it on"
        assert "farm resume a" in capsys.readouterr().err


def test_the_token_is_in_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    make_remote(folder, Where("https://x", "a", "1" * 32, "/home/ann/.token"), Request(*"mnop"))
    assert where_of(folder) == Where("https://x", "a", "1" * 32, "/home/ann/.token")
    assert set(json.loads((folder / REMOTE).read_text())) == {"url", "run", "job", "token_file"}
    (folder / REMOTE).unlink()
    with pytest.raises(UserError, match="is a run of this computer"):
        make_remote(folder, Where("https://x", "a"), Request(*"mnop"))


@pytest.mark.parametrize("name", ["../../x", "/etc", "", "a/b", ".", "..", "x" * 101, "\x1b[31m"])
def test_no_server_names_a_folder_elsewhere(
    tmp_path: Path, site: Site, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(Server(f"http://{site.host}", site.token), tmp_path / "runs", nothing)
    monkeypatch.setattr(remote, "run", lambda _: {"run": name, "going": True})
    with pytest.raises(UserError, match="as no run is called"):
        remote.attach("latest")
    assert not (tmp_path / "runs").exists()
