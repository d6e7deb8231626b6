"""Hundreds of boards on one small host: a run with a row each, watched from outside.

The boards are SSH servers of this host (eight processes hold them) with the real agent; their
runtime takes an exact time and no processor, so that what is busy is farm. Each board is set up
differently, so that each deploys, measures and extracts for a row of its own; their features turn
out equal, so that score and parity are made once and found for the others. `farm run` runs on a
terminal of its own, as a person runs it.

Goals: the run completes and every board works; the processes of farm and of Ray on this host take
at most 1 GB (PSS; the boards' servers and agents are counted apart); the first measurement ends
within 15 s of the start; the console draws at least twice a second, and no frame is older; Ctrl-C
gives the prompt back within a second.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._light_boards import project
from benchmarks._timed_runs import Project, of
from benchmarks._watching import Terminal, Watch, shown_steps
from orchestrator.events import Event

MEMORY_MB, FIRST_S, FRAME_S, PROMPT_S = 1000.0, 15.0, 0.5, 1.0


def of_the_host(kind: str) -> bool:
    """Whether a kind of process is farm's or Ray's, not the boards' or this benchmark's."""
    return kind not in ("board servers", "board agents", "benchmark")


def waits(events: Sequence[Event]) -> tuple[list[float], list[float]]:
    """Seconds until each board first works, and each board's longest stand between its steps.

    A board stands when it is connected, has something left to do and does nothing.
    """
    began = events[0].at
    first: dict[str, float] = {}
    idle_since: dict[str, float] = {}
    longest: dict[str, float] = {}
    for event in events:
        board = getattr(event, "board", "")
        if not board:
            continue
        if event.event == "step_started":
            first.setdefault(board, event.at - began)
            if board in idle_since:
                stood = event.at - idle_since.pop(board)
                longest[board] = max(longest.get(board, 0.0), stood)
        elif event.event in ("step_finished", "step_failed"):
            idle_since[board] = event.at
        elif event.event == "board_changed" and event.state == "ready":
            idle_since.setdefault(board, event.at)
    return list(first.values()), list(longest.values())


def staleness(shown: Iterable[tuple[float, int]], events: Sequence[Event]) -> list[float]:
    """How old what each frame says is: since when one more step had been done."""
    ends = [e.at for e in events if e.event in ("step_finished", "step_skipped")]
    ends += [e.at for e in events if e.event == "step_failed" and not e.retry]
    ends.sort()
    return [max(0.0, at - ends[done]) if done < len(ends) else 0.0 for at, done in shown]


def quantile(values: Sequence[float], share: float) -> float:
    """A quantile; 0 of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def whole_run(made: Project, limit_s: float) -> tuple[dict[str, Any], Terminal, Watch]:
    """A run to its end; its figures."""
    started = time.time()
    terminal = Terminal(made.command("run"), made.folder, made.environment)
    roots = {"host": terminal.process.pid, "boards": os.getpid()}
    watch = Watch(roots)
    try:
        code = terminal.process.wait(limit_s)
    finally:
        if terminal.process.poll() is None:
            terminal.process.send_signal(signal.SIGINT)
        ended = time.time()
        watch.stop()
        terminal.close()
    events = made.events()
    measured = [e.at for e in of("step_finished", events) if e.stage == "measure"]
    first, stood = waits(events)
    frames = [f for f in terminal.frames() if f[0] < events[-1].at]
    moments = [*(at for at, _ in frames), events[-1].at]  # a view that stands still counts
    gaps = [after - before for before, after in itertools.pairwise(moments)]
    old = staleness(shown_steps(frames), events)
    memory, sample = watch.peak(of_the_host)
    log = made.latest
    figures = {
        "exit_code": code,
        "rows": len(of("cell_finished", events)),
        "boards_worked": len({e.board for e in of("step_finished", events) if e.board}),
        "failed_attempts": len(of("step_failed", events)),
        "first_measurement_s": min(measured, default=float("inf")) - started,
        "plan_and_start_s": events[0].at - started,
        "makespan_s": events[-1].at - events[0].at,
        "command_s": ended - started,
        "memory_mb": memory,
        "memory_by_kind_mb": {k: [c, t, round(m)] for k, (c, t, m) in sorted(sample.items())},
        "boards_memory_mb": watch.peak(lambda k: k.startswith("board "))[0],
        "cpu_s": {k: round(v, 1) for k, v in sorted(watch.cpu_s.items())},
        "frames": len(frames),
        "frame_gap_p95_s": quantile(gaps, 0.95),
        "frame_gap_max_s": max(gaps, default=float("inf")),
        "frame_age_p95_s": quantile(old, 0.95),
        "frame_age_max_s": max(old, default=float("inf")),
        "board_first_work_median_s": statistics.median(first) if first else 0.0,
        "board_first_work_max_s": max(first, default=0.0),
        "board_stood_p95_s": quantile(stood, 0.95),
        "board_stood_max_s": max(stood, default=0.0),
        "events": len(events),
        "events_mb": (log / "events.jsonl").stat().st_size / 1e6,
    }
    return figures, terminal, watch


