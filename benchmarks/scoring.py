"""Scoring beside the bare matrix product of the same shapes, in one run, with two workers.

`python -m benchmarks scoring` takes about two minutes; `--full` is 50,000 x 50,000 x 512 and
1,000,000 x 2,000 x 512 (a quarter of an hour, 7 GB of disk, 3 GB of memory). Every measurement is
a process of its own. A ratio of CPU times stands beside each ratio of wall times, since a busy
machine stretches the latter. faiss is measured where it is installed (`pip install faiss-cpu`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

DIM = 512
MEBI = 1 << 20
RUNS = 2


def make(folder: Path, gallery: int, probes: int) -> None:
    """Random faces: three probes of four have a mate, at a Rank-1 of about 60 %."""
    rng = np.random.default_rng(11)
    table = np.lib.format.open_memmap(folder / "gallery.npy", "w+", np.float32, (gallery, DIM))
    for start in range(0, gallery, 10_000):
        part = table[start : start + 10_000]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32)
    ids = rng.permutation(max(gallery, probes))[:probes]
    ids[::4] = gallery + np.arange(ids[::4].size)
    noise = 5 * rng.standard_normal((probes, DIM), dtype=np.float32)
    known = ids < gallery
    noise[known] += table[ids[known]]
    np.save(folder / "probes.npy", noise)
    np.save(folder / "ids.npy", ids)


def memory(name: str) -> int:
    """A figure of this process's memory in bytes: VmRSS or VmHWM."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def bare(gallery: np.ndarray, probes: np.ndarray, workers: int) -> None:
    """The matrix product alone, in the same tiles, with the same threads."""
    import queue

    from orchestrator.scoring.blas import run_jobs, single_threaded_blas
    from orchestrator.scoring.scan import BLOCK, TILE

    buffers: queue.SimpleQueue[np.ndarray] = queue.SimpleQueue()
    for _ in range(workers):
        buffers.put(np.empty(BLOCK * TILE, np.float32))

    def work(start: int) -> None:
        buffer, rows = buffers.get(), gallery[start : start + TILE]
        for low in range(0, len(probes), BLOCK):
            part = probes[low : low + BLOCK]
            out = buffer[: len(part) * len(rows)].reshape(len(part), len(rows))
            np.matmul(part, rows.T, out=out)
        buffers.put(buffer)

    with single_threaded_blas():
        run_jobs(range(0, len(gallery), TILE), work, workers)


def with_faiss(gallery: np.ndarray, probes: np.ndarray, workers: int) -> None:
    """The two nearest templates of each probe, which is what Rank-1 needs."""
    import faiss

    faiss.omp_set_num_threads(workers)
    index = faiss.IndexFlatIP(DIM)
    index.add(gallery)
    index.search(probes, 2)


def in_blocks(gallery: np.ndarray, probes: np.ndarray, workers: int) -> None:
    """What a careful script does: normalized rows, a block of probes at a time, the nearest two."""
    gallery = gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    probes = probes / np.linalg.norm(probes, axis=1, keepdims=True)
    for low in range(0, len(probes), 512):
        scores = probes[low : low + 512] @ gallery.T
        np.argpartition(scores, -2, axis=1)[:, -2:]


def naive(gallery: np.ndarray, probes: np.ndarray, workers: int) -> None:
    """What is written first: the whole matrix and its argsort."""
    scores = probes @ gallery.T
    np.argsort(-scores, axis=1)
    np.sort(scores, axis=None)


