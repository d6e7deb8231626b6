"""A default run from nothing beside what cannot be saved: inferences, rendering and calibration.

`python -m benchmarks whole_run [N]`: `farm run matrix.yaml`, with N for `--limit N`. Beside the CPU
seconds of this host meanwhile, all that runs on it included, are those of the run's parts done
bare, right afterwards in one process: each artifact over the images that it had to be computed for,
the renderer, the calibration. When the first row is complete comes from the run's own events.
Whose the CPU seconds were comes from two looks a second at all processes; `rest` is what lived
between two looks, the watching, and all else on this machine.

Cores that work beside each other share caches, clock and perhaps multipliers, so an inference there
takes longer than alone. The inferences are therefore timed in one process, and in as many at a time
as there are cores; the second divided by the cores is what a run cannot be quicker than.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks._watching import Watch, busy_s
from orchestrator.events import CellFinished, EventReader

ROOT = Path(__file__).resolve().parent.parent
GOAL, FIRST_GOAL_S = 1.25, 20.0
TIMED, WARM_UP_S = 400, 0.5


@dataclass(frozen=True)
class Run:
    """What a run took: seconds, those until its first row, the host's CPU seconds, and whose."""

    wall_s: float
    first_s: float
    cpu_s: float
    cpu_of: Mapping[str, float]


def run(folder: Path, limit: int | None) -> Run:
    """Carry it out."""
    for name in ("models", "device_inventory.yaml", "matrix.yaml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    command = [sys.executable, "-m", "orchestrator.cli.main", "run", "--quiet"]
    command += ["--limit", str(limit)] if limit else []
    before, began, at = busy_s(), time.monotonic(), time.time()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        watch = Watch({"run": process.pid}, every_s=0.5, memory=False)
        code = process.wait()
    wall, cpu = time.monotonic() - began, busy_s() - before
    watch.stop()
    assert code == 0, code
    events = EventReader(folder / "runs" / "latest" / "events.jsonl").new()
    first = next(event.at for event in events if isinstance(event, CellFinished))
    return Run(wall, first - at, cpu, watch.cpu_s)


def manifests(store: Path, stage: str) -> list[tuple[Path, dict]]:
    """What the store holds of a stage."""
    found = sorted((store / stage).glob("*/manifest.json"))
    return [(path.parent, json.loads(path.read_text())) for path in found]


def inferences(store: Path, processes: int) -> float:
    """CPU seconds of every inference that had to be computed, each on one thread.

    Args:
        processes: that infer at a time.
    """
    from benchmarks import whole_run  # by this name other processes find it

    files = {each["content"]: folder / "artifact" for folder, each in manifests(store, "convert")}
    images: dict[str, int] = {}
    for folder, manifest in manifests(store, "extract"):
        if "same_features_as" in manifest["provenance"]:
            continue
        artifact = json.loads((folder / "features.json").read_text())["header"]["artifact"]
        images[artifact] = images.get(artifact, 0) + manifest["facts"]["rows"]
    total = 0.0
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for artifact, count in images.items():
            costs = pool.map(whole_run.inference, [str(files[artifact])] * processes, chunksize=1)
            total += count * sum(costs) / processes
    return total


def inference(artifact: str) -> float:
    """CPU seconds of one inference as the run's boards did it, on one thread."""
    from orchestrator.graphs.sessions import faithful_session
    from orchestrator.stages.deployable import INTERFACE, read_interface

    interface = read_interface((Path(artifact).parent / INTERFACE).read_bytes())
    session = faithful_session(artifact, threads=1, integer_sums=bool(interface.integer_sums))
    tensor = session.get_inputs()[0]
    image = np.random.default_rng(0).random([1, *tensor.shape[1:]], np.float32)
    end = time.monotonic() + WARM_UP_S  # until the other processes are as far
    while time.monotonic() < end:
        session.run(None, {tensor.name: image})
    began = time.process_time()
    for _ in range(TIMED):
        session.run(None, {tensor.name: image})
    return (time.process_time() - began) / TIMED


def rendering(store: Path) -> float:
    """CPU seconds of the renderer, on one thread."""
    from orchestrator.images import render
    from orchestrator.scoring.blas import single_threaded_blas

    count = sum(manifest["facts"]["count"] for _, manifest in manifests(store, "images"))
    with single_threaded_blas():
        render(np.arange(8), np.zeros(8, int), 0, 1.5)
        began = time.process_time()
        render(np.arange(TIMED), np.zeros(TIMED, int), 0, 1.5)
    return (time.process_time() - began) / TIMED * count


def calibration(store: Path) -> float:
    """CPU seconds of one calibration of the run's images."""
    from orchestrator.calibration import calibrate
    from orchestrator.specs.model import load_model
    from orchestrator.stages import quantize

    smallest = min(manifests(store, "images"), key=lambda found: found[1]["facts"]["count"])[0]
    model = load_model(ROOT / "models" / "synthface-ir.yaml")
    inputs = quantize.inputs_of(np.load(smallest / "images.npy"), model.input_meta)
    began = time.process_time()
    calibrate(model.path.read_bytes(), [inputs])
    return time.process_time() - began


def _listed(seconds: Mapping[str, float]) -> str:
    largest = sorted(seconds.items(), key=lambda found: -found[1])
    return ", ".join(f"{name} {value:.1f}" for name, value in largest)


def main(limit: int | None) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="farm-b") as name:
        folder = Path(name)
        done = run(folder, limit)
        store = folder / ".farm" / "store"
        parts = {
            "inferences": inferences(store, 1),
            "rendering": rendering(store),
            "calibration": calibration(store),
        }
        cores = len(os.sched_getaffinity(0))
        beside = inferences(store, cores) + parts["rendering"] + parts["calibration"]
    bare = sum(parts.values())
    first = f"first row after {done.first_s:.1f} s (goal <= {FIRST_GOAL_S:g})"
    print(f"run_s: {done.wall_s:.1f}; {first}")
    print(f"host_cpu_s: {done.cpu_s:.1f}; bare {bare:.1f}: {_listed(parts)}")
    print(f"host_cpu_of_bare: {done.cpu_s / bare:.2f} x")
    rest = done.cpu_s - sum(done.cpu_of.values())
    print(f"host_cpu_by_process: {_listed({**done.cpu_of, 'rest': rest})}")
    for words, seconds in (("alone", bare), ("beside each other", beside)):
        least = seconds / cores
        share = f"{done.wall_s / least:.2f} x {least:.1f} s"
        print(f"run_of_bare, timed {words}: {share} (goal <= {GOAL})")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else None)
