"""What a run costs its host and shows its user: processes by what they are, a terminal's frames."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import pty
import re
import resource
import struct
import subprocess
import termios
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.driving.supervisor import PR_SET_CHILD_SUBREAPER

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Process:
    """A process at a moment: CPU seconds are its own."""

    pid: int
    parent: int
    words: str
    cpu_s: float
    threads: int


def processes() -> dict[int, Process]:
    """Every process of this machine."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        own = sum(map(int, fields[11:13])) / TICK
        pid = int(entry.name)
        found[pid] = Process(pid, int(fields[1]), words, own, int(fields[17]))
    return found


def kind_of(root: str, process: Process) -> str:
    """What a process below `root` is: of the host, or of the boards."""
    if process.pid == os.getpid():
        return "benchmark"
    for word, name in (
        ("emulated.server", "board servers"),
        (".pyz serve", "board agents"),
        ("orchestrator.cli.main", "console"),
        ("orchestrator.driving", "driver"),
        ("gcs_server", "ray gcs"),
        ("raylet/raylet", "ray raylet"),
        ("ray::Host", "ray host actors"),
        ("ray::", "ray workers"),
        ("default_worker.py", "ray workers"),
        ("forkserver", "rendering"),
        ("spawn_main", "rendering"),
    ):
        if word in process.words:
            return name
    if root == "boards":
        return "board agents"
    return "ray helpers" if "/ray/" in process.words else "other"


def below(root: int, among: Mapping[int, Process]) -> list[Process]:
    """A process and all that descend from it."""
    children = defaultdict(list)
    for process in among.values():
        children[process.parent].append(process.pid)
    found, pending = [], [root] if root in among else []
    while pending:
        pid = pending.pop()
        found.append(among[pid])
        pending += children[pid]
    return found


def pss_mb(pid: int) -> float:
    """A process's proportional share of memory, in MB (10^6 bytes)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def children_cpu_s() -> float:
    """CPU seconds of all that this process started, once all of it has ended.

    A driver outlives its console: call `adopt_orphans` before anything is started.
    """
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def busy_s() -> float:
    """CPU seconds of this machine since it started, whoever used them (proc(5), `stat`).

    What a run starts in sessions of its own is waited for by others: no sum over children has it.
    """
    user, nice, system, _, _, *interrupts = (
        Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    )
    return sum(map(int, (user, nice, system, *interrupts[:2]))) / TICK


def adopt_orphans() -> None:
    """Have what children leave running counted among this process's own."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@dataclass
class Watch:
    """Samples the descendants of some roots until it is stopped.

    Args:
        roots: a process counts for the first that it is below.
        memory: whether to ask for it as well, which takes some ms a process.
    """

    roots: Mapping[str, int]
    every_s: float = 1.0
    memory: bool = True
    samples: list[tuple[float, dict[str, tuple[int, int, float]]]] = field(default_factory=list)
    cpu_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._last: dict[int, float] = {}
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(self.every_s):
            self._look()

    def _look(self) -> None:
        now, everything = time.time(), processes()
        seen: dict[str, tuple[int, int, float]] = {}
        counted: set[int] = set()  # a root may be below another
        for name, root in self.roots.items():
            for process in below(root, everything):
                if process.pid in counted:
                    continue
                counted.add(process.pid)
                kind = kind_of(name, process)
                count, threads, memory = seen.get(kind, (0, 0, 0.0))
                memory += pss_mb(process.pid) if self.memory else 0.0
                seen[kind] = count + 1, threads + process.threads, memory
                # A worker of Ray changes its name with what it does.
                spent = process.cpu_s - self._last.get(process.pid, 0.0)
                self.cpu_s[kind] += spent
                self._last[process.pid] = process.cpu_s
        self.samples.append((now, seen))

    def stop(self) -> None:
        """End; `cpu_s` is then complete but for what ended between two looks."""
        self._stop.set()
        self._thread.join()

    def peak(self, kinds: Callable[[str], bool]) -> tuple[float, dict[str, tuple[int, int, float]]]:
        """The largest sum of memory in MB, and the sample in which it was."""

        def total(sample: Mapping[str, tuple[int, int, float]]) -> float:
            return sum(found[2] for kind, found in sample.items() if kinds(kind))

        best = max((sample for _, sample in self.samples), key=total, default={})
        return total(best), best


class Terminal:
    """A command on a pseudo-terminal of its own; what it writes is kept with the time it came."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        columns: int = 200,
        lines: int = 60,
    ) -> None:
        self.size = columns, lines
        self.chunks: list[tuple[float, bytes]] = []
        self._master, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "TERM": "xterm-256color"},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inner)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(self._master, 1 << 16):
                self.chunks.append((time.time(), data))

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._master, keys)

    def close(self) -> None:
        """Wait for what was written, and give the terminal up."""
        self._thread.join(2)
        os.close(self._master)

    def frames(self) -> list[tuple[float, str]]:
        """Each drawing of the live view: when its first byte came, and its bytes as text."""
        made: list[tuple[float, str]] = []
        for at, data in self.chunks:
            text = data.decode(errors="replace")
            if not made and not _CONTROL.sub("", text).strip():
                continue  # the cursor is hidden before anything is drawn
            # rich draws over the last frame: it goes up to its first line, and clears that.
            if "\x1b[2K" in text[:200] or not made:
                made.append((at, text))
            else:
                made[-1] = made[-1][0], made[-1][1] + text
        return made

    def screen(self, until: float | None = None) -> str:
        """What stands on it (at a moment)."""
        import pyte

        screen = pyte.Screen(*self.size)
        stream = pyte.ByteStream(screen)
        chunks = [data for at, data in self.chunks if until is None or at <= until]
        stream.feed(b"".join(chunks[-400:]))
        return "\n".join(line.rstrip() for line in screen.display).rstrip()


_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_STEPS = re.compile(r"([\d,]+) of [\d,]+ steps")


def shown_steps(frames: Sequence[tuple[float, str]]) -> list[tuple[float, int]]:
    """How many finished steps each frame speaks of."""
    found = []
    for at, text in frames:
        told = _STEPS.findall(_CONTROL.sub("", text))
        if told:
            found.append((at, int(told[-1].replace(",", ""))))
    return found
