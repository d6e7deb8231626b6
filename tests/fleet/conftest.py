"""Boards for the tests of this folder: emulated ones, real OpenSSH, and this host."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.fleet.emulated.boards import EmulatedAddress, EmulatedFleet
from orchestrator.fleet.transport.ssh import SshTransport


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatedFleet]:
    with EmulatedFleet(tmp_path_factory.mktemp("fleet")) as made:
        yield made


@pytest.fixture(scope="session")
def address(fleet: EmulatedFleet) -> EmulatedAddress:
    return fleet.start("rv1126")


def transport_to(address: EmulatedAddress, **changes: object) -> SshTransport:
    values: dict[str, object] = {
        "host": address.host,
        "port": address.port,
        "user": address.user,
        "key_file": address.key_file,
        "host_key": address.host_key,
        "use_agent": False,
        **changes,
    }
    return SshTransport("rv1126", **values)  # type: ignore[arg-type]


@pytest.fixture
def board(address: EmulatedAddress) -> Iterator[SshTransport]:
    transport = transport_to(address)
    transport.connect(20)
    yield transport
    transport.close()


@pytest.fixture
def home(fleet: EmulatedFleet) -> Path:
    return fleet.state_dir / "rv1126" / "home"


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def is_alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"
