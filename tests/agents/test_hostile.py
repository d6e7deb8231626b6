"""Either side sends what it likes: the other neither crashes, nor hangs, nor fills its memory."""

import collections
import contextlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.agents.protocol import wire
from orchestrator.agents.protocol.wire import Decoder, Frame
from orchestrator.data.progress import Progress
from orchestrator.data.times import RawTimes
from orchestrator.errors import FarmError
from orchestrator.fleet.session.client import AgentSession, MeasurePolicy

from . import fuzz
from .conftest import Rows, faces, preprocessing
from .pipes import agent


@pytest.fixture(autouse=True)
def impatient():
    """Nobody waits here for an agent that may still be thinking."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orchestrator.fleet.session.client._GRACE_S", 0.0)
        yield


numbers = st.sampled_from([-1, 0, 1, 2, 3, 16, 1 << 31, 1 << 70, 0.5, None, "x", True])
KEYS = [
    "protocol",
    "runtimes",
    "dim",
    "inputs",
    "window",
    "credit",
    "start",
    "count",
    "failed",
    "done",
    "total",
    "echo",
    "class",
    "code",
    "message",
    "stderr",
    "model_lost",
    "telemetry",
    "images",
    "limit_s",
    "artifact",
    "sha256",
    "runtime",
]
metas = st.dictionaries(
    st.sampled_from(KEYS),
    numbers | st.lists(numbers, max_size=3) | st.dictionaries(st.text(max_size=3), numbers),
    max_size=6,
)
payloads = st.sampled_from([b"", b"x", bytes(16), bytes(32), bytes(64), b"\xff" * 32])
any_frames = st.builds(
    Frame, st.sampled_from(sorted(wire.NAMES)), st.sampled_from([0, 1, 2, 3]), metas, payloads
)
helpful = st.sampled_from(
    [
        Frame(wire.OPENED, 1, {"dim": 4}),
        Frame(wire.READY, 2, {"window": 1 << 20}),
        Frame(wire.READY, 2, {"window": 1}),
        Frame(wire.FEATURES, 2, {"start": 0, "count": 1, "credit": 192, "failed": []}, bytes(16)),
        Frame(wire.FEATURES, 2, {"start": 0, "count": 2, "credit": 384, "failed": []}, bytes(32)),
        Frame(wire.TIMES, 2, {"count": 1, "done": 1, "total": 1}, bytes(32)),
        Frame(wire.DONE, 2, {"images": 2}),
    ]
)


class Script:
    """A channel on which an agent says what it was told to say, however it is answered."""

    def __init__(self, data):
        self._pieces = collections.deque([data])
        self._closed = threading.Event()

    def read(self, limit):
        return self._pieces.popleft() if self._pieces else b""

    def write(self, data):
        pass

    def close(self):
        self._closed.set()

    def stderr_tail(self):
        return ""

    def exit_status(self, timeout_s):
        return None


class Dialogue(Script):
    """A channel on which each frame that comes is answered by a list of frames."""

    def __init__(self, answers, last_words=b""):
        super().__init__(wire.join(Frame(wire.HELLO, 0, {"protocol": wire.PROTOCOL})))
        self._answers, self._last_words = answers, last_words
        self._decoder = Decoder()
        self._more = threading.Semaphore(1)

    def read(self, limit):
        self._more.acquire()
        return super().read(limit)

    def write(self, data):
        for frame in self._decoder.feed(data):
            for answer in self._answers.get(frame.type, []):
                self._pieces.append(wire.join(answer))
                self._more.release()

            if frame.type == wire.IMAGES and self._last_words:
                self._pieces.append(self._last_words)
                self._more.release()
            if frame.type == wire.CLOSE:
                self._more.release()

    def close(self):
        self._more.release()


@given(
    st.lists(any_frames | helpful, max_size=6),
    st.lists(any_frames | helpful, max_size=4),
    st.binary(max_size=40),
    st.booleans(),
)
@settings(max_examples=50, deadline=None)
def test_a_hostile_agent_gets_farms_own_errors(at_once, then, rest, measuring):
    answers = {
        wire.OPEN: [Frame(wire.OPENED, 1, {"dim": 4})],
        wire.EXTRACT: at_once,
        wire.MEASURE: at_once,
        wire.IMAGES: then,
        wire.CANCEL: [Frame(wire.ERROR, 2, {"class": "transient"})],
    }
    channel = Dialogue(answers, last_words=rest)
    made = AgentSession(channel, board="liar")
    made.hello()
    made.open_model(
        runtime="timed",
        artifact="x",
        sha256="y",
        options={},
        preprocessing=preprocessing(8),
        timeout_s=5,
    )
    images = faces(2, size=8)
    try:
        if measuring:
            for item in made.measure(images, MeasurePolicy(0, 0, 1, 1), timeout_s=0.03):
                assert isinstance(item, (Progress, RawTimes))
        else:
            blocks = list(made.extract(Rows(images), timeout_s=0.03))
            assert sum(len(block.rows) for block in blocks) == 2
            assert all(block.rows.dtype == np.float32 for block in blocks)
    except FarmError:
        pass
    finally:
        made.close(0.1)
    assert not any(thread.name == "images" for thread in threading.enumerate())


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """Says bytes to a real agent and returns the frames it answers before it ends."""
    workdir = tmp_path_factory.mktemp("board")

    def say(data):
        with agent(workdir, idle_s=3) as channel:
            first = channel.read(1 << 16)
            while b"telemetry" not in first:
                first += channel.read(1 << 16)
            with contextlib.suppress(FarmError):
                channel.write(data)
            channel.end_input()
            answer = first
            while piece := channel.read(1 << 16):
                answer += piece
            assert channel.exit_status(5.0) == 0
            assert "Traceback" not in channel.stderr_tail()
            return list(Decoder(skip_noise=True).feed(answer))

    return say


head_says = st.lists(
    any_frames
    | st.sampled_from(
        [
            Frame(wire.HELLO, 0, {"heartbeat_s": 1}),
            Frame(wire.OPEN, 1, {"artifact": "/etc/passwd", "sha256": "0", "runtime": "timed"}),
            Frame(wire.CANCEL, 1),
            Frame(wire.BEAT, 0, {"t": 1}),
        ]
    ),
    max_size=6,
)


@given(head_says, st.binary(max_size=30))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_hostile_head_gets_frames_or_the_end(talk, said, rest):
    hello = wire.join(Frame(wire.HELLO, 0, {"heartbeat_s": 1}))
    frames = talk(hello + b"".join(map(wire.join, said)) + rest)
    assert frames[0].type == wire.HELLO
    assert all(
        frame.type in (wire.HELLO, wire.BEAT, wire.ERROR, wire.BYE, wire.DONE) for frame in frames
    )


def test_an_agent_that_plays_by_the_rules_is_believed():
    """The fuzzing above would prove little if even this script were refused."""
    window = Frame(wire.READY, 2, {"window": 1 << 20})
    made = AgentSession(
        Dialogue(
            {
                wire.HELLO: [],
                wire.OPEN: [Frame(wire.OPENED, 1, {"dim": 4})],
                wire.EXTRACT: [window],
                wire.IMAGES: [
                    Frame(wire.FEATURES, 2, {"start": 0, "count": 2, "credit": 384}, bytes(32)),
                    Frame(wire.DONE, 2, {"images": 2}),
                ],
            }
        ),
        board="honest",
    )
    made.hello()
    made.open_model(
        runtime="timed",
        artifact="x",
        sha256="y",
        options={},
        preprocessing=preprocessing(8),
        timeout_s=1,
    )
    (block,) = made.extract(Rows(faces(2, size=8)), timeout_s=1)
    assert block.rows.shape == (2, 4)
    made.close(0.1)


@pytest.mark.parametrize("target", sorted(fuzz.TARGETS))
@given(data=st.binary(min_size=1, max_size=300))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_either_side_of_a_session_takes_anything(target, data):
    """The same functions that atheris drives for longer; see fuzz.py."""
    before = threading.active_count()
    fuzz.TARGETS[target](data)
    assert threading.active_count() <= before


def test_a_flood_of_words_is_bounded(monkeypatch):
    """A caller that is slow to read, an agent that sends frames of nothing but meta."""
    monkeypatch.setattr("orchestrator.fleet.session.link.INBOX_BYTES", 1 << 20)
    flood = Frame(wire.TIMES, 2, {"count": 0, "done": 0, "total": 0, "x": "y" * 10_000})
    channel = Dialogue({wire.OPEN: [Frame(wire.OPENED, 1, {"dim": 4})]})
    made = AgentSession(channel, board="liar")
    made.hello()
    made.open_model(
        runtime="timed",
        artifact="x",
        sha256="y",
        options={},
        preprocessing=preprocessing(8),
        timeout_s=1,
    )
    link = made._link
    link.begin(wire.MEASURE, {})
    channel._pieces.extend([wire.join(flood)] * 500)
    channel._more.release(500)
    time.sleep(0.1)
    assert len(link._inbox) * flood_cost(flood) <= (1 << 20) + flood_cost(flood)
    made.close(0.1)


def flood_cost(frame):
    (got,) = Decoder().feed(wire.join(frame))
    assert got.cost > 100_000
    return got.cost


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("target", sorted(fuzz.TARGETS))
def test_for_a_minute(target, tmp_path):
    pytest.importorskip("atheris")
    told = subprocess.run(
        [sys.executable, "-m", "tests.agents.fuzz_long", target, "-max_total_time=60"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert told.returncode == 0, told.stderr[-3000:]