def measure(what: str, folder: Path, workers: int) -> None:
    """The body of a measuring process: prints its figures as JSON."""
    mapped, what = what.startswith("mapped "), what.removeprefix("mapped ")
    gallery = np.load(folder / "gallery.npy", mmap_mode="r" if mapped else None)
    probes = np.load(folder / "probes.npy")
    ids = np.load(folder / "ids.npy")
    figures: dict[str, object] = {}

    def run() -> None:
        peers = {"bare": bare, "faiss": with_faiss, "naive": naive, "blocks": in_blocks}
        if what in peers:
            peers[what](gallery, probes, workers)
            return
        from orchestrator.scoring import TrialSet, search

        trials = TrialSet(np.arange(len(gallery)), ids)
        found = search(
            gallery,
            probes,
            trials,
            workers=workers,
            method="int8" if what == "int8" else "float32",
            ranks=what == "ranks",
            tar_pairs_far=(1e-3,) if what == "pairs" else (),
        )
        figures["rank1"] = float(found.hit[found.mated].mean())
        figures["checksum"] = float(found.impostor.astype(np.float64).sum())

    if what == "int8":
        from orchestrator.scoring.integer_product import trusted_product

        trusted_product(DIM)  # importing onnxruntime is no part of a search
    import orchestrator.scoring.searching  # noqa: F401

    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
    before = memory("VmRSS") - (gallery.nbytes + probes.nbytes if not mapped else 0)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    figures["wall"] = time.perf_counter() - wall
    figures["cpu"] = time.process_time() - cpu
    over = memory("VmHWM") - before - gallery.nbytes - probes.nbytes
    figures["over_features"] = over
    print(json.dumps(figures))


def measured(what: str, folder: Path, workers: int) -> dict[str, float] | None:
    """Run one measurement in its own process; None when its library is missing."""
    command = [sys.executable, "-m", "benchmarks.scoring", "--measure", what, str(folder)]
    done = subprocess.run([*command, str(workers)], capture_output=True, text=True)
    if done.returncode and "No module named 'faiss'" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def say(name: str, value: str, goal: str = "") -> None:
    """One line a figure."""
    print(f"{name}: {value}" + (f" (goal {goal})" if goal else ""), flush=True)


def side_by_side(folder: Path, workers: int, names: tuple[str, ...]) -> dict[str, dict]:
    """Each measurement ``RUNS`` times, taken in turn; the quickest of each by CPU time."""
    found: dict[str, list[dict]] = {name: [] for name in names}
    for _ in range(RUNS):
        for name in names:
            figures = measured(name, folder, workers)
            if figures is not None:
                found[name].append(figures)
    best = {}
    for name, runs in found.items():
        if runs:
            quick = min(runs, key=lambda run: run["cpu"])
            best[name] = {**quick, "wall": min(run["wall"] for run in runs)}
    return best


GOALS = {
    "int8": ("Rank-1 and TAR, integer first pass", "<= 0.40"),
    "float32": ("Rank-1 and TAR, single precision", "<= 1.10"),
    "ranks": ("the same with every rank (CMC)", ""),
    "pairs": ("with exact all-pairs FAR 1e-3", "<= 1.15"),
    "faiss": ("faiss IndexFlatIP, k = 2", ""),
}


def ratios(folder: Path, gallery: int, probes: int, workers: int) -> None:
    """Every method beside the bare product."""
    best = side_by_side(folder, workers, ("bare", *GOALS))
    size = f"{gallery:,} x {probes:,} x {DIM}, {workers} worker{'s' * (workers > 1)}"
    base = best["bare"]
    rate = 2 * gallery * probes * DIM / 1e9
    text = f"{base['wall']:.2f} s wall, {base['cpu']:.2f} core-s, {rate / base['cpu']:.1f} GF/s"
    say(f"bare product, {size}", text)
    for name, (title, goal) in GOALS.items():
        if name not in best:
            say(f"{title}, {size}", "not installed")
            continue
        run = best[name]
        wall, cpu = run["wall"] / base["wall"], run["cpu"] / base["cpu"]
        text = f"{wall:.2f} x bare by wall, {cpu:.2f} x by CPU; {run['wall']:.2f} s"
        say(f"{title}, {size}", text, goal)
        if name in ("int8", "float32", "pairs"):
            over = f"{run['over_features'] / MEBI:.0f} MiB"
            say(f"{title}, {size}: peak memory over the features", over, "<= 250 MiB")
    same = best["int8"]["checksum"] == best["float32"]["checksum"]
    say(f"both methods agree to the bit, {size}", "yes" if same else "NO", "yes")


