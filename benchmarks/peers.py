"""farm beside what people would use for the same work, side by side in one run, as one table.

- 1:N search: faiss IndexFlatIP, and a script of numpy that goes through the probes in blocks. Both
  answer with the nearest template; farm's scores are exact and the same on every machine.
- Features of a board: an RPC that sends an image when the last feature has come, as TVM's does; and
  scp there, the run, scp back. The board's runtime takes 16 ms an image.
- Calibration: onnxruntime's own `quantize_static`, called once a scheme.

`python -m benchmarks peers` takes about three minutes. A peer that is not installed is said to be.
Ratios of searching and calibrating are of CPU seconds, which other work on the machine changes
least; those of boards are of time on the clock, since a board waits.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import calibration, scoring
from benchmarks._boards import IMAGE_BYTES, Images, Server, server, session
from benchmarks.pipeline import MS, stop_and_wait

Row = tuple[str, str, str, str]
DIM = 512


def searching(size: int) -> Iterator[Row]:
    """1:N search with two workers."""
    names = ("int8", "float32", "faiss", "blocks")
    with tempfile.TemporaryDirectory() as folder:
        scoring.make(Path(folder), size, size)
        best = scoring.side_by_side(Path(folder), 2, names)
    ours = best["int8"]
    what = f"1:N, {size:,} x {size:,} x {DIM}"
    words = {
        "int8": "farm, integer first pass",
        "float32": "farm, single precision",
        "faiss": "faiss IndexFlatIP, k = 2",
        "blocks": "numpy, 512 probes at a time",
    }
    for name in names:
        if name not in best:
            yield what, words[name], "not installed: pip install faiss-cpu", ""
            continue
        run = best[name]
        yield (
            what,
            words[name],
            f"{run['cpu']:.1f} core-s, {run['over_features'] / scoring.MEBI:.0f} MiB more",
            f"{run['cpu'] / ours['cpu']:.2f}",
        )


def extracted(where: Server, count: int) -> float:
    """Seconds until all features are there, of a session that is open."""
    with session(where, None, ms=MS, dim=DIM) as made:
        for _ in made.extract(Images(4), timeout_s=60):  # the round trip is known, as in a run
            pass
        began = time.monotonic()
        rows = sum(len(block.rows) for block in made.extract(Images(count), timeout_s=60))
        took = time.monotonic() - began
    assert rows == count
    return took


def copied(where: Server, count: int) -> float | None:
    """Seconds of scp there, so many runs of 16 ms, and scp back; None without scp."""
    if shutil.which("scp") is None:
        return None
    here = where.folder / "here"
    here.mkdir()
    (here / "images").write_bytes(Images(count).read(0, count).tobytes())
    (where.folder / "features").write_bytes(np.zeros((count, DIM), np.float32).tobytes())
    known = where.folder / "known"
    known.write_text(f"[{where.host}]:{where.port} {where.host_key}\n")
    options = ["-q", "-P", str(where.port), "-i", str(where.key), "-F", "none"]
    options += ["-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes"]
    there = f"{where.user}@{where.host}:"
    began = time.monotonic()
    for pair in (
        (str(here / "images"), f"{there}{where.folder}/images"),
        (f"{there}{where.folder}/features", str(here / "features")),
    ):
        subprocess.run(["scp", *options, *pair], check=True, stdin=subprocess.DEVNULL)
    return time.monotonic() - began + count * MS / 1000


def on_boards(count: int) -> Iterator[Row]:
    """Features of a board that takes 16 ms an image."""
    with server() as where:
        ours = extracted(where, count)
        with stop_and_wait():
            rpc = extracted(where, count)
        scp = copied(where, count)
    what = f"{count} images of {IMAGE_BYTES:,} bytes on a board of {MS} ms, {where.what}"
    yield what, "farm", f"{ours:.1f} s", "1.00"
    yield what, "RPC, an image at a time", f"{rpc:.1f} s", f"{rpc / ours:.2f}"
    if scp is None:
        yield what, "scp there and back", "not installed: scp", ""
    else:
        yield what, "scp there and back", f"{scp:.1f} s", f"{scp / ours:.2f}"


def calibrating(images: int) -> Iterator[Row]:
    """Four schemes of an IResNet-50."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "ir50.onnx"
        calibration.measure("made", model, 0, "", 0)
        ours = calibration.measure("ours", model, images, "minmax", 4)
        stock = calibration.measure("stock", model, images, "minmax", 4)
    what = f"calibration of an IResNet-50, {images} images, four schemes"
    for name, run in (("farm", ours), ("onnxruntime's quantize_static", stock)):
        yield what, name, f"{run.cpu:.0f} core-s, {run.peak:.0f} MB", f"{run.cpu / ours.cpu:.2f}"


def main() -> None:
    """Print the table, as Markdown."""
    parser = argparse.ArgumentParser(prog="benchmarks peers", description=__doc__)
    parser.add_argument("--size", type=int, default=20_000, help="templates, and probes")
    parser.add_argument("--images", type=int, default=500, help="on a board")
    parser.add_argument("--calibration", type=int, default=16, help="images")
    asked = parser.parse_args()
    print("| work | with | took | x farm |\n|---|---|---|--:|")
    for rows in (
        on_boards(asked.images),
        searching(asked.size),
        calibrating(asked.calibration),
    ):
        for row in rows:
            print("| " + " | ".join(row) + " |", flush=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
