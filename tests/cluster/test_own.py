"""Ray as farm starts it: on loopback only, behind a token, and asking no cloud who it is."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cluster.own import check_loopback, short_folder
from orchestrator.errors import TransientError, UserError

ROOT = Path(__file__).resolve().parents[2]
START = """
import os, subprocess, sys
from pathlib import Path
from orchestrator.cluster.own import OwnHead
from orchestrator.cluster.ray_cluster import RayCluster
head = RayCluster(OwnHead(Path(sys.argv[1]), 1))
head.start()
head.wait()
import ray
@ray.remote
def family():
    return os.getppid()
print("task", ray.get(family.remote()) > 0)
@ray.remote
def speak():
    os.write(1, b"said on standard output")
    print(flush=True)
    print("said on standard error", file=sys.stderr, flush=True)
ray.get(speak.remote())
import threading
from orchestrator.cluster.compute import Compute
compute = Compute(head, threading.Event())
print("threads", compute.run(os.getenv, "OPENBLAS_NUM_THREADS"))
children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(os.getpid())], capture_output=True)
pids = set(children.stdout.decode().split())
for _ in range(3):
    more = subprocess.run(["ps", "-o", "pid=", "--ppid", ",".join(pids)], capture_output=True)
    pids |= set(more.stdout.decode().split())
pids.add(str(os.getpid()))
subprocess.run(["ps", "-ww", "-o", "args=", "-p", ",".join(pids)])
for pid in pids:
    for table in ("tcp", "tcp6"):
        sockets = set()
        try:
            for link in os.listdir(f"/proc/{pid}/fd"):
                try:
                    sockets.add(os.readlink(f"/proc/{pid}/fd/{link}"))
                except OSError:
                    pass
        except OSError:
            continue
        for line in open(f"/proc/net/{table}").read().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                print("listens", words[1].rpartition(":")[0])
head.stop()
"""
LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def start(tmp_path: Path, *before: str) -> subprocess.CompletedProcess[str]:
    kept = {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}
    return subprocess.run(
        [*before, sys.executable, "-c", START, str(tmp_path / "state")],
        cwd=ROOT,
        env=kept | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_rays_folder_lies_where_its_sockets_paths_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert short_folder("/var/tmp", 12345) == "/var/tmp"
    assert short_folder("/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T", 12345) == "/tmp"
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(UserError, match="at most 107 bytes"):
        short_folder("/tmp", 12345)


@pytest.mark.slow
def test_listens_on_loopback_only_and_its_token_is_private(tmp_path: Path) -> None:
    done = start(tmp_path)
    assert done.returncode == 0, done.stderr
    assert "task True" in done.stdout
    assert "threads 1" in done.stdout
    assert "gcs_server" in done.stdout
    assert "monitor.py" not in done.stdout, "the autoscaler or the log monitor"
    assert "said on standard output\n" in done.stdout
    assert "said on standard error\n" in done.stdout
    addresses = set(re.findall(r"listens (\w+)", done.stdout))
    assert addresses
    assert addresses <= LOOPBACK, done.stdout
    token = tmp_path / "state" / "ray-token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert len(token.read_text()) == 64


@pytest.mark.slow
@pytest.mark.needs("strace")
def test_connects_to_nothing_but_loopback(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    done = start(tmp_path, "strace", "-f", "-qq", "-e", "trace=connect,sendto", "-o", str(trace))
    assert done.returncode == 0, done.stderr
    text = trace.read_text()
    assert "connect(" in text
    assert "169.254.169.254" not in text
    # Ray finds its own address by "connecting" a UDP socket, which sends nothing.
    sent = re.findall(r'sendto\(.*inet_addr\("([\d.]+)"\)', text)
    assert {address for address in sent if not address.startswith("127.")} <= dns_servers()


def dns_servers() -> set[str]:
    """Name servers of this machine: looking a name up is not farm's or Ray's to prevent."""
    try:
        return set(re.findall(r"nameserver ([\d.]+)", Path("/etc/resolv.conf").read_text()))
    except OSError:
        return set()


@pytest.mark.parametrize("address", ["10.0.0.5:6379", "0.0.0.0:1", "[2001:db8::1]:9", "host:1"])
def test_any_other_address_is_refused(address: str) -> None:
    with pytest.raises(TransientError, match="loopback"):
        check_loopback(address)


@pytest.mark.parametrize("address", ["127.0.0.1:6379", "[::1]:9"])
def test_loopback_is_accepted(address: str) -> None:
    check_loopback(address)
