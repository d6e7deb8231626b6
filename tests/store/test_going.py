"""Who holds a run, and who waits for whom."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.store.going import going, is_ending, is_going, mark_ending
from tests.run.project import ROOT

HOLD = """
import sys
from pathlib import Path
from orchestrator.store.going import going, mark_ending
with going(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the run until its standard input ends."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    yield other
    other.kill()
    other.wait(10)


def test_a_run_that_goes_on_is_refused(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    assert (is_going(tmp_path), is_ending(tmp_path)) == (True, False)
    with pytest.raises(UserError, match="is going on"), going(tmp_path):
        pass


def test_a_run_that_is_about_to_end_is_waited_for(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    mark_ending(tmp_path)
    assert is_ending(tmp_path)
    told = []

    def waiting() -> None:
        told.append("waiting")
        assert holder.stdin is not None
        holder.stdin.close()

    with going(tmp_path, waiting):
        assert told == ["waiting"]
        assert not is_ending(tmp_path)  # the word of the one before counts no more
    assert not is_going(tmp_path)


def test_nobody_is_waited_for_where_nobody_holds_a_run(tmp_path: Path) -> None:
    mark_ending(tmp_path)
    assert not is_ending(tmp_path)
    with going(tmp_path, pytest.fail):
        mark_ending(tmp_path)
        seen = []
        looks = threading.Thread(target=lambda: seen.append(is_ending(tmp_path)))
        looks.start()
        looks.join()
        assert seen == [True]
