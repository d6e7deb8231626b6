"""How well a run's end is foreseen: ten recorded runs, each estimated from those before it.

`python -m benchmarks estimate` replays the event logs in benchmarks/data/estimate in their order,
as the history of somebody who begins with nothing. A line a run: the real time, the estimate at
its start, and after a third of it, each with how far off it was.
`python -m benchmarks estimate --record` makes the runs again, on a machine that does nothing else.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.events import Event, RunFinished, RunStarted, read_events
from orchestrator.planning.paces import Observation
from orchestrator.preflight.caches import kept_observations
from orchestrator.reporting.durations import between, duration
from orchestrator.scheduling.forecast import Forecaster

DATA = Path(__file__).parent / "data" / "estimate"
AT_START, AFTER_A_THIRD = 1.5, 1.2


@dataclass(frozen=True)
class Recording:
    """A run's events, and what computer they are from. `counts`: it ran to its end."""

    name: str
    processors: int
    load: float
    counts: bool
    events: Sequence[Event]


@dataclass(frozen=True)
class Result:
    """Seconds: real, and as estimated at the start and after a third of it."""

    name: str
    real: float
    start: tuple[float, float, float]
    third: float

    @property
    def off_at_start(self) -> float:
        """How far off, at least 1."""
        return _off(self.start[1], self.real)

    @property
    def off_later(self) -> float:
        """The same after a third."""
        return _off(self.third, self.real)


def _off(estimated: float, real: float) -> float:
    return max(estimated / real, real / estimated)


def load(path: Path) -> Recording:
    """A recorded run."""
    with gzip.open(path, "rb") as file:
        head, *lines = file.read().splitlines()
    about = json.loads(head)
    return Recording(events=list(read_events(lines)), **about)


def replay(recording: Recording, earlier: list[Observation]) -> Result | None:
    """Estimate a run from earlier ones and as it goes; `earlier` takes in what it teaches."""
    forecaster = Forecaster(list(earlier), recording.processors)
    began = recording.events[0].at
    real = recording.events[-1].at - began
    start = third = None
    for event in recording.events:
        if start is not None and third is None and event.at >= began + real / 3:
            left = forecaster.expected(began + real / 3)
            third = real / 3 + (left.seconds if left else 0.0)
        earlier += forecaster.take(event)
        if isinstance(event, RunStarted):
            start = forecaster.expected(event.at)
    earlier[:] = kept_observations(earlier)
    if not recording.counts or start is None or third is None:
        return None
    return Result(recording.name, real, (start.low, start.seconds, start.high), third)


def main() -> None:
    """Print a line a run, and how many were near enough."""
    paths = sorted(DATA.glob("*.jsonl.gz"))
    if not paths:
        print("estimate: nothing is recorded; `python -m benchmarks estimate --record` does it")
        return
    earlier: list[Observation] = []
    results = [found for path in paths if (found := replay(load(path), earlier)) is not None]
    loads = [load(path).load for path in paths]
    print(f"estimate_machine_load: {min(loads):.1f} to {max(loads):.1f} before each run")
    for each in results:
        low, middle, high = each.start
        print(
            f"estimate_{each.name}: real {duration(each.real)}; at start {between(low, high)} "
            f"({middle:.0f} s, {each.off_at_start:.2f} x); after a third {each.third:.0f} s "
            f"({each.off_later:.2f} x)"
        )
    start = sum(each.off_at_start <= AT_START for each in results)
    later = sum(each.off_later <= AFTER_A_THIRD for each in results)
    print(f"estimate_at_start: {start} of {len(results)} within {AT_START} x (wanted: all but one)")
    print(f"estimate_after_a_third: {later} of {len(results)} within {AFTER_A_THIRD} x")


def write(path: Path, name: str, load_before: float, events: Iterable[Event]) -> None:
    """Keep a run: what neither says how long anything took nor what there is to do is left out."""
    told: dict[str, float] = {}
    lines = []
    counts = False
    for event in events:
        counts |= isinstance(event, RunFinished) and event.outcome in ("complete", "incomplete")
        if event.event in ("telemetry", "note", "cell_finished", "cell_failed", "forecast"):
            continue
        if event.event == "step_progress":
            if event.done < event.total and event.at - told.get(event.step, 0.0) < 1.0:
                continue
            told[event.step] = event.at
        plain = event.model_dump(mode="json", exclude={"facts", "cells", "summary"})
        for each in plain.get("steps", ()):
            each.pop("cells")
        if event.event == "run_started":
            plain["cells"] = []
        lines.append(json.dumps(plain, separators=(",", ":")))
    about = dict(name=name, processors=os.cpu_count() or 1, load=load_before, counts=counts)
    text = "\n".join([json.dumps(about), *lines]) + "\n"
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    if "--record" in sys.argv[1:]:
        from benchmarks._recording import record

        began = time.monotonic()
        record(DATA, write)
        print(f"recorded in {duration(time.monotonic() - began)}")
    main()
