"""The same session over real SSH, and what may go wrong there: told in time, nothing left."""

import contextlib
import os
import signal
import threading

import pytest

from orchestrator.agents.host import processes
from orchestrator.agents.storage import image_cache as kept
from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.boards.addressing import contact
from orchestrator.fleet.boards.agent_bundle import agent_bundle
from orchestrator.fleet.boards.board import BoardBusy, BoardLink
from orchestrator.fleet.session.image_cache import offer
from tests.faulty_proxy import Relay
from tests.openssh import SSHD
from tests.patience import within

from . import over_ssh
from .conftest import Rows, faces, features, open_timed, timed_features
from .over_ssh import Damaging, started, timed
from .pipes import end_lease

SMALL = 32
sshd = pytest.param("openssh", marks=pytest.mark.needs("sshd"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    kind = over_ssh.openssh if SSHD else over_ssh.emulated
    with kind(tmp_path_factory.mktemp("board")) as made:
        yield made


@pytest.fixture
def place(server, tmp_path):
    """A folder of the board for one test."""
    made = server.folder / tmp_path.name
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def shared(server):
    """One connection for the tests that do not end it."""
    return server.transport()


def small(count, seed=0):
    return faces(count, SMALL, seed)


def working(made, artifact, ms=10):
    """A running extraction; agent and runtime child with their start times."""
    pids = [made.hello().pid, open_timed(made, artifact, SMALL, ms=ms, dim=4).pid]
    job = made.extract(Rows(small(2000)), timeout_s=5, chunk=4)
    next(job)
    return job, started(*pids)


def still_works(made):
    return len(features(made.extract(Rows(small(3)), timeout_s=5))) == 3


@pytest.mark.parametrize("kind", ["emulated", sshd])
def test_features_over_ssh(kind, tmp_path, artifact):
    images = small(300)
    with getattr(over_ssh, kind)(tmp_path / "server") as where:
        with over_ssh.session(where.transport(), where.folder / "farm") as made:
            made.hello()
            open_timed(made, artifact, SMALL, ms=0, dim=64)
            got = features(made.extract(Rows(images), timeout_s=20))
    assert got.tobytes() == timed_features(images, 64, SMALL).tobytes()


@pytest.fixture
def made(shared, place):
    with over_ssh.session(shared, place / "farm") as session:
        yield session


# ---- killed and stopped


def test_the_runtimes_process_is_killed(made, artifact):
    job, (own, child) = working(made, artifact)
    os.kill(child[0], signal.SIGKILL)
    with within(5), pytest.raises(TransientError, match="process was killed by SIGKILL"):
        list(job)
    assert processes.alive(*own)
    assert still_works(made)


def test_the_runtimes_process_stops_beyond_its_deadline(made, artifact):
    made.hello()
    child = started(open_timed(made, artifact, SMALL, ms=10, dim=4).pid)
    job = made.extract(Rows(small(500)), timeout_s=0.6, chunk=4)
    next(job)
    os.kill(child[0][0], signal.SIGSTOP)
    with within(5), pytest.raises(BoardError, match="has not answered for"):
        list(job)
    assert processes.wait_gone(child, 20.0)
    assert still_works(made)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
def test_the_agent_is_killed_or_stops(made, artifact, name):
    job, pids = working(made, artifact)
    os.kill(pids[0][0], getattr(signal, name))
    with within(5), pytest.raises(TransientError, match="vim3: the agent"):
        list(job)
    if name == "SIGSTOP":
        os.kill(pids[0][0], signal.SIGCONT)
    assert processes.wait_gone(pids, 20.0)


def test_a_stopped_agent_that_outlives_its_session_is_killed_by_the_next(server, place, artifact):
    transport = server.transport()
    with over_ssh.session(transport, place / "farm") as made:
        _, pids = working(made, artifact)
        for pid, _ in pids:
            os.kill(pid, signal.SIGSTOP)
        transport.close()
        end_lease(place / "farm" / "board.lock")
        assert all(processes.alive(*pair) for pair in pids)
        with over_ssh.session(server.transport(), place / "farm") as other:
            other.hello()
            assert processes.wait_gone(pids, 10.0)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("kill -9 of its SSH session", marks=pytest.mark.needs("sshd")),
        "disconnect",
        "cut",
    ],
)
def test_the_agent_goes_with_its_connection_within_two_seconds(server, place, artifact, end):
    with Relay((server.host, server.port)) as relay:
        before = {pid for pid, _ in processes.descendants(server.pid)}
        transport = server.transport(relay.port)
        serving = [pid for pid, _ in processes.descendants(server.pid) if pid not in before]
        with over_ssh.session(transport, place / "farm") as made:
            job, pids = working(made, artifact)
            if end == "disconnect":
                transport.close()
            elif end == "cut":
                relay.cut()
            else:
                for pid in serving:
                    with contextlib.suppress(ProcessLookupError):  # the one that logged in
                        os.kill(pid, signal.SIGKILL)
            with within(5), pytest.raises(TransientError):
                list(job)
            assert processes.wait_gone(pids, 20.0)


