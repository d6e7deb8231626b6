"""Which end of a process of Ray's is seen, and what is not taken for one."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from orchestrator.cluster import watch
from orchestrator.cluster.watch import ProcessWatch


@pytest.fixture(autouse=True)
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked at but by `look`."""
    monkeypatch.setattr(watch, "LOOK_EVERY_S", 3600.0)


def listening() -> tuple[socket.socket, str]:
    server = socket.create_server(("127.0.0.1", 0), backlog=64)
    return server, f"127.0.0.1:{server.getsockname()[1]}"


def test_a_process_that_listens_no_more_has_ended() -> None:
    (gcs, gcs_address), (raylet, raylet_address) = listening(), listening()
    seen = ProcessWatch({"gcs_server": gcs_address, "raylet": raylet_address})
    with gcs:
        with raylet:
            seen.look()
            assert seen.ended() == ""
        seen.look()
        assert seen.ended() == "raylet"
    seen.close()


def test_silence_counts_after_a_while_and_an_answer_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(watch, "REACH_S", 0.1)
    with contextlib.ExitStack() as stack:
        # Where nobody accepts, the kernel takes a connection or two and answers no more.
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        seen = ProcessWatch({"gcs_server": f"127.0.0.1:{full.getsockname()[1]}"})
        seen.look()
        assert seen.ended() == ""
        late = time.monotonic() + watch.SILENT_S
        monkeypatch.setattr(watch.time, "monotonic", lambda: late)
        assert seen.ended() == "gcs_server"
    server, seen._addresses["gcs_server"] = listening()
    with server:
        seen.look()
    assert seen.ended() == ""
    seen.close()
