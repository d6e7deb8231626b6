"""Between runs, a measurement is alone in its contention domain."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.errors import TransientError
from orchestrator.store.contention_lock import working_in

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, threading
from orchestrator.store.contention_lock import working_in
with working_in(sys.argv[1], alone=sys.argv[2] == "alone", stop=threading.Event()):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_LOCK_FOLDER", str(tmp_path))


def hold(domain: str, how: str) -> subprocess.Popen[str]:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, domain, how],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "in\n"
    return other


def enters(domain: str, *, alone: bool, within_s: float) -> bool:
    stop = threading.Event()
    threading.Timer(within_s, stop.set).start()
    try:
        with working_in(domain, alone=alone, stop=stop):
            return True
    except TransientError:
        return False


@pytest.mark.parametrize(
    ("theirs", "alone", "domain", "allowed"),
    [
        ("beside", False, "a", True),
        ("beside", True, "a", False),
        ("alone", False, "a", False),
        ("alone", True, "a", False),
        ("alone", True, "b", True),
    ],
)
def test_who_may_work_beside_whom(theirs: str, alone: bool, domain: str, allowed: bool) -> None:
    other = hold("a", theirs)
    try:
        assert enters(domain, alone=alone, within_s=0.5) is allowed
    finally:
        other.kill()
        other.wait()


def test_the_lock_is_for_all_users_and_no_trap_is_taken_for_it(tmp_path: Path) -> None:
    assert enters("a", alone=True, within_s=5)
    files = sorted(tmp_path.iterdir())
    assert [file.suffix for file in files] == [".gate", ".lock"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o666}
    files[1].unlink()
    files[1].symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TransientError, match="cannot open the lock file"):
        with working_in("a", alone=True, stop=threading.Event()):
            pass


def test_a_killed_run_frees_its_domain_at_once() -> None:
    other = hold("a", "alone")
    other.kill()
    other.wait()
    assert enters("a", alone=True, within_s=20)


def test_who_waits_to_be_alone_comes_before_later_arrivals_and_says_that_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("orchestrator.store.contention_lock.TELL_S", 0.2)
    other = hold("a", "beside")
    told, entered, stop = threading.Event(), threading.Event(), threading.Event()

    def measure() -> None:
        with working_in("a", alone=True, stop=stop, waiting=told.set):
            entered.set()
            stop.wait(5)

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        assert told.wait(5)
        assert not enters("a", alone=False, within_s=0.3)
        other.kill()
        other.wait()
        assert entered.wait(5)
    finally:
        other.kill()
        other.wait()
        stop.set()
        thread.join()