def test_a_channels_death_wakes_whoever_waits_for_credit(server, place, artifact):
    transport = server.transport()
    with over_ssh.session(transport, place / "farm") as made:
        made.hello()
        open_timed(made, artifact, SMALL, ms=60_000, dim=4)
        job = made.extract(Rows(small(5000)), timeout_s=120)
        threading.Timer(0.4, transport.close).start()
        with within(5), pytest.raises(TransientError):
            next(job)
    assert not [t for t in threading.enumerate() if t.name == "images"]


# ---- damage


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_bit_flipped_on_the_way(server, place, artifact, direction):
    """SSH's own checksum finds it."""
    with Relay((server.host, server.port)) as relay:
        transport = server.transport(relay.port)
        with over_ssh.session(transport, place / "farm") as made:
            job, pids = working(made, artifact)
            relay.corrupt(direction)
            with within(6), pytest.raises(TransientError):
                list(job)
            assert processes.wait_gone(pids, 20.0)


@pytest.mark.parametrize("direction", ["read", "write"])
def test_a_bit_flipped_in_a_frame(shared, place, artifact, direction):
    """By the memory of either side, which SSH cannot see."""
    armed = []

    def damaging(channel):
        armed.append(Damaging(channel, direction))
        return armed[0]

    with over_ssh.session(shared, place / "farm", channel=damaging) as made:
        job, pids = working(made, artifact)
        armed[0].armed = True
        with within(6), pytest.raises(TransientError, match="checksum"):
            list(job)
        assert processes.wait_gone(pids, 20.0)


# ---- what lies on the board already


def test_older_agents_on_the_board(server, place):
    """Another version's file is no matter; a damaged one of ours is brought again."""
    workdir = place / "farm"
    workdir.mkdir()
    for version in "abcde":
        (workdir / f"agent-{version * 16}.pyz").write_bytes(b"an older agent")
    own = workdir / f"agent-{agent_bundle().sha256[:16]}.pyz"
    own.write_bytes(agent_bundle().data[:-100])
    link = BoardLink(server.address(workdir))
    link.connect()
    link.close()
    assert own.read_bytes() == agent_bundle().data
    assert len(list(workdir.glob("agent-*.pyz"))) == 3


def test_an_older_agent_that_still_runs(server, shared, place):
    """It holds the workdir's lock alone, as versions before the board's own lock did."""
    with over_ssh.session(shared, place / "farm") as old:
        pid = old.hello().pid
        new = BoardLink(server.address(place / "farm", lock="board", owner="new"))
        with pytest.raises(BoardBusy, match="in use by tester since"):
            new.connect()
        new.close()
        assert processes.alive(*started(pid)[0])
        with contact(server.address(place / "farm", lock="board")) as commands:
            assert commands.who()["owner"] == "tester"
            assert commands.release("a newer farm")["owner"] == "tester"
            assert processes.wait_gone([(pid, 1)], 20.0)
    link = BoardLink(server.address(place / "farm"))
    link.connect()
    link.close()


