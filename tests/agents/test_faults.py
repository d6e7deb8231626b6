"""Whatever dies, stops or lies: nobody hangs, nothing is left, the reason is told.

What does not depend on SSH; the rest is in test_over_ssh.py.
"""

import contextlib
import os
import signal
import threading
import time

import pytest

from orchestrator.agents.host import processes
from orchestrator.agents.protocol import wire
from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.session.client import AgentSession, MeasurePolicy
from tests.patience import within

from .conftest import FACE, OWN, Rows, faces, features, lacks, open_timed, timed_features
from .pipes import agent, bundle_file, session


def gone(pid, start, seconds=20.0):
    return processes.wait_gone([(pid, start)], seconds)


def started(pid):
    start = processes.start_time(pid)
    assert start
    return pid, start


@pytest.fixture
def working(tmp_path, artifact):
    """An agent and session in the middle of an extraction of 20 ms an image."""
    with agent(tmp_path) as channel, session(channel, dead_after_s=1.5) as made:
        facts = made.hello()
        model = open_timed(made, artifact, ms=20, dim=4, timeout_s=10)
        job = made.extract(Rows(faces(2000)), timeout_s=10)
        next(job)
        yield channel, made, job, started(facts.pid), started(model.pid)


def test_agent_stopped_while_the_head_writes_to_it(tmp_path, artifact):
    """16 MB do not fit the pipe: the caller itself is stuck in the write."""
    with agent(tmp_path) as channel, session(channel, dead_after_s=0.5) as made:
        own = started(made.hello().pid)
        open_timed(made, artifact, FACE, ms=1, dim=4)
        real = channel.write

        def stop_first(data):
            if len(data) > 1 << 20:
                os.kill(own[0], signal.SIGSTOP)
            real(data)

        channel.write = stop_first
        with within(6), pytest.raises(TransientError, match="has been silent for"):
            list(made.measure(faces(420, FACE), MeasurePolicy(), timeout_s=60))


def test_a_crash_is_reported_with_its_last_words(working):
    _, _, job, _, child = working
    os.kill(child[0], signal.SIGSEGV)
    told = "process was killed by SIGSEGV"
    with within(5), pytest.raises(TransientError, match=told) as caught:
        list(job)
    assert "Fatal Python error: Segmentation fault" in caught.value.hint


def test_cancel_of_a_hanging_runtime(working):
    _, made, job, own, child = working
    os.kill(child[0], signal.SIGSTOP)
    threading.Timer(0.1, made.cancel).start()
    with within(5), pytest.raises(TransientError, match="stopped"):
        list(job)
    assert gone(*child)
    assert processes.alive(*own)


def test_what_a_runtime_started_dies_with_it(tmp_path, artifact):
    """A helper process of a vendor's library, in a session of its own."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, subprocess\n"
        "def begun():\n"
        "    helper = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"    open({str(tmp_path / 'helper')!r}, 'w').write(str(helper.pid))\n"
        "os.register_at_fork(after_in_child=begun)\n"
    )
    before = f"export PYTHONPATH={site}; "
    with agent(tmp_path, before=before) as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, ms=0, dim=4)
        helper = started(int((tmp_path / "helper").read_text()))
    assert gone(*helper)


@pytest.mark.parametrize("how", ["close", "kill"])
def test_nothing_outlives_the_head(tmp_path, artifact, how):
    with agent(tmp_path) as channel, session(channel) as made:
        own = started(made.hello().pid)
        child = started(open_timed(made, artifact, ms=0, dim=4).pid)
        made.close() if how == "close" else channel.close()
        assert gone(*own)
        assert gone(*child)


def test_a_silent_head_is_left(tmp_path):
    with agent(tmp_path, idle_s=0.3) as channel:
        made = AgentSession(channel, board="bench", heartbeat_s=60)
        own = started(made.hello().pid)
        with within(5):
            assert gone(*own)
        assert "nothing heard from the head" in channel.stderr_tail()
        made.close()


def test_beats_keep_an_idle_session(tmp_path):
    with agent(tmp_path, idle_s=3) as channel, session(channel, heartbeat_s=0.1) as made:
        own = started(made.hello().pid)
        time.sleep(4)
        assert processes.alive(*own)


def test_a_busy_board_names_its_user(tmp_path):
    with agent(tmp_path, owner="alice on desk") as first, session(first) as made:
        made.hello()
        with agent(tmp_path, owner="bob") as second, session(second) as refused:
            with pytest.raises(TransientError, match="bench is in use by alice on desk since"):
                refused.hello()
            assert second.exit_status(3.0) == 3
        made.runtimes()
    with agent(tmp_path, owner="bob") as third, session(third) as now:
        now.hello()


def test_a_stopped_agent_within_its_lease_is_left_alone(tmp_path):
    with agent(tmp_path, owner="alice", idle_s=20) as first, session(first) as made:
        own = started(made.hello().pid)
        os.kill(own[0], signal.SIGSTOP)
        with agent(tmp_path) as second, session(second) as now:
            with pytest.raises(TransientError, match="in use by alice"):
                now.hello()
        assert processes.alive(*own)
        with agent(tmp_path, take_over=True) as third, session(third) as taken:
            taken.hello()
            assert gone(*own)


@OWN  # it looks into /proc of a process by a path of this host
def test_the_lock_holds_while_a_runtime_may_hold_the_accelerator(tmp_path, artifact):
    """The agent is killed while its child is stopped by a debugger that shields it."""
    with agent(tmp_path) as first, session(first) as made:
        made.hello()
        open_timed(made, artifact, ms=0, dim=4)
        told = (tmp_path / "board.lock").read_text()
        assert told.count("[") == 3  # pids: the agent's and the child's
        fds = os.listdir(f"/proc/{made._model.pid}/fd")
        held = {os.readlink(f"/proc/{made._model.pid}/fd/{fd}") for fd in fds}
        assert str(tmp_path / "board.lock") in held


@pytest.mark.skipif(lacks("ctypes"), reason="makes its noise through ctypes")
def test_noise_on_stdout_cannot_corrupt_frames(tmp_path, artifact):
    """A library that prints all the time, in C, in both processes, and a login banner."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import ctypes, os, threading, time\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.puts(b'W RKNN: driver 1.7 FRM1'); libc.fflush(None)\n"
        "def chat():\n"
        "    while True:\n"
        "        libc.puts(b'FRM1 I TIM-VX: graph compiled'); libc.fflush(None)\n"
        "        time.sleep(0.001)\n"
        "begin = lambda: threading.Thread(target=chat, daemon=True).start()\n"
        "begin(); os.register_at_fork(after_in_child=begin)\n"
    )
    before = f"echo 'Welcome to Tina Linux'; export PYTHONPATH={site}; "
    with agent(tmp_path, before=before) as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, ms=1, dim=4)
        assert len(features(made.extract(Rows(faces(100)), timeout_s=5))) == 100
        assert "TIM-VX" in channel.stderr_tail()