def against_naive(size: int) -> None:
    """The whole matrix, at a size that fits into memory."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), size, size)
        found = side_by_side(Path(folder), 2, ("naive", "ranks"))
    ours, theirs = found["ranks"], found["naive"]
    text = f"{theirs['cpu'] / ours['cpu']:.1f} x our CPU time, {theirs['over_features'] / MEBI:.0f}"
    text += f" MiB over the features, ours {ours['over_features'] / MEBI:.0f}"
    say(f"full matrix with argsort, {size:,} x {size:,} x {DIM}", text)


def intervals() -> None:
    """Intervals and the paired test of a default-sized cell, and of a full-sized one."""
    from orchestrator.scoring import Searches, compare, identify

    for mated, unknown in ((3_000, 4_000), (50_000, 50_000)):
        rng = np.random.default_rng(0)
        size = mated + unknown
        mate = np.where(np.arange(size) < mated, rng.normal(0.5, 0.15, size), np.nan)
        found = Searches(
            mate.astype(np.float32),
            rng.normal(0.3, 0.06, size).astype(np.float32),
            np.arange(size) < mated,
            np.zeros(size, bool),
            np.arange(size),
            None,
            mated,
        )
        for name, call in (
            ("identify", lambda found=found: identify(found, far=(1e-3,))),
            ("compare", lambda found=found: compare(found, found, far=(1e-3,))),
        ):
            start = time.process_time()
            call()
            text = f"{time.process_time() - start:.2f} core-s"
            say(f"{name} with 1,000 resamples, {size:,} probes, one FAR", text, "<= 1 core-s")


def preparing() -> None:
    """What each template costs once, whatever the number of probes: the quickest of ten."""
    from orchestrator.scoring.blas import single_threaded_blas
    from orchestrator.scoring.exact import normalize
    from orchestrator.scoring.first_pass import SHELF, TILE
    from orchestrator.scoring.quantized import measure as lengths
    from orchestrator.scoring.quantized import quantize_tile

    rows = np.random.default_rng(0).standard_normal((SHELF, DIM), dtype=np.float32)
    extents = lengths(rows)
    chosen = np.argsort(extents.peak)[:TILE]
    parts = (
        ("length and largest value, integer first pass", SHELF, lambda: lengths(rows)),
        ("integers, integer first pass", TILE, lambda: quantize_tile(rows, extents, chosen)),
        ("normalizing, single precision", SHELF, lambda: normalize(rows)),
    )
    with single_threaded_blas():
        for name, count, call in parts:
            took = []
            for _ in range(10):
                start = time.process_time()
                call()
                took.append(time.process_time() - start)
            say(
                f"preparing a template of {DIM} values: {name}", f"{1e6 * min(took) / count:.2f} us"
            )


def large_gallery(gallery: int = 1_000_000, probes: int = 2_000) -> None:
    """Few probes against a gallery that is mapped from disk, beside the product alone."""
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), gallery, probes)
        best = side_by_side(Path(folder), 2, ("mapped bare", "mapped int8", "mapped float32"))
    base = best.pop("mapped bare")["cpu"]
    for name, run in best.items():
        title = f"{name}, {gallery:,} x {probes:,} x {DIM}, 2 workers"
        goal = "<= 0.40" if name == "mapped int8" else ""
        text = f"{run['cpu'] / base:.2f} x bare by CPU; {run['wall']:.1f} s wall, {run['cpu']:.1f}"
        say(title, f"{text} core-s", goal)
        over = f"{run['over_features'] / MEBI:.0f} MiB"
        say(f"{title}: peak memory over the features", over, "<= 300 MiB")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="the sizes of the published table")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        what, folder, workers = chosen.measure
        measure(what, Path(folder), int(workers))
        return
    gallery, probes = (50_000, 50_000) if chosen.full else (25_000, 16_384)
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), gallery, probes)
        for workers in (2, 1):
            ratios(Path(folder), gallery, probes, workers)
    against_naive(10_000 if chosen.full else 4_000)
    intervals()
    preparing()
    if chosen.full:
        large_gallery()


if __name__ == "__main__":
    main()
