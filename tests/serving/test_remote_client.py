"""The client as a process and from Python: detached, come back to, and what a run becomes here."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import orchestrator as farm
from orchestrator.cli.main import main
from orchestrator.errors import UserError
from orchestrator.fleet.boards.person import AS_WHO, person
from orchestrator.remote.address import Server
from orchestrator.remote.handle import RemoteRun
from orchestrator.remote.runs import Remote
from orchestrator.reporting.export.files import write_results
from orchestrator.store.collecting import alone
from tests.bundle.made import ROOT, matrix
from tests.patience import ENDS_S
from tests.reporting.made import Row, Size, make_run

from .client import nothing
from .site import Site, serving


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    root = tmp_path / "server"
    root.mkdir()
    make_run(root, "20260101-a", [Row("vim3")], size=Size(40, 20))
    with serving(root, actions=True) as found:
        yield found


@pytest.fixture
def laptop(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nothing but a matrix; the server has no board that it names."""
    folder = tmp_path / "laptop"
    matrix(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("FARM_TOKEN", site.token)
    return folder


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_client_that_is_ended_while_the_server_plans_says_how_to_come_back(
    laptop: Path, site: Site, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "orchestrator.cli.main", "run"]
    with alone(site.project.state / "store"):  # so long the server cannot plan
        client = subprocess.Popen(
            [*command, "--remote", f"http://{site.host}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        end = time.monotonic() + ENDS_S
        while not (found := list(laptop.glob("runs/2*/remote.json"))):
            assert time.monotonic() < end
            assert client.poll() is None, client.communicate()
            time.sleep(0.005)
        client.send_signal(number)
        said, _ = client.communicate(timeout=ENDS_S)
    name = found[0].parent.name
    assert client.returncode == 128 + number, said
    assert f"detached: run {name} goes on at http://{site.host}" in said
    assert f"come back: farm watch {name}" in said
    assert main(["watch", name]) == 2
    refused = capsys.readouterr().err
    assert "matrix.yaml:4: " in refused
    assert "this-host" in refused


def test_a_run_that_is_refused_leaves_nothing_here(
    laptop: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(laptop, "20250101-before", [Row("vim3")], size=Size(40, 20))
    shutil.move(laptop / "matrix.yaml", laptop / "sub.yaml")
    assert main(["run", "sub.yaml", "--remote", f"http://{site.host}"]) == 2
    assert "farm: sub.yaml:4: " in capsys.readouterr().err
    assert sorted(p.name for p in (laptop / "runs").iterdir()) == ["20250101-before", "latest"]
    assert os.readlink(laptop / "runs" / "latest") == "20250101-before"


def test_a_run_of_the_server_is_watched_into_a_folder_here(
    laptop: Path, site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    there = site.project.runs / "20260101-a"
    write_results(there)
    for words in (["latest"], ["20260101-a"]):
        assert main(["watch", *words, "--remote", f"http://{site.host}", "--json"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len((there / "events.jsonl").read_text().splitlines())
    here = laptop / "runs" / "latest"
    assert os.readlink(here) == "20260101-a"
    for name in ("events.jsonl", "results.json", "table.md"):
        assert (here / name).read_bytes() == (there / name).read_bytes()
    assert "<html" in (here / "report.html").read_text()
    assert main(["runs", "--json"]) == 0
    assert '"complete"' in capsys.readouterr().out


def test_from_python(laptop: Path, site: Site) -> None:
    link = f"http://{site.host}"
    with pytest.raises(UserError, match="does not know this token"):
        farm.run("matrix.yaml", remote=f"{link}/?token=wrong", progress=False)
    with pytest.raises(UserError, match=r"none\.yaml: no such file"):
        farm.run("none.yaml", remote=link, progress=False)
    with pytest.raises(UserError, match="are the server's"):
        farm.run("matrix.yaml", remote=link, ray_address="x:1")  # type: ignore[call-overload]
    remote = Remote(Server(link, site.token), laptop / "runs", nothing)
    run = RemoteRun(remote, remote.attach("20260101-a"), progress=False)
    assert not run.is_going
    done = run.wait()
    assert done.outcome == "complete"
    assert [row.name for row in done.results] == ["vim3"]
    assert site.token not in repr(run)
    with pytest.raises(UserError, match="does not go on"):
        run.cancel()


def test_a_run_here_loads_nothing_of_it(tmp_path: Path) -> None:
    script = """
import sys
from orchestrator.cli.main import main
assert main(["run", "none.yaml", "--inventory", "none.yaml"]) == 2
loaded = ("urllib3", "orchestrator.remote", "orchestrator.bundle", "orchestrator.serving")
print([name for name in sys.modules if name.startswith(loaded)])
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=ENDS_S,
    )
    assert done.stdout == "[]\n", done.stderr


def test_whoever_asked_is_who_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AS_WHO, "ann@lab")
    assert person() == "ann@lab"
    monkeypatch.setenv(AS_WHO, "")
    assert "@" in person()
