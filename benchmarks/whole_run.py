"""A default run from nothing beside what cannot be saved: inferences, rendering and calibration.

`python -m benchmarks whole_run [N]`: `farm run matrix.yaml`, with N for `--limit N`. Beside the CPU
seconds of all its processes are those of its parts done bare, right afterwards in one process:
each artifact over the images that it had to be computed for, the renderer, the calibration. When
the first row is complete comes from the run's own events.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks._watching import adopt_orphans, children_cpu_s
from orchestrator.events import CellFinished, EventReader

ROOT = Path(__file__).resolve().parent.parent
GOAL, FIRST_GOAL_S = 1.25, 20.0
TIMED = 200


def run(folder: Path, limit: int | None) -> tuple[float, float, float]:
    """Carry it out: its seconds, its CPU seconds, and the seconds until its first row."""
    for name in ("models", "device_inventory.yaml", "matrix.yaml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    command = [sys.executable, "-m", "orchestrator.cli.main", "run", "--quiet"]
    command += ["--limit", str(limit)] if limit else []
    adopt_orphans()
    before, began, at = children_cpu_s(), time.monotonic(), time.time()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wall = time.monotonic() - began
    cpu = children_cpu_s() - before
    events = EventReader(folder / "runs" / "latest" / "events.jsonl").new()
    first = next(event.at for event in events if isinstance(event, CellFinished))
    return wall, cpu, first - at


def manifests(store: Path, stage: str) -> list[tuple[Path, dict]]:
    """What the store holds of a stage."""
    found = sorted((store / stage).glob("*/manifest.json"))
    return [(path.parent, json.loads(path.read_text())) for path in found]


def inferences(store: Path) -> float:
    """CPU seconds of every inference that had to be computed, on one thread."""
    from orchestrator.graphs.sessions import faithful_session

    files = {each["content"]: folder / "artifact" for folder, each in manifests(store, "convert")}
    costs: dict[str, float] = {}
    total = 0.0
    for folder, manifest in manifests(store, "extract"):
        if "same_features_as" in manifest["provenance"]:
            continue
        artifact = json.loads((folder / "features.json").read_text())["header"]["artifact"]
        if artifact not in costs:
            session = faithful_session(str(files[artifact]), threads=1)
            tensor = session.get_inputs()[0]
            image = np.random.default_rng(0).random([1, *tensor.shape[1:]], np.float32)
            session.run(None, {tensor.name: image})
            began = time.process_time()
            for _ in range(TIMED):
                session.run(None, {tensor.name: image})
            costs[artifact] = (time.process_time() - began) / TIMED
        total += costs[artifact] * manifest["facts"]["rows"]
    return total


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


def main(limit: int | None) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(prefix="farm-b") as name:
        folder = Path(name)
        wall, cpu, first = run(folder, limit)
        store = folder / ".farm" / "store"
        parts = {
            "inferences": inferences(store),
            "rendering": rendering(store),
            "calibration": calibration(store),
        }
    bare = sum(parts.values())
    print(f"run_s: {wall:.1f}; first row after {first:.1f} s (goal <= {FIRST_GOAL_S:g})")
    print(f"run_cpu_s: {cpu:.1f}; bare {bare:.1f}: ", end="")
    print(", ".join(f"{part} {seconds:.1f}" for part, seconds in parts.items()))
    print(f"run_cpu_of_bare: {cpu / bare:.2f} x (goal <= {GOAL})", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else None)
