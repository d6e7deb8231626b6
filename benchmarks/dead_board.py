"""One dead board among eight: what it costs the other seven.

Eight boards over real SSH with a runtime that takes 40 ms an image and no processor, each with a
row of its own. A run planned without the eighth, then runs with it, in which it refuses
connections, accepts them and says nothing, or dies in the middle of its extraction. What counts is
when the seven's rows are done, from `run_started`; when the whole run ends, which waits for the
dead board as long as it is told to (`lost_s`, here 20 s instead of 300), is printed beside it.
Goal: each at most 1.05 of the run without it.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks._timed_runs import Boards, Project, TimedBoard, boards, of, project
from orchestrator.events import EventReader

GOAL = 1.05
NAMES = tuple(f"board{i}" for i in range(8))
DEAD = NAMES[-1]
MS, IDENTITIES, UNKNOWN = 40.0, 300, 50
POLICY = "warm_up_count: 10, min_duration_s: 1.0, min_count: 20, max_duration_s: 30, blocks: 1"
DEADLINES = {"connect_s": 5, "lost_s": 20}
Strike = Callable[[Project], None]


def made_of(folder: Path, made: Boards, names: tuple[str, ...], port: int = 0) -> Project:
    """A project with a row for each board; the dead one's port may be another."""
    inventory = []
    for number, name in enumerate(names):
        # Each is set up differently, else boards of a kind would share features.
        runtime = f"    runtime: {{name: onnxruntime, threads: {number + 1}}}\n"
        entry = made.entry(TimedBoard(name, "host-cpu"), runtime)
        if port and name == DEAD:
            entry = entry.replace(f"port: {made.servers.start(name).port}", f"port: {port}")
        inventory.append(entry)
    chosen = f"boards: [{', '.join(names)}], toolchain: timed, quantization: float32"
    folder.mkdir()
    return project(
        folder,
        inventory,
        f"  - {{name: all, {chosen}}}\n",
        ms=MS,
        identities=IDENTITIES,
        unknown=UNKNOWN,
        measurement=POLICY,
        deadlines=DEADLINES,
    )


def seconds(run: Project, strike: Strike | None = None) -> tuple[float, float, set[str]]:
    """When the rows of all but the dead board were done, when the run ended, and its rows."""
    process = run.start()
    try:
        if strike is not None:
            strike(run)
        process.wait(300)
    finally:
        process.kill()
    events = run.events()
    began = of("run_started", events)[0].at
    rows = of("cell_finished", events)
    done = max(event.at for event in rows if event.result["board"] != DEAD)
    return done - began, events[-1].at - began, {event.result["board"] for event in rows}


@contextmanager
def silent_port() -> Iterator[int]:
    """A port where connections are accepted by the kernel and nobody answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


def refusing_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def main() -> int:
    """Print the ratios; 1 when one misses the goal."""
    with boards() as (folder, made):

        def die(run: Project) -> None:
            reader = EventReader(run.latest / "events.jsonl")
            until = time.monotonic() + 120
            while time.monotonic() < until:
                if run.latest.exists() and any(
                    e.event == "step_progress" and e.board == DEAD and "extract" in e.step
                    for e in reader.new()
                ):
                    made.servers.stop(DEAD)
                    return
                time.sleep(0.2)

        least, _, _ = seconds(made_of(folder / "without", made, NAMES[:-1]))
        print(f"without it: the seven rows after {least:.1f} s")
        found = [
            ("refuses connections", seconds(made_of(folder / "r", made, NAMES, refusing_port())))
        ]
        with silent_port() as port:
            found.append(("says nothing", seconds(made_of(folder / "s", made, NAMES, port))))
        found.append(("dies while it extracts", seconds(made_of(folder / "d", made, NAMES), die)))
    worst = 0.0
    for what, (done, ended, rows) in found:
        ratio = done / least
        worst = max(worst, ratio)
        print(
            f"{what}: the seven rows after {done:.1f} s, {ratio:.3f} of that (goal {GOAL}); the "
            f"run ends after {ended:.1f} s"
        )
        if rows != set(NAMES[:-1]):
            print(f"  rows of {sorted(rows)}: expected those of the seven")
            return 1
    return 0 if worst <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
