"""Images that stay on the board: sent once, verified before each use, and only when asked for."""

import itertools
import os
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.agents.host import processes
from orchestrator.agents.protocol import wire
from orchestrator.agents.storage import image_cache as kept
from orchestrator.errors import TransientError
from orchestrator.fleet.session import image_cache as session_kept
from orchestrator.fleet.session.image_cache import missing, offer

from . import conftest
from .conftest import Rows, features, open_timed
from .pipes import agent, session

SIZE = 32
IMAGE = SIZE * SIZE * 3


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(session_kept, "BLOCK_BYTES", 10 * IMAGE)


def faces(count):
    return conftest.faces(count, SIZE)


def timed_features(images, dim):
    return conftest.timed_features(images, dim, SIZE)


class Counting:
    """A channel that counts what is written."""

    def __init__(self, channel):
        self._channel = channel
        self.sent = 0

    def __getattr__(self, name):
        return getattr(self._channel, name)

    def write(self, data):
        self.sent += len(data)
        self._channel.write(data)


def extracted(tmp_path, artifact, images, first=0, dim=16, **options):
    """Features of a fresh agent, and how many bytes it was sent."""
    with agent(tmp_path, **options) as channel:
        counting = Counting(channel)
        with session(counting) as made:
            made.hello()
            open_timed(made, artifact, SIZE, ms=0, dim=dim)
            keep = offer(Rows(images), first, IMAGE)
            before = counting.sent
            got = features(made.extract(Rows(images), timeout_s=10, keep=keep))
            return got, counting.sent - before


def blocks(tmp_path):
    folder = tmp_path / "images"
    return sorted(folder.iterdir()) if folder.exists() else []


def test_the_second_encoder_does_not_cross_the_link_again(tmp_path, artifact):
    images = faces(95)
    one, sent = extracted(tmp_path, artifact, images)
    assert sent > 95 * IMAGE
    assert [path.stat().st_size for path in blocks(tmp_path)].count(10 * IMAGE) == 9
    two, sent = extracted(tmp_path, artifact, images, dim=64)
    assert sent < 2000
    assert one.tobytes() == timed_features(images, 16).tobytes()
    assert two.tobytes() == timed_features(images, 64).tobytes()


def test_a_part_of_a_set_shares_its_blocks(tmp_path, artifact):
    images = faces(60)
    extracted(tmp_path, artifact, images)
    got, sent = extracted(tmp_path, artifact, images[15:], first=15)
    # Of the block from 10 to 20, only the half is asked for: under another name.
    assert 5 * IMAGE < sent < 6 * IMAGE
    assert got.tobytes() == timed_features(images[15:], 16).tobytes()


def test_what_was_damaged_is_noticed_and_sent_again(tmp_path, artifact):
    images = faces(50)
    extracted(tmp_path, artifact, images)
    for path in (blocks(tmp_path)[1], blocks(tmp_path)[3]):
        data = bytearray(path.read_bytes())
        data[777] ^= 1
        path.write_bytes(data)
    blocks(tmp_path)[4].write_bytes(b"cut short")
    got, sent = extracted(tmp_path, artifact, images)
    assert got.tobytes() == timed_features(images, 16).tobytes()
    assert 30 * IMAGE < sent < 35 * IMAGE
    assert extracted(tmp_path, artifact, images)[1] < 20 * IMAGE


def test_a_killed_run_leaves_nothing_half_received(tmp_path, artifact, monkeypatch):
    monkeypatch.setattr(session_kept, "BLOCK_BYTES", 60 * IMAGE)
    images = faces(400)
    with agent(tmp_path) as channel, session(channel) as made:
        pids = [made.hello().pid, open_timed(made, artifact, SIZE, ms=5, dim=4).pid]
        found = [(pid, processes.start_time(pid)) for pid in pids]
        job = made.extract(Rows(images), chunk=8, timeout_s=10, keep=offer(Rows(images), 0, IMAGE))
        for block in job:
            if block.start > 66:
                break
        os.kill(pids[0], signal.SIGKILL)
        with pytest.raises(TransientError):
            list(job)
        assert processes.wait_gone(found, 20.0)
    assert any(path.name.endswith(".part") for path in blocks(tmp_path))
    whole = [path for path in blocks(tmp_path) if not path.name.endswith(".part")]
    assert whole
    with agent(tmp_path) as channel, session(channel) as made:
        made.hello()
    assert blocks(tmp_path) == whole
    with agent(tmp_path, images="clear") as channel, session(channel) as made:
        made.hello()
    assert not (tmp_path / "images").exists()