def commands(made: Project) -> dict[str, Any]:
    """Seconds that commands take which speak of the whole fleet, after a run."""
    spent: dict[str, float] = {}
    for words in (("plan",), ("boards", "list"), ("report",)):
        began = time.monotonic()
        subprocess.run(
            made.command(*words),
            cwd=made.folder,
            env=made.environment,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        spent["farm " + " ".join(words)] = time.monotonic() - began
    return {"commands_s": spent, "report_mb": (made.latest / "report.html").stat().st_size / 1e6}


def interrupted(made: Project, limit_s: float) -> float:
    """Seconds from Ctrl-C in the middle of a new run to its end."""
    made.forget()
    terminal = Terminal(made.command("run"), made.folder, made.environment)
    end = time.monotonic() + limit_s
    log = made.latest / "events.jsonl"
    try:
        while time.monotonic() < end and terminal.process.poll() is None:
            time.sleep(0.2)
            with_measure = log.exists() and sum(
                e.event == "step_finished" and e.stage == "measure" for e in made.events()
            )
            if with_measure and with_measure >= 5:
                break
        pressed = time.monotonic()
        terminal.press(b"\x03")
        terminal.process.wait(60)
        return time.monotonic() - pressed
    finally:
        terminal.process.kill()
        terminal.close()


def show(figures: dict[str, Any], count: int) -> list[str]:
    """Print the figures; the goals that were missed."""
    f = figures
    print(f"{count} boards, {f['rows']} rows, exit code {f['exit_code']}")
    print(
        f"start to first measurement {f['first_measurement_s']:.1f} s (goal {FIRST_S:g}); "
        f"planned after {f['plan_and_start_s']:.1f} s; makespan {f['makespan_s']:.1f} s, the "
        f"command {f['command_s']:.1f} s"
    )
    print(f"host's memory {f['memory_mb']:.0f} MB (goal {MEMORY_MB:g}), at its peak:")
    for kind, (number, threads, memory) in f["memory_by_kind_mb"].items():
        print(f"  {kind}: {memory} MB in {number} processes with {threads} threads")
    print(f"boards' servers and agents: {f['boards_memory_mb']:.0f} MB at their peak")
    print("CPU seconds: " + ", ".join(f"{k} {v:.1f}" for k, v in f["cpu_s"].items()))
    print(
        f"console: {f['frames']} frames, {f['frame_gap_p95_s']:.2f} s apart (p95; longest "
        f"{f['frame_gap_max_s']:.2f}, goal {FRAME_S:g}); what they say is "
        f"{f['frame_age_p95_s']:.2f} s old (p95; oldest {f['frame_age_max_s']:.2f})"
    )
    if "prompt_s" in f:
        print(f"Ctrl-C to prompt: {f['prompt_s']:.2f} s (goal {PROMPT_S:g})")
    print(
        f"{f['boards_worked']} boards worked; first work after {f['board_first_work_median_s']:.1f}"
        f" s (median), {f['board_first_work_max_s']:.1f} s (last); a connected board stood "
        f"{f['board_stood_p95_s']:.1f} s (p95), {f['board_stood_max_s']:.1f} s (longest)"
    )
    print(f"{f['events']} events, {f['events_mb']:.1f} MB; {f['failed_attempts']} failed attempts")
    for words, seconds in f.get("commands_s", {}).items():
        print(f"{words}: {seconds:.1f} s")
    if "report_mb" in f:
        print(f"report.html: {f['report_mb']:.1f} MB")
    wanted = {
        "completes": f["exit_code"] == 0 and f["rows"] == count,
        "every board works": f["boards_worked"] == count,
        "memory": f["memory_mb"] <= MEMORY_MB,
        "first measurement": f["first_measurement_s"] <= FIRST_S,
        "frames": max(f["frame_gap_max_s"], f["frame_age_max_s"]) <= FRAME_S,
        "Ctrl-C": f.get("prompt_s", 0.0) <= PROMPT_S,
    }
    return [name for name, good in wanted.items() if not good]


def main() -> int:
    """Print the figures; 1 when one misses its goal."""
    parser = argparse.ArgumentParser(prog="benchmarks fleet", description=__doc__)
    parser.add_argument("--boards", type=int, default=200)
    parser.add_argument("--limit-s", type=float, default=900)
    parser.add_argument("--json", help="where the figures are written to")
    parser.add_argument("--keep", help="folder for the run's events, log and screen")
    parser.add_argument("--no-interrupt", action="store_true", help="leave Ctrl-C out")
    told = parser.parse_args()
    began = time.monotonic()
    with project(told.boards) as run:
        print(f"{told.boards} boards serve after {time.monotonic() - began:.1f} s", flush=True)
        figures, terminal, _ = whole_run(run, told.limit_s)
        if told.keep or figures["exit_code"]:
            keep = Path(told.keep or "benchmark-fleet")
            keep.mkdir(parents=True, exist_ok=True)
            for name in ("events.jsonl", "driver.log", "report.html"):
                source = run.latest / name
                if source.exists():
                    (keep / name).write_bytes(source.read_bytes())
            middle = (terminal.chunks[0][0] + terminal.chunks[-1][0]) / 2
            (keep / "screen.txt").write_text(terminal.screen(middle) + "\n")
            (keep / "end.txt").write_text(terminal.screen() + "\n")
        if not figures["exit_code"]:
            figures |= commands(run)
        if not told.no_interrupt:
            figures["prompt_s"] = interrupted(run, told.limit_s)
    missed = show(figures, told.boards)
    if told.json:
        Path(told.json).write_text(json.dumps(figures, indent=1) + "\n")
    for name in missed:
        print(f"MISSED: {name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
