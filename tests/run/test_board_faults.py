"""Rows of the fault table with servers of their own: a full disk, bytes changed on the way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.events import EventReader
from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.store.fleet_entries import Quarantined
from orchestrator.store.fleet_log import FleetLog
from tests.faulty_proxy import Relay
from tests.openssh import running_sshd
from tests.patience import ENDS_S
from tests.run.project import FLOAT, HOST, Project

pytestmark = [pytest.mark.slow, pytest.mark.soak]

ROW = (
    "  - {name: pool, boards: {kind: imx8mp}, toolchain: onnxruntime, "
    "quantization: uint8 per-tensor asymmetric}\n"
)
# 700 KiB hold the agent, but no artifact.
SMALL = """\
set -e
mkdir -p "$PLACE"
mount -t tmpfs -o size=700k none "$PLACE"
exec "$@"
"""


@pytest.mark.needs("sshd", "unshare")
def test_a_full_board_is_left_to_another_and_changed_bytes_change_no_feature(
    tmp_path: Path,
) -> None:
    as_root = ["-m"] if os.geteuid() == 0 else ["-Urm"]
    if subprocess.run(["unshare", *as_root, "true"], check=False).returncode:
        pytest.skip("no mount namespaces for this user here")
    project, key = Project(tmp_path), tmp_path / "key"
    public = ensure_key(key)
    with ExitStack() as stack:
        for name in ("full", "good"):
            (tmp_path / name).mkdir()
        wrapped = ["unshare", *as_root, "sh", "-c", SMALL, "sh"]
        place = {**os.environ, "PLACE": str(tmp_path / "full-work")}
        full = stack.enter_context(
            running_sshd(tmp_path / "full", public, wrapped=(wrapped, place))
        )
        good = stack.enter_context(running_sshd(tmp_path / "good", public))
        relay = stack.enter_context(Relay((good.host, good.port)))

        def board(name: str, sshd: object, port: int) -> str:
            p = vars(sshd)
            return (
                f"  - name: {name}\n    kind: imx8mp\n    transport:\n      ssh:\n"
                f"        host: {p['host']}\n        port: {port}\n        user: {p['user']}\n"
                f"        key: {key}\n        host_key: {p['host_key']!r}\n"
                f"    runtime: {{name: onnxruntime, faithful: true}}\n    lock: workdir\n"
                f"    python: {sys.executable}\n    workdir: {tmp_path / name}-work\n"
            )

        project.write(
            FLOAT + ROW,
            HOST + board("full", full, full.port) + board("good", good, relay.port),
            300,
            30,
        )
        run = project.begin()
        try:
            _corrupt_in_the_middle(project, run, relay)
            assert run.wait(ENDS_S) == 0, (tmp_path / "said.txt").read_text()[-4000:]
        finally:
            run.kill()
        keys = project.cells()["full"]["provenance"]["keys"]
        got = [(project.held("extract", keys[r]) / "features.npy").read_bytes() for r in ROLES]
        entries = list(FleetLog(tmp_path / "runs").entries())
        (quarantined,) = (e for e in entries if isinstance(e, Quarantined))
        assert quarantined.board == "full"
        assert "no room" in quarantined.reason
        retried = [e for e in project.events() if e.event == "step_failed" and e.board == "good"]
        assert retried
        assert all(e.retry for e in retried)

        # The same again, undisturbed.
        for stage in ("extract", "score", "compare"):
            for folder in (tmp_path / ".farm" / "store" / stage).glob("*"):
                subprocess.run(["rm", "-rf", str(folder)], check=True)
        again = project.farm("run")
        assert again.returncode == 0, again.stdout + again.stderr
        keys = project.cells()["full"]["provenance"]["keys"]
        calm = [(project.held("extract", keys[r]) / "features.npy").read_bytes() for r in ROLES]
        assert got == calm


ROLES = ("gallery", "probe")


def _corrupt_in_the_middle(project: Project, run: subprocess.Popen[str], relay: Relay) -> None:
    """Change a byte on its way to the head while features are coming."""
    end = time.monotonic() + ENDS_S
    while not (project.latest / "events.jsonl").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    reader = EventReader(project.latest.resolve() / "events.jsonl")
    while not any(
        e.event == "step_progress" and e.step.startswith("extract/full") for e in reader.new()
    ):
        assert run.poll() is None, (project.folder / "said.txt").read_text()[-3000:]
        assert time.monotonic() < end
        time.sleep(0.02)
    relay.corrupt("down")
