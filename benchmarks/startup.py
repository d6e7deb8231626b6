"""What a person waits for before anything runs: `farm --help`, and `farm run` where all is cached.

`python -m benchmarks startup`: each is started several times in turn beside `python -c pass`, so
that the ratio is taken pair by pair. The cached run is of one small float32 row, made first.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks._watching import adopt_orphans, children_cpu_s

ROOT = Path(__file__).resolve().parent.parent
FARM = str(Path(sys.executable).with_name("farm"))
RUNS = 7
HELP_GOAL, CACHED_GOAL_S = 3.0, 0.5


def timed(command: Sequence[str], folder: Path) -> tuple[float, float]:
    """Seconds on the clock, and CPU seconds of the process and those that it waited for."""
    before, began = children_cpu_s(), time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wall = time.perf_counter() - began
    return wall, children_cpu_s() - before


def spread(values: Sequence[float], form: str) -> str:
    """The median, and between which values the others lie."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:{form}} ({least:{form}}–{most:{form}})"


def project(folder: Path) -> None:
    """One float32 row on this host, made once."""
    for name in ("models", "device_inventory.yaml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    lines = (ROOT / "matrix.yaml").read_text()
    (folder / "matrix.yaml").write_text(lines)
    command = [FARM, "run", "--limit", "60", "--only", "float32", "--quiet"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Print the figures."""
    adopt_orphans()
    nothing = [sys.executable, "-c", "pass"]
    with tempfile.TemporaryDirectory(prefix="farm-b") as name:
        folder = Path(name)
        project(folder)
        cached = [FARM, "run", "--limit", "60", "--only", "float32", "--quiet"]
        found: dict[str, list[tuple[float, float, float]]] = {}
        for _ in range(RUNS):
            for what, command in (("help", [FARM, "--help"]), ("cached", cached)):
                wall, cpu = timed(command, folder)
                least = timed(nothing, folder)[1]
                found.setdefault(what, []).append((wall, cpu, cpu / max(least, 1e-3)))
    for what, runs in found.items():
        walls, cpus, ratios = zip(*runs, strict=True)
        print(f"startup_{what}_s: {spread(walls, '.2f')}", end="")
        print(f" (goal <= {CACHED_GOAL_S})" if what == "cached" else "")
        print(f"startup_{what}_cpu_s: {spread(cpus, '.2f')}")
        goal = f" (goal <= {HELP_GOAL:g})" if what == "help" else ""
        print(f"startup_{what}_of_python_pass: {spread(ratios, '.1f')} x by CPU{goal}", flush=True)


if __name__ == "__main__":
    main()
