"""Where farm is called: a project found upward, folders that cannot be used, Ctrl-C."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from orchestrator.cli.main import command_line, main
from orchestrator.cli.parsing.root import find_root
from orchestrator.errors import UserError
from orchestrator.preflight import model
from orchestrator.preflight.model import _fresh
from orchestrator.specs.model import ModelSpec
from orchestrator.store.places import check_place, check_writable
from tests.reporting.made import Row, make_run

ROOT = Path(__file__).resolve().parents[2]
# As the installed script does it; before its first line Ctrl-C is Python's.
PROGRAM = "from orchestrator.cli.program import farm; print('begun', flush=True); farm()"
REF = Row("ref", "This host", "host", reference=True, noise=0.8)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The default project in a folder of its own, with one kept run."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("matrix.yaml", "device_inventory.yaml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "models", folder / "models")
    make_run(folder, "20260101-aa", [REF])
    (folder / "deep" / "er").mkdir(parents=True)
    return folder


def farm(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(list(words))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_project_is_found_upward_and_what_is_typed_is_meant_from_here(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project / "deep" / "er")
    code, out, err = farm(capsys, "runs", "--json")
    assert code == 0
    assert [run["run"] for run in json.loads(out)] == ["20260101-aa"]
    assert f"farm: in the project {project}" in err
    monkeypatch.chdir(project / "deep" / "er")
    code, out, _ = farm(capsys, "report", "--output", "mine.html")
    assert code == 0
    assert out.strip() == str(project / "deep" / "er" / "mine.html")
    assert (project / "deep" / "er" / "mine.html").exists()
    monkeypatch.chdir(project / "deep")
    code, out, _ = farm(capsys, "plan", "--json")
    assert (code, len(json.loads(out)["rows"])) == (0, 8)


@pytest.mark.parametrize("command", [("runs", "--row", "x"), ("report",), ("plan",), ("resume",)])
def test_outside_a_project_init_is_named(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = farm(capsys, *command)
    assert code == 2
    assert "`farm init` begins one" in err


def test_outside_a_project_an_empty_list_of_runs_names_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = farm(capsys, "runs")
    assert code == 0
    assert "`farm init` begins one" in " ".join(out.split())


def test_a_missing_word_is_answered_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = farm(capsys, "compare")
    assert code == 2
    assert "Missing argument 'A'." in err
    assert "for example: farm compare " in err


def test_a_boards_own_folder_and_a_strangers_project_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".farm" / "images").mkdir(parents=True)
    below = tmp_path / "below"
    below.mkdir()
    assert find_root(below) is None
    (tmp_path / "matrix.yaml").touch()
    assert find_root(below) == tmp_path
    mode = tmp_path.stat().st_mode
    tmp_path.chmod(0o1777)
    assert find_root(below) is None
    assert find_root(tmp_path) == tmp_path
    tmp_path.chmod(mode)
    assert find_root(below) == tmp_path
    stranger = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    assert find_root(below) is None
    assert find_root(tmp_path) == tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ("gc", "--dry-run"),
        ("gc",),
        ("runs",),
        ("boards", "list"),
        ("doctor",),
        ("report",),
    ],
)
def test_who_only_reads_makes_no_folder(
    command: tuple[str, ...],
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.rmtree(project / ".farm")
    monkeypatch.chdir(project)
    main(list(command))
    capsys.readouterr()
    assert not (project / ".farm").exists()


def test_a_plan_keeps_what_it_found_of_the_model_and_makes_nothing_else(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (".farm", "runs"):
        shutil.rmtree(project / name)
    monkeypatch.chdir(project)
    before = set(project.rglob("*"))
    computed: list[str] = []

    def fresh(spec: ModelSpec, *rest: Any) -> Any:
        computed.append(spec.name)
        return _fresh(spec, *rest)

    monkeypatch.setattr(model, "_fresh", fresh)
    for _ in range(2):  # as two processes: only the disk is remembered
        monkeypatch.setattr(model, "_remembered", {})
        assert farm(capsys, "plan")[0] == 0
    assert computed == ["synthface-ir"]
    made = {str(path.relative_to(project)) for path in set(project.rglob("*")) - before}
    assert {".farm", ".farm/models", ".farm/models.json"} < made
    (record,) = made - {".farm", ".farm/models", ".farm/models.json"}
    assert record.startswith(".farm/models/")
    assert record.endswith(".json")


NAMED = ("add", "show", "check", "who", "drain", "undrain", "record", "unreserve")
ARGUMENTS = {
    **{("boards", name): [name] for name in NAMED},
    **{("boards", name): ["x"] for name in ("remove", "wipe")},
    ("boards", "release"): ["x", "--reason", "y"],
    ("boards", "emulate"): ["x", "--kind", "khadas-vim3"],
    ("boards", "reserve"): ["x", "--for", "1h", "--why", "y"],
    ("cancel",): ["x"],
    ("compare",): ["a", "b"],
    ("explain",): ["ref"],
    ("gate",): ["--max-drop", "rank1=1"],
}


def with_option(option: str) -> list[tuple[str, ...]]:
    """Every command that has an option."""

    def found(group: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if isinstance(group, click.Group):
            ctx = click.Context(group)
            for name in group.list_commands(ctx):
                command = group.get_command(ctx, name)
                assert command is not None
                yield from found(command, (*words, name))
        elif any(option in param.opts for param in group.params):
            yield words

    return list(found(command_line(), ()))


@pytest.mark.parametrize("option", ["--state", "--runs"])
def test_a_file_in_the_place_of_a_folder_is_wrong_input_for_every_command(
    option: str, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    (project / "file").touch()
    commands = with_option(option)
    assert len(commands) > 15
    for words in commands:
        code, _, err = farm(capsys, *words, *ARGUMENTS.get(words, []), option, "file/below")
        assert code == 2, (words, err)
        assert f"{option} file/below cannot be used: file is a file, not a folder" in err
        assert f"{option} DIR" in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    "words", [("boards", "drain", "rv1126"), ("boards", "check", "this-host")], ids=" ".join
)
def test_a_fleet_log_that_cannot_be_written_is_wrong_input(
    words: tuple[str, ...],
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project)
    code, _, err = farm(capsys, *words, "--runs", "/proc/farm")
    assert (code, "--runs /proc/farm cannot be used" in err) == (2, True), err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_wrong_input(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """/proc takes no folder of anybody's, root's neither."""
    with pytest.raises(UserError, match="--state /proc/farm cannot be used: cannot write there"):
        check_writable(Path("/proc/farm"), "--state")
    check_place(Path("/proc/farm"), "--state")
    monkeypatch.chdir(project)
    for command in (("run",), ("plan", "--predict", "--limit", "10")):
        code, _, err = farm(capsys, *command, "--state", "/proc/farm")
        assert (code, "--state /proc/farm cannot be used" in err) == (2, True)
    code, _, err = farm(capsys, "run", "--runs", "/proc/farm")
    assert (code, "/proc/farm" in err, "--runs" in err) == (2, True, True)
    assert not (project / "runs" / "latest" / "driver.log").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("plan",),
        pytest.param(("plan", "--predict", "--limit", "200"), marks=pytest.mark.slow),
        pytest.param(("explain", "rv1126"), marks=pytest.mark.slow),
        pytest.param(("report",), marks=pytest.mark.slow),
        pytest.param(("runs",), marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_ends_every_command_in_one_line(command: tuple[str, ...], project: Path) -> None:
    """On a terminal, where everything that a command has started gets the signal too."""
    ended = 0
    for after in (0.05, 0.5, 1.5):
        code, said = interrupted(command, project, after)
        if code == 0:
            continue  # it was quicker
        ended += 1
        assert code == 130, said
        assert "Traceback" not in said
        assert said.count("farm: stopped by Ctrl-C") == 1, said
    assert ended


def interrupted(command: tuple[str, ...], folder: Path, after: float) -> tuple[int, str]:
    """Exit code and output of a command that gets Ctrl-C on its terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        environment = {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}
        environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"}
        words = [sys.executable, "-c", PROGRAM, *command]
        os.execve(sys.executable, words, environment)
    said = bytearray()
    sent, end = False, time.monotonic() + 60
    began: float | None = None
    os.set_blocking(terminal, False)
    while time.monotonic() < end:
        if began is None and b"begun" in said:
            began = time.monotonic()
        if not sent and began is not None and time.monotonic() - began > after:
            os.write(terminal, b"\x03")
            sent = True
        try:
            data = os.read(terminal, 65536)
            if not data:
                break
            said += data
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # the other end was closed
            break
    else:
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode(errors="replace")


@pytest.mark.slow
def test_a_project_without_a_terminal_stops_as_well(project: Path) -> None:
    words = [sys.executable, "-m", "orchestrator.cli.main", "plan", "--predict", "--limit", "200"]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(
        words, cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert run.stdout is not None
    while b"images/" not in run.stdout.readline():
        assert run.poll() is None
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert (run.returncode, err.decode()) == (130, "farm: stopped by Ctrl-C\n")