def test_something_that_prints_between_frames_is_passed_over(tmp_path, artifact):
    """What a start-up file has left running in the background shares the agent's stdout."""
    before = "(while :; do echo tick; sleep 0.005; done) & "
    with agent(tmp_path, before=before) as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, ms=1, dim=4)
        images = faces(200)
        got = features(made.extract(Rows(images), chunk=8, timeout_s=5))
        assert got.tobytes() == timed_features(images, 4).tobytes()
        assert "tick tick" in made.noise


def test_an_unread_stderr_stops_nothing(tmp_path, artifact):
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, threading\n"
        "def chat():\n"
        "    while True:\n"
        "        os.write(2, b'x' * 4096)\n"
        "begin = lambda: threading.Thread(target=chat, daemon=True).start()\n"
        "os.register_at_fork(after_in_child=begin)\n"
    )
    fifo = tmp_path / "stderr"
    os.mkfifo(fifo)
    unread = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(unread, b"x" * 4096)
    before = f"export PYTHONPATH={site}; "
    with agent(tmp_path, before=before, extra=f"2>{fifo}") as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, ms=1, dim=4)
        assert len(features(made.extract(Rows(faces(50)), timeout_s=5))) == 50
    os.close(unread)


def test_close_ends_a_job_in_another_thread(working):
    _, made, job, own, _ = working
    threading.Timer(0.2, made.close).start()
    with within(6), pytest.raises(TransientError):
        list(job)
    assert gone(*own)


def test_no_agent_at_all(tmp_path):
    with agent(tmp_path, python="python-of-nowhere") as channel, session(channel) as made:
        with within(5), pytest.raises(BoardError, match="does not start") as caught:
            made.hello()
        assert "not found" in caught.value.hint


def test_something_else_answers(tmp_path):
    with agent(tmp_path, before="cat; ") as channel:
        made = AgentSession(channel, board="bench", start_timeout_s=0.5)
        with within(5), pytest.raises(TransientError, match=r"no word for 0\.5 s"):
            made.hello()
        made.close()


def test_an_agent_of_another_protocol(tmp_path):
    hello = wire.join(wire.Frame(wire.HELLO, 0, {"protocol": 99}))
    (tmp_path / "hello").write_bytes(hello)
    with agent(tmp_path, before=f"cat {tmp_path / 'hello'}; cat > /dev/null; ") as channel:
        with session(channel) as made:
            with pytest.raises(BoardError, match="speaks protocol 99, expected 1"):
                made.hello()


def test_a_workdir_that_cannot_be_made(tmp_path):
    bundle_file(tmp_path)
    (tmp_path / "file").write_text("")
    extra = f"--workdir {tmp_path / 'file' / 'farm'}"
    with agent(tmp_path, extra=extra) as channel, session(channel) as made:
        with pytest.raises(BoardError, match="cannot make the workdir"):
            made.hello()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_end_the_agent_cleanly(working, name):
    _, _, job, own, child = working
    os.kill(own[0], getattr(signal, name))
    with within(5), pytest.raises(TransientError, match="the agent ended with status 143"):
        list(job)
    assert gone(*child)


def test_a_measurement_that_outlives_its_deadline(tmp_path, artifact, monkeypatch):
    monkeypatch.setattr("orchestrator.fleet.session.client._GRACE_S", 0.1)
    with agent(tmp_path) as channel, session(channel) as made:
        made.hello()
        open_timed(made, artifact, ms=5, dim=4)
        policy = MeasurePolicy(0, min_duration_s=30, min_count=1, max_duration_s=60)
        with within(5), pytest.raises(TransientError, match="while measuring with timed"):
            list(made.measure(faces(1), policy, timeout_s=0.8))
        assert len(features(made.extract(Rows(faces(3)), timeout_s=5))) == 3
