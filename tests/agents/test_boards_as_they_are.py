"""A small board in one: dropbear without SFTP, a read-only root, a calendar in 1970."""

import os
import sys

import pytest

from orchestrator.agents.host import processes
from orchestrator.errors import BoardError
from orchestrator.fleet.boards.addressing import contact
from orchestrator.fleet.boards.board import Address, BoardBusy, BoardLink
from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.fleet.session.image_cache import offer
from tests.dropbear import running_dropbear

from .conftest import Rows, faces, features, timed_features
from .over_ssh import LIMITS, started, timed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.needs("dropbear", "dropbearkey", "faketime", "unshare"),
    pytest.mark.skipif(os.geteuid() != 0, reason="mounts a read-only root, which takes root"),
]
SIZE = 32


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """What makes addresses on such a board, from a workdir, and the folder that can be written."""
    folder = tmp_path_factory.mktemp("dropbear")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec faketime -f "1970-01-01 00:00:20" {sys.executable} "$@"\n')
    python.chmod(0o755)
    key = folder / "key"
    with running_dropbear(folder, ensure_key(key)) as (server, data):

        def address(workdir, **changes):
            values = {
                "host": server.host,
                "port": server.port,
                "user": server.user,
                "key_file": str(key),
                "host_key": server.host_key,
                "python": str(python),
                "workdir": str(workdir),
                "deadlines": LIMITS,
                **changes,
            }
            return Address("rv1126", "ssh", **values)

        yield address, data


def extracted(address, artifact, data, images):
    link = BoardLink(address)
    facts = link.connect()
    assert not link.deploy(artifact, data)
    model = link.open(artifact)
    pids = started(facts.pid, model.pid)

    def keep():
        return offer(Rows(images), 0, SIZE * SIZE * 3)

    got = features(link.extract(Rows(images), 16, keep))
    link.close()
    assert processes.wait_gone(pids, 20.0)
    return got


def test_the_main_job(board):
    address, data = board
    images = faces(300, SIZE)
    place = address(data / "farm", images="keep")
    for dim in (8, 24):
        got = extracted(place, timed(b"x" * dim, SIZE, ms=0, dim=dim), b"x" * dim, images)
        assert got.tobytes() == timed_features(images, dim, SIZE).tobytes()
    with contact(address(data / "farm")) as commands:
        commands.transport.put(b"by cat", f"{data}/file", mode=0o600, timeout_s=10)
        assert not commands.transport.has_sftp
        told = commands.transport.run(f"ls {data}/farm {data}/farm/images", timeout_s=10).stdout
        assert told.count(b".pyz") == 1
        assert b".part" not in told
        assert "images" in commands.wipe()
        assert commands.transport.run("touch /nowhere", timeout_s=10).status != 0


def test_the_boards_lock_lies_in_memory(board):
    address, data = board
    one = BoardLink(address(data / "one", owner="anna"))
    two = BoardLink(address(data / "two", owner="ben"))
    one.connect()
    with pytest.raises(BoardBusy, match=r"in use by anna since 1970-01-01T\d\d:\d\d:\d\dZ"):
        two.connect()
    with contact(address(data / "two")) as commands:
        assert commands.transport.run("test -e /dev/shm/farm-board.lock", timeout_s=10).status == 0
        holder = commands.who()
        assert holder["owner"] == "anna"
        assert 0 < holder["lease_left_s"] <= 3 * LIMITS.silence_s
        assert commands.release("noon")["owner"] == "anna"
    one.close()
    two.connect()
    two.close()


def test_a_workdir_on_the_read_only_root(board):
    address, data = board
    with pytest.raises(BoardError, match="Read-only file system") as caught:
        BoardLink(address(data.parent / "nowhere")).connect()
    assert "`workdir` of the board's entry" in caught.value.hint
