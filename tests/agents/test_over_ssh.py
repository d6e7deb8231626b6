"""The same session over SSH: nothing of the agent depends on local pipes."""

import os
import signal
import sys
import time

import pytest

from orchestrator.agents import processes
from orchestrator.errors import TransientError
from orchestrator.fleet.agent_bundle import agent_bundle, agent_command
from orchestrator.fleet.emulated import EmulatedFleet
from orchestrator.fleet.session import AgentSession
from orchestrator.fleet.ssh import SshTransport

from .conftest import Rows, faces, features, open_timed, timed_features


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    with EmulatedFleet(tmp_path_factory.mktemp("fleet")) as made:
        yield made


@pytest.fixture
def link(fleet):
    """A transport to an emulated board, and a session of a fresh agent on it."""
    address = fleet.start("rv1126")
    transport = SshTransport(
        "rv1126",
        host=address.host,
        port=address.port,
        user=address.user,
        key_file=address.key_file,
        host_key=address.host_key,
        use_agent=False,
    )
    transport.connect(20)
    # Over SFTP such a board shows its home and nothing else of this computer.
    home = fleet.state_dir / "rv1126" / "home"
    path = str(home / "agent.pyz")
    transport.put(agent_bundle().data, path, mode=0o600, timeout_s=20)
    command = agent_command(sys.executable, path, str(home / "farm"), "rv1126", "tester", 5.0)
    made = AgentSession(
        transport.open(command, timeout_s=20), board="rv1126", heartbeat_s=0.2, dead_after_s=1.5
    )
    yield transport, made
    made.close()
    transport.close()


def working(made, artifact):
    """Agent and runtime child, in the middle of an extraction."""
    pids = [made.hello().pid, open_timed(made, artifact, ms=20, dim=4).pid]
    job = made.extract(Rows(faces(2000)), timeout_s=10)
    next(job)
    return job, [(pid, processes.start_time(pid)) for pid in pids]


def test_features_over_ssh(link, artifact):
    _, made = link
    images = faces(300)
    made.hello()
    open_timed(made, artifact, ms=0, dim=64)
    got = features(made.extract(Rows(images), timeout_s=20))
    assert got.tobytes() == timed_features(images, 64).tobytes()


def test_the_agent_goes_with_its_connection(link, artifact):
    transport, made = link
    job, pids = working(made, artifact)
    transport.close()
    with pytest.raises(TransientError):
        list(job)
    assert processes.wait_gone(pids, 3.0)


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
def test_an_agent_that_dies_or_stops(link, artifact, name):
    _, made = link
    job, pids = working(made, artifact)
    os.kill(pids[0][0], getattr(signal, name))
    begin = time.monotonic()
    with pytest.raises(TransientError, match="rv1126: the agent"):
        list(job)
    assert time.monotonic() - begin < 6
    if name == "SIGSTOP":
        os.kill(pids[0][0], signal.SIGCONT)
    assert processes.wait_gone(pids, 3.0)