def test_two_orchestrators_with_workdirs_of_their_own(server, place):
    one = BoardLink(server.address(place / "one", lock="board", owner="anna"))
    two = BoardLink(server.address(place / "two", lock="board", owner="ben"))
    try:
        one.connect()
        with pytest.raises(BoardBusy, match="in use by anna since"):
            two.connect()
        with contact(server.address(place / "two", lock="board")) as commands:
            assert commands.who()["owner"] == "anna"
    finally:
        one.close()
        two.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system, which takes root")
def test_a_full_board(server, place):
    """2 MB in all: what does not fit is the board's fault, what fits still works."""
    import subprocess

    board = place / "board"
    board.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", board], check=True)
    try:
        link = BoardLink(server.address(board / "farm", images="keep"))
        link.connect()
        with pytest.raises(BoardError, match="no room"):
            link.deploy(timed(bytes(3 << 20)), bytes(3 << 20))
        small_one = timed(b"small", SMALL, ms=0, dim=4)
        link.deploy(small_one, b"small")
        room = os.statvfs(board).f_bavail * os.statvfs(board).f_frsize
        (board / "other").write_bytes(bytes(room - 8192))
        link.open(small_one)
        images = small(60)
        keep = lambda: offer(Rows(images), 0, SMALL * SMALL * 3)  # noqa: E731
        got = features(link.extract(Rows(images), 16, keep))
        assert got.tobytes() == timed_features(images, 4, SMALL).tobytes()
        assert list((board / "farm" / "images").iterdir()) == []
        link.close()
        with pytest.raises(BoardError, match=r"no room|No space"):
            BoardLink(server.address(board / "second")).connect()
        assert not list(board.rglob("*.part"))
    finally:
        subprocess.run(["umount", "-l", board], check=True)


# ---- images that stay


def test_the_second_encoder_does_not_cross_the_link_again(server, place, monkeypatch):
    sent = []
    address = server.address(place / "farm", images="keep")
    images = small(120)
    keep = lambda: offer(Rows(images), 0, images[0].nbytes)  # noqa: E731

    def extract(artifact, data):
        link = BoardLink(address)
        link.connect()
        link.deploy(artifact, data)
        link.open(artifact)
        channel = link._session._link._channel
        write = channel.write
        before = len(sent)
        monkeypatch.setattr(channel, "write", lambda data: (sent.append(len(data)), write(data)))
        got = features(link.extract(Rows(images), 64, keep))
        link.close()
        return got, sum(sent[before:])

    one, first = extract(timed(b"one", SMALL, ms=0, dim=8), b"one")
    two, second = extract(timed(b"two", SMALL, ms=0, dim=24), b"two")
    assert first > images.nbytes
    assert second < 5000
    assert one.tobytes() == timed_features(images, 8, SMALL).tobytes()
    assert two.tobytes() == timed_features(images, 24, SMALL).tobytes()
    kept_files = list((place / "farm" / "images").iterdir())
    assert sum(path.stat().st_size for path in kept_files) == images.nbytes
    # A run that does not keep images leaves none, not those of an earlier one either.
    link = BoardLink(server.address(place / "farm", images="clear"))
    link.connect()
    link.close()
    assert not (place / "farm" / "images").exists()
    assert images.nbytes < kept.LIMIT


# ---- how little the agent is


def test_the_agent_listens_on_nothing_and_leaves_little(made, artifact, place):
    _, pids = working(made, artifact)
    inodes = set()
    for pid, _ in pids:
        for name in os.listdir(f"/proc/{pid}/fd"):
            link = os.readlink(f"/proc/{pid}/fd/{name}")
            if link.startswith("socket:"):
                inodes.add(link[8:-1])
    listening = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        with open(f"/proc/{pids[0][0]}/net/{table}") as file:
            rows = [line.split() for line in list(file)[1:]]
        listening |= {row[9] for row in rows if row[3] == "0A" or table.startswith("udp")}
    assert not inodes & listening
    made.close()
    assert processes.wait_gone(pids, 20.0)
    left = sorted(str(path.relative_to(place)) for path in (place / "farm").rglob("*"))
    assert left == ["farm/agent.pyz", "farm/board.lock"]