def test_nothing_touches_the_disk_unless_asked_for(tmp_path, artifact):
    with agent(tmp_path) as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, SIZE, ms=0, dim=4)
        features(made.extract(Rows(faces(50)), timeout_s=5))
        assert not (tmp_path / "images").exists()


def test_a_full_disk_keeps_nothing_and_stops_nothing(tmp_path, artifact):
    """A limit on the size of files stands for a full disk: writing fails in the middle."""
    images = faces(50)
    before = f"ulimit -f {4 * IMAGE // 512}; trap '' XFSZ; "
    got, _ = extracted(tmp_path, artifact, images, before=before)
    assert got.tobytes() == timed_features(images, 16).tobytes()
    assert blocks(tmp_path) == []


def test_room_is_bounded_and_the_oldest_go_first(tmp_path, monkeypatch):
    for age, name in enumerate("abcd"):
        path = tmp_path / (name * 64)
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 1000 - age))
    monkeypatch.setattr(kept, "LIMIT", 450)
    room = kept._Room(str(tmp_path), {"d" * 64})
    assert room.make(100, "new")
    assert sorted(path.name[0] for path in tmp_path.iterdir()) == ["a", "b", "d"]
    assert not room.make(500, "too big")
    assert [path.name[0] for path in tmp_path.iterdir()] == ["d"]


def test_an_interrupted_block_is_dropped(tmp_path):
    raw = [bytes([n]) * 4 for n in range(4)]
    data = np.frombuffer(b"".join(raw), np.uint8).reshape(4, 1, 1, 4)
    made = offer(Rows(data), 0, 4)
    store = kept.ImageCache(str(tmp_path), made.meta, made.payload, 4, 4)
    for index in range(3):
        store.add(index, raw[index])
    store.close()
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, 50), st.integers(1, 60), st.integers(1, 12), st.data())
def test_what_is_sent_and_what_is_held_make_up_the_whole(
    tmp_path_factory, first, count, size, data
):
    spans = kept.spans(first, count, size)
    assert spans[0][0] == 0
    assert spans[-1][1] == count
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    assert all((first + stop) % size == 0 for _, stop in spans[:-1])
    held = data.draw(st.lists(st.booleans(), min_size=len(spans), max_size=len(spans)))
    hashes = tuple(bytes([1]) * 32 for _ in spans)
    made = session_kept.Offer(first, size, hashes)
    store = kept.ImageCache("/nonexistent/farm", made.meta, made.payload, count, 1)
    store.held = bytes(held)
    runs = missing(wire.Frame(wire.READY, 1, {}, bytes(held)), made, count)
    sent = {index for start, stop in runs for index in range(start, stop)}
    assert sent == {index for index in range(count) if not store.holds(index)}
    index = store.next_missing(0)
    walked = []
    while index < count:
        end = store.next_held(index)
        walked += range(index, end)
        index = store.next_missing(end)
    assert walked == sorted(sent)
    done = data.draw(st.integers(0, count - 1))
    rest = made.after(done, count)
    assert len(rest.hashes) == len(kept.spans(first + done, count - done, size))


def test_an_agent_that_lies_about_what_it_holds():
    made = session_kept.Offer(0, 5, (bytes([1]) * 32, kept.NEVER))
    for held in (b"\1", b"\1\0\0", b"\2\0", b"\0\1"):
        with pytest.raises(wire.WireError, match="READY has"):
            missing(wire.Frame(wire.READY, 1, {}, held), made, 8)
    with pytest.raises(wire.WireError, match="nobody offered"):
        missing(wire.Frame(wire.READY, 1, {}, b"\1"), None, 8)


def test_a_head_that_offers_nonsense(tmp_path, artifact):
    with agent(tmp_path) as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, SIZE, ms=0, dim=4)
        link = made._link
        for meta, payload in (
            ({}, bytes(32)),
            ({"first": 0, "block": 0}, bytes(32)),
            ({"first": 0, "block": 1 << 23}, bytes(32)),
            ({"first": 0, "block": 5}, bytes(31)),
            ({"first": 0, "block": 5}, bytes(96)),
        ):
            job = link.begin(wire.EXTRACT, {"count": 10, "limit_s": 5, **meta}, payload)
            assert link.receive(5, "waiting").type == wire.ERROR
            link.abandon(job)
        assert len(features(made.extract(Rows(faces(3)), timeout_s=5))) == 3
