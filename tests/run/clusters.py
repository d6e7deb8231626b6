"""Two Ray nodes of one machine that are as apart as two machines: own network, files, processes.

The first is the driver's. The second sees an empty folder where the project is, has a home with a
key of its own, and its network alone has the SSH server of its boards. A pair of virtual network
cards without any route connects them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orchestrator.fleet.emulated.boards import ensure_key
from tests.openssh import SSHD, SshdAddress
from tests.run.project import Project

HEAD, CARD, SECOND = "10.77.0.1", "10.77.0.3", "10.77.0.2"
PORT = 6399
ADDRESS = f"{HEAD}:{PORT}"
# On a busy machine a node's helpers may take longer than Ray lets them; then all is begun anew.
STARTS = 4
STARTED_S = 30.0


class Space:
    """Namespaces of its own for network, mounts and processes; all in them ends with it."""

    def __init__(self) -> None:
        own = ["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "--kill-child=KILL"]
        self._holder = subprocess.Popen(
            [*own, "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"\n"
        children = f"/proc/{self._holder.pid}/task/{self._holder.pid}/children"
        self.pid = int(Path(children).read_text())
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *words: str, folder: Path | str = "/") -> list[str]:
        """A command line that runs in it, in a folder (entering forgets where one was)."""
        there = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(folder)]
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", *there, *words]

    def run(self, *words: str) -> str:
        """Run a command in it; what it prints."""
        done = subprocess.run(self.command(*words), capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def end(self) -> None:
        """Kill everything in it, as a power cut would."""
        self._holder.kill()
        self._holder.wait(10)


class Cluster(Project):
    """A project on the first node."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "project")
        self.folder.mkdir()
        self.outside = folder
        self.home = folder / "home of the second"
        (self.home / ".ssh").mkdir(parents=True)
        self.token = folder / "token"
        self.token.write_text(secrets.token_hex(32))
        self.token.chmod(0o600)
        self.sockets = Path(tempfile.mkdtemp(prefix="farm-r"))
        self.first: Space = Space()
        self.second: Space | None = None
        self.sshd: SshdAddress | None = None

    @property
    def environment(self) -> dict[str, str]:
        given = {"RAY_AUTH_TOKEN_PATH": str(self.token), "RAY_AUTH_MODE": "token"}
        return super().environment | given

    def command(self, *arguments: str) -> list[str]:
        return self.first.command(*super().command(*arguments), folder=self.folder)

    def ray(self, space: Space, name: str, words: Sequence[str], home: str = "") -> bool:
        """Start a node; whether it came up."""
        name = f"{name}{time.monotonic_ns() % 1000000}"
        more = ["--object-store-memory=80000000", "--disable-usage-stats", "--block"]
        more += [f"--temp-dir={self.sockets / name}"]
        program = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
        command = [sys.executable, "-c", program, "start", *words, *more]
        environment = self.environment | {"RAY_USAGE_STATS_ENABLED": "0"}
        environment |= {"HOME": home} if home else {}
        log = self.outside / f"ray-{name}.log"
        with open(log, "w") as said:
            node = subprocess.Popen(
                space.command(*command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        end = time.monotonic() + STARTED_S
        while node.poll() is None and time.monotonic() < end:
            if "Ray runtime started" in log.read_text():
                return True
            time.sleep(0.05)
        print(log.read_text()[-3000:])
        return False

    def start_head(self) -> None:
        """The first node."""
        for _ in range(STARTS):
            # An address that outlives the network card, which goes with the second.
            self.first.run("ip", "address", "add", f"{HEAD}/32", "dev", "lo")
            if self._start_head():
                return
            self.first.end()
            self.first = Space()
        raise RuntimeError("the head did not start")

    def _start_head(self) -> bool:
        words = ["--head", f"--port={PORT}", f"--node-ip-address={HEAD}", "--num-cpus=2"]
        words += ["--include-dashboard=false"]
        return self.ray(self.first, "a", words)

    def start_second(self) -> None:
        """The second node, with its boards' SSH server."""
        for _ in range(STARTS):
            self.second = Space()
            if self._start_second(self.second):
                return
            self.second.end()
        raise RuntimeError("the second node did not start")

    def _start_second(self, space: Space) -> bool:
        # A card goes some time after the other end's namespace.
        subprocess.run(
            f"nsenter -t {self.first.pid} -n ip link delete veth0".split(), capture_output=True
        )
        # Not in the first's process namespace, where the second's number means nothing.
        pair = "nsenter -t {} -n ip link add veth0 type veth peer name veth0 netns {}"
        subprocess.run(pair.format(self.first.pid, space.pid).split(), check=True, timeout=30)
        for each, address in ((self.first, CARD), (space, SECOND)):
            each.run("ip", "address", "add", f"{address}/24", "dev", "veth0")
            each.run("ip", "link", "set", "veth0", "up")
        space.run("mount", "-t", "tmpfs", "tmpfs", str(self.folder))
        space.run("mount", "-t", "tmpfs", "tmpfs", self.temporary)
        self.start_sshd(space)
        words = [f"--address={ADDRESS}", f"--node-ip-address={SECOND}", "--num-cpus=1"]
        return self.ray(space, "b", [*words, "--labels=farm-site=lab-b"], home=str(self.home))

    def start_sshd(self, space: Space) -> None:
        """The boards of the second node's site, on its loopback."""
        folder = self.outside / "boards"
        folder.mkdir(exist_ok=True)
        public = ensure_key(self.home / ".ssh" / "id_ed25519")
        host_key = ensure_key(folder / "host_key")
        (folder / "authorized_keys").write_text(public + "\n")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = folder / "sshd_config"
        lines = [
            "ListenAddress 127.0.0.1",
            "Port 2222",
            f"HostKey {folder / 'host_key'}",
            f"AuthorizedKeysFile {folder / 'authorized_keys'}",
            *("PidFile none", "UsePAM no", "StrictModes no", "PasswordAuthentication no"),
            "Subsystem sftp internal-sftp",
            f'SetEnv "FARM_LOCK_FOLDER={folder}" "HOME={folder}"',
        ]
        config.write_text("\n".join(lines) + "\n")
        with open(folder / "log", "ab") as log:
            process = subprocess.Popen(
                space.command(SSHD, "-D", "-e", "-f", str(config)),
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        self.sshd = SshdAddress("127.0.0.1", 2222, "root", host_key, process)

    def board(self, name: str) -> str:
        """A board's entry in the inventory, without a key: the node has its own."""
        assert self.sshd is not None
        place = f"host: 127.0.0.1, port: {self.sshd.port}, host_key: {self.sshd.host_key}"
        return (
            f"  - name: {name}\n    kind: host-cpu\n    site: lab-b\n"
            f"    transport: {{ssh: {{{place}}}}}\n    lock: workdir\n"
            f"    python: {sys.executable}\n    workdir: {self.outside / 'boards' / name}\n"
        )

    def seen_by_second(self) -> str:
        """What is where the project is."""
        assert self.second is not None
        return self.second.run("ls", "-A", str(self.folder))

    def end(self) -> None:
        """End both nodes."""
        for space in (self.second, self.first):
            if space is not None:
                space.end()
        shutil.rmtree(self.sockets, ignore_errors=True)


def are_possible() -> bool:
    """Whether this user may connect network namespaces; a user namespace of one's own may not."""
    apart = ["unshare", "-n", "-m", "-p", "-f", "--mount-proc", "ip", "link", "add", "type", "veth"]
    return os.geteuid() == 0 and not subprocess.run(apart, capture_output=True).returncode


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Both nodes, started."""
    with ExitStack() as stack:
        made = Cluster(folder)
        stack.callback(made.end)
        made.start_head()
        made.start_second()
        yield made
