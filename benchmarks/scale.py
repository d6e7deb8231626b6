"""How cost grows with the gallery, the rows of a plan and the boards, with the fitted exponent.

`python -m benchmarks scale` takes about five minutes; `--full` simulates 5,000 boards with 20,000
rows too. Cost is CPU seconds; an exponent of 1 means that twice as much costs twice as much.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks import scoring

ROOT = Path(__file__).resolve().parent.parent
PROBES = 4000
GALLERIES = (10_000, 20_000, 40_000)
PLANNED = (125, 250, 500)
SIMULATED = (500, 1000, 2000)
ROWS_A_BOARD = 4
PLAN_S, PLAN_MB, SIMULATED_S = 3.0, 300.0, 5.0
KINDS = {
    "khadas-vim3": "uint8 per-tensor asymmetric",
    "imx8mp": "uint8 per-tensor asymmetric",
    "rv1126": "uint8 per-tensor asymmetric",
    "jetson-xavier-nx": "int8 per-channel symmetric",
}


def exponent(points: Mapping[int, float]) -> float:
    """The slope of the points in logarithms."""
    sizes, costs = np.log(list(points)), np.log(list(points.values()))
    return float(np.polyfit(sizes, costs, 1)[0])


def say(name: str, unit: str, points: Mapping[int, float], goal: str = "") -> None:
    """A line of the table."""
    shown = ", ".join(f"{size:,}: {cost:.2f} {unit}" for size, cost in points.items())
    print(f"{name}: {shown}; exponent {exponent(points):.2f}" + (f" (goal {goal})" if goal else ""))
    sys.stdout.flush()


def galleries() -> None:
    """1:N search of 4,000 probes."""
    found: dict[str, dict[int, float]] = {"int8": {}, "float32": {}}
    memory: dict[int, float] = {}
    for size in GALLERIES:
        with tempfile.TemporaryDirectory() as folder:
            scoring.make(Path(folder), size, PROBES)
            best = scoring.side_by_side(Path(folder), 2, tuple(found))
        for name, points in found.items():
            points[size] = best[name]["cpu"]
        memory[size] = best["int8"]["over_features"] / scoring.MEBI
    for name, points in found.items():
        say(f"scale_gallery_{name}", "core-s", points)
    say("scale_gallery_memory_over_features", "MiB", memory)


def project(folder: Path, boards: int) -> None:
    """So many emulated boards, four rows each."""
    shutil.copytree(ROOT / "models", folder / "models")
    kinds = list(KINDS)
    inventory = ["boards:", "  - {name: this-host, kind: host-cpu, transport: local}"]
    matrix = [
        "models: synthface-ir",
        "test_set: {rendered: {seed: 0, identities: 3000, unknown: 1000}}",
        "calibration: {rendered: {images: 200}}",
        "scoring: {far: [1e-2], table_far: 1e-2}",
        "entries:",
        "  - {name: f, boards: this-host, quantization: float32}",
    ]
    for number in range(boards):
        kind = kinds[number % len(kinds)]
        inventory.append(f"  - {{name: b{number:04}, kind: {kind}, transport: emulated}}")
        ways = f"['{KINDS[kind]}', '{KINDS[kind]} percentile']"
        matrix.append(
            f"  - {{name: e{number:04}, boards: b{number:04}, quantization: {ways},"
            " gallery: [same, float32]}"
        )
    (folder / "device_inventory.yaml").write_text("\n".join(inventory) + "\n")
    (folder / "matrix.yaml").write_text("\n".join(matrix) + "\n")


def planned() -> None:
    """`farm plan` from an empty store, its estimate included."""
    seconds: dict[int, float] = {}
    memory: dict[int, float] = {}
    for boards in PLANNED:
        with tempfile.TemporaryDirectory(prefix="farm-b") as name:
            project(Path(name), boards)
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.scale", "--plan", name],
                check=True,
                capture_output=True,
                text=True,
                cwd=ROOT,
            )
        cost = json.loads(done.stdout.splitlines()[-1])
        rows = boards * ROWS_A_BOARD
        seconds[rows], memory[rows] = cost["cpu"], cost["peak"]
    say("scale_plan_rows", "core-s", seconds, f"2,000 rows in {PLAN_S:g} s")
    say("scale_plan_memory", "MB", memory, f"{PLAN_MB:g} MB")


def plan(folder: str) -> None:
    """One plan, in a process of its own."""
    import io
    import os
    import resource
    from contextlib import redirect_stdout

    from orchestrator.cli.main import main as farm

    os.chdir(folder)
    with redirect_stdout(io.StringIO()):
        code = farm(["plan"])
    assert code == 0, code
    used = resource.getrusage(resource.RUSAGE_SELF)
    # Not `ru_maxrss`: before it has executed its program, a process is as large as who starts it.
    status = Path("/proc/self/status").read_text()
    peak_kib = int(status.partition("VmHWM:")[2].split()[0])
    cost = {"cpu": used.ru_utime + used.ru_stime, "peak": peak_kib / 1024}
    print(json.dumps(cost))


def simulated(boards: int) -> float:
    """CPU seconds of simulating so many boards, each with four rows of its own."""
    from tests.scheduling.test_simulator import graph_of, run

    names = [f"b{number}" for number in range(boards)]
    graph = graph_of([(name,) for name in names for _ in range(ROWS_A_BOARD)])
    began = time.process_time()
    done = run(graph, names)
    took = time.process_time() - began
    assert not done.failed
    return took


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks scale", description=__doc__)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--plan", metavar="FOLDER", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.plan:
        plan(asked.plan)
        return
    sizes = (*SIMULATED, 5000) if asked.full else SIMULATED
    goal = f"5,000 boards with 20,000 rows in {SIMULATED_S:g} s"
    say("scale_simulated_boards", "core-s", {each: simulated(each) for each in sizes}, goal)
    planned()
    galleries()


if __name__ == "__main__":
    main()
