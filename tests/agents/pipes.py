"""A real agent over real pipes, as a `Channel`, with a handle on its process."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from orchestrator.errors import TransientError
from orchestrator.fleet.boards.agent_bundle import agent_bundle, agent_command
from orchestrator.fleet.session.client import AgentSession

# The Python that runs agents: another userland's, in `make test-userlands`.
PYTHON = os.environ.get("FARM_TEST_PYTHON") or sys.executable
PYENV = Path.home() / ".pyenv" / "versions"


class PipeChannel:
    """A subprocess's stdin and stdout; `process` may be killed or stopped."""

    def __init__(self, command: str) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        self._in, self._out = self.process.stdin, self.process.stdout
        os.set_blocking(self._in.fileno(), False)
        self._kept = b""
        self._wake, self._waker = os.pipe()
        self._hole = os.open(os.devnull, os.O_WRONLY)
        self._closed = False
        self._drain = threading.Thread(target=self._read_stderr, daemon=True)
        self._drain.start()

    def _read_stderr(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            while data := self.process.stderr.read(1 << 16):
                self._kept = (self._kept + data)[-8192:]

    def read(self, limit: int) -> bytes:
        import select

        ready = select.select([self._out, self._wake], [], [])[0]
        return b"" if self._wake in ready else os.read(self._out.fileno(), limit)

    def write(self, data: bytes | memoryview) -> None:
        import select

        view = memoryview(data).cast("B")
        if self._closed:
            raise TransientError("the channel is closed")
        while view:
            ready, can, _ = select.select([self._wake], [self._in], [])
            if ready:
                raise TransientError("the channel is closed")
            if can:
                try:
                    view = view[os.write(self._in.fileno(), view) :]
                except BlockingIOError:
                    continue
                except (OSError, ValueError) as error:
                    raise TransientError(f"the command takes no input: {error}") from error

    def end_input(self) -> None:
        """The command finds the end of its stdin; its output can still be read."""
        os.dup2(self._hole, self._in.fileno())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.write(self._waker, b"x")
            # A writer that is waiting must not find another file behind this number.
            os.dup2(self._hole, self._in.fileno())

    def stderr_tail(self) -> str:
        return self._kept.decode("utf-8", "replace").strip()

    def exit_status(self, timeout_s: float) -> int | None:
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self._drain.join(0.5)  # its last lines are on their way
        return status

    def end(self) -> None:
        """Whatever the test left: gone."""
        self.close()
        with contextlib.suppress(OSError):
            os.kill(self.process.pid, signal.SIGCONT)
        if self.exit_status(3.0) is None:
            self.process.kill()
            self.process.wait(3.0)
        self._drain.join(2.0)
        self._out.close()
        self._in.close()
        os.close(self._hole)
        self.process.stderr.close()
        os.close(self._wake)
        os.close(self._waker)


@functools.cache
def interpreters() -> dict[str, str]:
    """Every Python found here, by version; the one that runs the tests included."""
    import shutil

    found = {"{}.{}".format(*sys.version_info[:2]): sys.executable}
    for minor in range(6, 15):
        version = f"3.{minor}"
        if version in found:
            continue
        path = shutil.which(f"python{version}")
        candidates = sorted(PYENV.glob(f"{version}.*/bin/python"))
        places = [str(place) for place in candidates] + ([path] if path else [])
        for place in places:
            asked = subprocess.run([place, "-c", ""], capture_output=True, check=False)
            if asked.returncode == 0:
                found[version] = place
                break
    return found


def bundle_file(folder: Path) -> Path:
    """The agent's zipapp, as deployed."""
    bundle = agent_bundle()
    path = folder / f"agent-{bundle.sha256[:16]}.pyz"
    if not path.exists():
        path.write_bytes(bundle.data)
    return path


@contextlib.contextmanager
def agent(
    workdir: Path,
    *,
    python: str = PYTHON,
    board: str = "bench",
    owner: str = "tester",
    idle_s: float = 5.0,
    extra: str = "",
    before: str = "",
    **options: bool,
) -> Iterator[PipeChannel]:
    """A running agent; `before` is put before its command, `extra` behind."""
    path = bundle_file(workdir)
    command = agent_command(python, str(path), str(workdir), board, owner, idle_s, **options)
    channel = PipeChannel(before + command + " " + extra)
    try:
        yield channel
    finally:
        channel.end()


@contextlib.contextmanager
def session(channel: PipeChannel, board: str = "bench", **limits: float) -> Iterator[AgentSession]:
    """The head's side over a channel, closed at the end."""
    settings = {"heartbeat_s": 0.2, "dead_after_s": 5.0, "start_timeout_s": 20.0, **limits}
    made = AgentSession(channel, board=board, **settings)
    try:
        yield made
    finally:
        made.close()


def end_lease(path: Path) -> None:
    """As if a holder's lease had run out, which takes its time."""
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "until": 0.0}))
