"""The supervisor leaves nothing behind that the driver started, whatever becomes of the driver."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from orchestrator.fleet.transport.processes import is_zombie

# A driver that is killed at once; its grandchild ignores every polite signal, in its own session.
SUPERVISED = """
import os, signal, subprocess, sys, time
from pathlib import Path
from orchestrator.driving import supervisor
from orchestrator.store.going import going
supervisor.ORPHANS_S = 0.2
folder = Path(sys.argv[1])
above = supervisor.Supervisor(folder)
child = os.fork()
if child == 0:
    holds = going(folder)
    above.planned(holds.__enter__())
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    started = subprocess.Popen([sys.executable, "-c", stubborn], start_new_session=True)
    Path(sys.argv[2]).write_text(str(started.pid))
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(above.supervise(child))
"""


def test_what_a_killed_driver_leaves_is_ended(tmp_path: Path) -> None:
    events, pid = tmp_path / "events.jsonl", tmp_path / "pid"
    arguments = [sys.executable, "-c", SUPERVISED, str(tmp_path), str(pid)]
    # Its standard input ends when whoever started it does.
    with subprocess.Popen(arguments, stdin=subprocess.PIPE) as run:
        assert run.wait(120) == 1
    left = int(pid.read_text())
    assert not Path(f"/proc/{left}").exists() or is_zombie(left)
    assert "signal 9 killed the driver" in events.read_text()
