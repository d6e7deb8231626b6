"""Whichever deadline of a board ends: the message says which one it was and how to raise it.

`queue_s` and `lost_s` are the scheduler's (tests/scheduling/test_core_boards.py); `build_s` is told
by what builds (tests/agents/test_tensorrt.py).
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.errors import BoardError, FarmError, TransientError
from orchestrator.fleet.boards.board import Address, Artifact, BoardLink
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.fleet.boards.health import limited
from orchestrator.fleet.session.client import Preprocessing
from orchestrator.fleet.transport.deadline import Deadline, Expired, Hung, named

FILE = b"what a timed runtime loads"


class Rows:
    """Images that are all zero."""

    def __len__(self) -> int:
        return 4

    def read(self, start: int, n: int) -> Any:
        return np.zeros((min(n, 4 - start), 8, 8, 3), np.uint8)


def artifact(**options: float) -> Artifact:
    taken = Preprocessing("NCHW", "RGB", (0.0,) * 3, (1.0,) * 3, 8, 8).to_meta()
    return Artifact("a.bin", hashlib.sha256(FILE).hexdigest(), "timed", options, taken)


@pytest.fixture
def link(tmp_path: Path) -> Iterator[Callable[..., BoardLink]]:
    """Makes the link to a board on this host, whose Python sleeps before words that it is given."""
    made: list[BoardLink] = []

    def make(sleeps_at: str = "", **deadlines: float) -> BoardLink:
        python = tmp_path / "python3"
        sleep = f'case " $* " in *"{sleeps_at}"*) sleep 20;; esac\n' if sleeps_at else ""
        python.write_text(f'#!/bin/sh\n{sleep}exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        limits = Deadlines(**deadlines)
        address = Address(
            "b",
            "local",
            python=str(python),
            workdir=str(tmp_path / "work"),
            lock="workdir",
            deadlines=limits,
        )
        made.append(BoardLink(address))
        return made[-1]

    yield make
    for each in made:
        each.close()


def limit(board: BoardLink, **deadlines: float) -> None:
    """Other deadlines from here on: what came before may take as long as a busy machine needs."""
    limits = replace(board.address.deadlines, **deadlines)
    board.address = replace(board.address, deadlines=limits)


def names(error: FarmError, name: str, seconds: float) -> None:
    assert f"({name}: {seconds:g} s)" in error.message, error.message
    assert f"""FARM_DEADLINES='{{"{name}": {2 * seconds:g}}}'""" in error.hint, error.hint


def test_connect_s() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        limits = Deadlines(connect_s=0.4)
        port = silent.getsockname()[1]
        far = BoardLink(Address("b", "ssh", "127.0.0.1", port, user="x", deadlines=limits))
        with pytest.raises(TransientError) as seen:
            far.connect()
    names(seen.value, "connect_s", 0.4)


def test_command_s(link: Callable[..., BoardLink]) -> None:
    with pytest.raises(TransientError) as seen:
        link("farm-python", command_s=0.2).connect()
    names(seen.value, "command_s", 0.2)


def test_transfer_s(link: Callable[..., BoardLink]) -> None:
    with pytest.raises(TransientError) as seen:
        link(transfer_s=0.002).connect()
    names(seen.value, "transfer_s", 0.002)


def test_open_s_of_the_agent(link: Callable[..., BoardLink]) -> None:
    with pytest.raises(TransientError) as seen:
        link(" serve ", open_s=0.3).connect()
    names(seen.value, "open_s", 0.3)


def test_open_s_of_an_artifact(link: Callable[..., BoardLink], tmp_path: Path) -> None:
    board = link()
    board.connect()
    board.deploy(artifact(), FILE)
    limit(board, open_s=0.4)
    file = tmp_path / "work" / "artifacts" / "a.bin"
    file.unlink()
    os.mkfifo(file)  # who reads it waits
    with pytest.raises(BoardError) as seen:
        board.open(artifact())
    names(seen.value, "open_s", 0.4)


def test_chunk_s_and_silence_s(link: Callable[..., BoardLink]) -> None:
    board = link(silence_s=3)
    facts = board.connect()
    board.deploy(artifact(), FILE)
    board.open(artifact(ms=60000))
    limit(board, chunk_s=0.3)
    with pytest.raises(BoardError) as seen:
        list(board.extract(Rows(), 2))
    names(seen.value, "chunk_s", 0.3)

    os.kill(facts.pid, signal.SIGSTOP)
    try:
        with pytest.raises(TransientError) as silent:
            board.open(artifact(ms=1))
    finally:
        os.kill(facts.pid, signal.SIGKILL)
    names(silent.value, "silence_s", 3)


def test_a_proof_has_shares_of_what_is_asked_for_and_says_so() -> None:
    def proof(**asked: float) -> Deadlines:
        return limited(Address("b", "local", deadlines=Deadlines(**asked))).deadlines

    usual, patient, hasty = proof(), proof(open_s=480), proof(open_s=3)
    assert 0 < usual.open_s < Deadlines.open_s
    assert patient.open_s == 4 * usual.open_s
    assert hasty.open_s == 3
    with pytest.raises(BoardError) as seen, named("open_s", 45, 120):
        raise Hung("b: hangs")
    assert seen.value.message == "b: hangs (45 s by open_s: 120 s)"
    assert '{"open_s": 240}' in seen.value.hint


def test_what_is_no_deadline_keeps_its_words_and_its_class() -> None:
    for error in (TransientError("b: cut", "h"), BoardError("b: full")):
        with pytest.raises(FarmError) as seen, named("chunk_s", 3):
            raise error
        assert seen.value is error
    for error, kind in ((Expired("b: late", "h"), TransientError), (Hung("b: hangs"), BoardError)):
        with pytest.raises(kind) as found, named("chunk_s", 3):
            raise error
        assert type(found.value) is kind
        names(found.value, "chunk_s", 3)
        assert error.hint in found.value.hint


def test_a_deadline_is_shared_by_what_it_is_for() -> None:
    deadline = Deadline(1000)
    first = deadline.remaining()
    assert 0 < deadline.remaining() <= first <= 1000
    assert not deadline.expired
    assert Deadline(0).expired
