"""Makespan of a 40-cell matrix over 8 boards against the shortest that it can be.

20 encoders on two kinds of boards, four of each, over real SSH, with a runtime that takes 40 ms an
image and no processor; quantize, convert, score and compare are the real ones. The lower bound is
the greatest of

- the busiest pool: what the runtime itself took for all that the pool had to do (images x its
  time; for a measurement its warm-up, its counted inferences and the policy's pauses), over the
  pool's boards. Its time is the mean of what it timed itself: a sleep of 40 ms takes 40.1 to 40.2;
- the critical path: of any row, images, calibrate, quantize and convert as they were seen, then
  the runtime's own time of its longest step, then score and compare as they were seen;
- the head: all steps without a board, as they were seen, over its processors.

Ray's start, connecting, deploying, what goes on around the inferences, waiting, and the unequal
ends of boards are farm's own, and no part of the bound. Makespan is from `run_started` to
`run_finished`. Goals: at most 1.04 x the bound, and no board without a step for more than 50 ms
between its first and its last.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks import _timeline
from benchmarks._timed_runs import TimedBoard, boards, of, project
from orchestrator.data.times import TIMES, RawTimes
from orchestrator.events import Event

GOAL, GAP_S = 1.04, 0.05
KINDS = ("khadas-vim3", "imx8mp")
AXES = (
    "int8 per-channel symmetric",
    "int8 per-channel asymmetric",
    "int8 per-tensor symmetric",
    "int8 per-tensor asymmetric",
    "uint8 per-tensor asymmetric",
)
SCHEMES = (
    "float32",
    "float16",
    *(
        f"{axes} {calibrator}"
        for axes in AXES
        for calibrator in ("minmax", "percentile", "entropy")
    ),
    *(f"{axes} minmax equalize" for axes in AXES[:3]),
)
MS, IDENTITIES, UNKNOWN = 40.0, 300, 50
WARM_UP, BLOCKS, PAUSE_S, TIMED_S = 20, 5, 0.2, 2.0
POLICY = (
    f"warm_up_count: {WARM_UP}, min_duration_s: {TIMED_S}, min_count: 20, max_duration_s: 30, "
    f"blocks: {BLOCKS}, pause_s: {PAUSE_S}"
)
BEFORE = ("images", "calibrate", "quantize", "convert")
AFTER = ("score", "parity", "compare")


def image_s(store: Path) -> float:
    """The mean time of an image, as the runtimes timed it in all measurements of a run."""
    files = store.glob(f"measure/*/{TIMES}")
    times = [RawTimes.from_bytes(file.read_bytes()).device_ns for file in files]
    return float(np.concatenate(times).mean()) / 1e9


def own_s(step: str, image_s: float) -> float:
    """The runtime's own time of a step on a board."""
    if step.startswith("measure/"):
        return WARM_UP * image_s + TIMED_S + (BLOCKS - 1) * PAUSE_S
    return (IDENTITIES + (UNKNOWN if step.endswith("/probe") else 0)) * image_s


def bound(events: list[Event], own_s: Callable[[str], float]) -> tuple[float, str]:
    """The shortest makespan, and what makes it so.

    Args:
        own_s: a step to its runtime's own seconds.
    """
    per_board = len(SCHEMES) * sum(map(own_s, ("measure/", "/gallery", "/probe"))) / 4
    longest: dict[str, float] = {}
    head = 0.0
    for event in of("step_finished", events):
        if not event.board:
            head += event.seconds
            longest[event.stage] = max(longest.get(event.stage, 0.0), event.seconds)
    path = sum(longest.get(stage, 0.0) for stage in BEFORE) + own_s("/probe")
    path += longest.get("score", 0.0) + longest.get("compare", 0.0)
    return max(
        (per_board, "the busiest pool"),
        (path, "the critical path"),
        (head / (os.cpu_count() or 1), "the head"),
    )


def main() -> int:
    """Print the ratio; 1 when it misses the goal."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--keep", help="where the events are copied to")
    told = arguments.parse_args()
    with boards() as (folder, made):
        inventory = [
            made.entry(TimedBoard(f"{kind[:3]}-{i}", kind)) for kind in KINDS for i in range(4)
        ]
        entry = (
            f"  - {{name: all, boards: {{kind: [{', '.join(KINDS)}]}}, toolchain: timed,"
            f" quantization: [{', '.join(SCHEMES)}]}}\n"
        )
        (folder / "project").mkdir()
        run = project(
            folder / "project",
            inventory,
            entry,
            ms=MS,
            identities=IDENTITIES,
            unknown=UNKNOWN,
            measurement=POLICY,
        )
        began = time.monotonic()
        code = run.run()
        whole = time.monotonic() - began
        events = run.events()
        an_image_s = image_s(run.folder / ".farm" / "store")
        if code or told.keep:
            print((run.folder / "said.txt").read_text()[-4000:])
        if told.keep:
            import shutil

            shutil.copy(run.folder / "runs" / "latest" / "events.jsonl", told.keep)
    complete = sorted(event.at - events[0].at for event in of("cell_finished", events))
    cells = len(complete)
    makespan = events[-1].at - events[0].at
    own = functools.partial(own_s, image_s=an_image_s)
    least, by = bound(events, own)
    where = _timeline.spent(events, own)
    gap, before = max(gap for board in where.values() for gap in board.gaps)
    print(_timeline.table(where))
    print(f"{cells} rows over 8 boards: makespan {makespan:.1f} s (the command: {whole:.1f} s)")
    print(f"lower bound {least:.1f} s, by {by}; an image took {an_image_s * 1e3:.2f} ms")
    late = sum(board.late for board in where.values()) / len(where)
    print(f"deploying after a board's first extraction had begun: {late:.2f} s a board")
    if complete:
        half = complete[len(complete) // 2]
        print(
            f"rows complete: the first after {complete[0]:.0f} s, half of them after {half:.0f} s"
        )
    print(f"longest gap between two steps: {gap:.3f} s, before {before} (goal {GAP_S})")
    print(f"makespan / lower bound: {makespan / least:.3f} (goal {GOAL})")
    met = makespan <= GOAL * least and gap <= GAP_S
    return 0 if code == 0 and cells == 40 and met else 1


if __name__ == "__main__":
    sys.exit(main())
