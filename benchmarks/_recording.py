"""Makes the runs that `benchmarks/estimate.py` replays, in one project whose store grows."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.events import Event, EventReader

ROOT = Path(__file__).resolve().parents[1]
SCHEMES = {
    "jetson-xavier-nx": "int8 per-channel symmetric",
    "khadas-vim3": "uint8 per-tensor asymmetric",
    "imx8mp": "uint8 per-tensor asymmetric",
    "rv1126": "uint8 per-tensor asymmetric",
}
CALIBRATORS = ("minmax", "percentile", "entropy")


@dataclass(frozen=True)
class Wanted:
    """A run: the default matrix with changes, and the words after `farm run matrix.yaml`.

    `stop_after_s`: it is stopped then, so it counts as history only. `resume`: of the run before.
    """

    name: str
    changes: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()
    entries: str = ""
    stop_after_s: float = 0.0
    resume: bool = False


def forty() -> str:
    """Entries of 40 rows: four boards, three calibrators with and without helpers."""
    lines = ["  - name: float32\n    boards: this-host\n    quantization: float32\n"]
    for kind, scheme in SCHEMES.items():
        for number in range(5):
            words = f"{scheme} {CALIBRATORS[number % 3]}" + (" equalize" if number > 2 else "")
            lines.append(
                f"  - name: {kind}-{number}\n    boards: {{kind: {kind}}}\n"
                f"    quantization: {words}\n    gallery: [same, float32]\n"
            )
    return "\n".join(lines)


RUNS = (
    Wanted("small", words=("--limit", "300")),
    Wanted("small-again", (("seed: 0", "seed: 3"),), ("--limit", "300")),
    Wanted("default"),
    Wanted("stopped", (("seed: 0", "seed: 1"),), ("--limit", "1000"), stop_after_s=25.0),
    Wanted("resumed", (("seed: 0", "seed: 1"),), resume=True),
    Wanted("one-board", (("seed: 0", "seed: 2"),), ("--only", "a311d", "--limit", "1000")),
    Wanted("other-model", (("models: synthface-ir", "models: synthface-mfn"),), ("--limit", "600")),
    Wanted("40-cells", (("seed: 0", "seed: 4"),), ("--limit", "200"), forty()),
    Wanted("timed-longer", (("min_duration_s: 3.0", "min_duration_s: 15.0"),)),
    Wanted("recalibrated", (("images: 200", "images: 400"),), ("--limit", "600")),
    Wanted("two-rows", (("seed: 0", "seed: 5"),), ("--only", "jetson", "--only", "float32")),
)


def record(folder: Path, write: Callable[[Path, str, float, Iterable[Event]], None]) -> None:
    """Make all runs and keep them in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="farm-e", ignore_cleanup_errors=True) as name:
        project = Path(name)
        shutil.copy(ROOT / "device_inventory.yaml", project)
        shutil.copytree(ROOT / "models", project / "models")
        for old in folder.glob("*.jsonl.gz"):
            old.unlink()
        for number, wanted in enumerate(RUNS):
            load = os.getloadavg()[0]
            began = time.monotonic()
            events = _run(project, wanted)
            seconds = time.monotonic() - began
            print(f"{wanted.name}: {seconds:.0f} s, load {load:.1f} before it", flush=True)
            write(folder / f"{number:02}-{wanted.name}.jsonl.gz", wanted.name, load, events)


def _run(project: Path, wanted: Wanted) -> list[Event]:
    text = (ROOT / "matrix.yaml").read_text()
    for old, new in wanted.changes:
        if old not in text:
            raise ValueError(f"{wanted.name}: matrix.yaml has no {old!r} any more")
        text = text.replace(old, new)
    if wanted.entries:
        text = text.partition("\nentries:\n")[0] + "\nentries:\n" + wanted.entries
    (project / "matrix.yaml").write_text(text)
    latest = project / "runs" / "latest" / "events.jsonl"
    reader = EventReader(latest.resolve()) if wanted.resume else None
    if reader is not None:
        for _ in reader.new():  # what the run said before it was stopped
            pass
    words = ("resume",) if wanted.resume else ("run", "matrix.yaml", *wanted.words)
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.main", *words],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        process.wait(wanted.stop_after_s or 900)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    finally:
        process.kill()
    return list((reader or EventReader(latest)).new())
