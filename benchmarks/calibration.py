"""Calibration of an IResNet-50: memory and time beside onnxruntime's own, in one run.

`make bench NAME=calibration` compares at sizes at which stock still fits into memory. What it
says of 500 images follows from two counts: a fixed part and one that grows with the images.
`python -m benchmarks calibration 500` runs farm alone over that many images (minutes) instead: one
table, from which percentile and entropy are both taken, and four schemes.
Each measurement is a process of its own, whose peak resident memory is what the system counted.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

FEW, MORE, GOAL = 8, 32, 500
PASSES = {"minmax": 1, "entropy": 2}

SCHEMES = (
    ("int8", "per-channel", "symmetric"),
    ("uint8", "per-tensor", "asymmetric"),
    ("int8", "per-channel", "asymmetric"),
    ("int8", "per-tensor", "symmetric"),
)


class Measured(NamedTuple):
    """Seconds on the clock and of all cores, and the highest resident memory in MB."""

    wall: float
    cpu: float
    peak: float


def made(model: Path, *_: object) -> None:
    """The model, prepared for both: stock's own pre-processing does the same folds."""
    from benchmarks.ir50 import build
    from orchestrator.graphs.prepare import prepare

    model.write_bytes(prepare(build()))


def ours(model: Path, count: int, method: str, schemes: int) -> None:
    """Calibrate once and emit the schemes, as farm does."""
    from benchmarks.ir50 import smooth_images
    from orchestrator.calibration import calibrate
    from orchestrator.toolchains import Scheme, toolchain

    data = model.read_bytes()

    def batches():
        for seed in range(count):
            yield smooth_images(1, seed)

    table = calibrate(data, batches, method)
    for wanted in ("percentile", "entropy") if method == "entropy" else (method,):
        table.ranges(wanted)
    for dtype, granularity, symmetry in SCHEMES[:schemes]:
        scheme = Scheme(dtype, granularity, symmetry, method)
        toolchain("onnxruntime").quantize(data, table, scheme)


def bare(model: Path, count: int, *_: object) -> None:
    """The inferences of one pass, without any activation."""
    from benchmarks.ir50 import smooth_images
    from orchestrator.graphs.sessions import faithful_session

    session = faithful_session(str(model), optimize=False)
    for seed in range(count):
        session.run(None, {"input": smooth_images(1, seed)})


class _Reader:
    def __init__(self, count: int) -> None:
        self.seeds = iter(range(count))

    def get_next(self):
        from benchmarks.ir50 import smooth_images

        seed = next(self.seeds, None)
        return None if seed is None else {"input": smooth_images(1, seed)}


def stock(model: Path, count: int, method: str, schemes: int) -> None:
    """quantize_static, called once a scheme, as its documentation has it."""
    from onnxruntime import quantization as ort

    methods = {
        "minmax": ort.CalibrationMethod.MinMax,
        "entropy": ort.CalibrationMethod.Entropy,
        "percentile": ort.CalibrationMethod.Percentile,
    }
    for dtype, granularity, symmetry in SCHEMES[: max(schemes, 1)]:
        kind = ort.QuantType.QInt8 if dtype == "int8" else ort.QuantType.QUInt8
        ort.quantize_static(
            str(model),
            str(model.with_suffix(".out.onnx")),
            _Reader(count),
            per_channel=granularity == "per-channel",
            activation_type=kind,
            weight_type=kind,
            calibrate_method=methods[method],
            op_types_to_quantize=["Conv", "Gemm", "Add"],
            extra_options={
                "ActivationSymmetric": symmetry == "symmetric",
                "WeightSymmetric": dtype == "int8",
            },
        )


def measure(what: str, model: Path, count: int, method: str, schemes: int) -> Measured:
    """One of the functions above in a process of its own."""
    arguments = [what, str(model), str(count), method, str(schemes)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.calibration", "--worker", *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def worker(what: str, model: str, count: str, method: str, schemes: str) -> None:
    """One measurement."""
    started = time.monotonic()
    {"made": made, "ours": ours, "stock": stock, "bare": bare}[what](
        Path(model), int(count), method, int(schemes)
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    wall, cpu = time.monotonic() - started, used.ru_utime + used.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": used.ru_maxrss / 1024}))


def main(images: int | None) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "ir50.onnx"
        # In a process of its own: the system hands a parent's peak memory on to its children.
        measure("made", model, 0, "", 0)
        if images:
            whole = measure("ours", model, images, "entropy", len(SCHEMES))
            name = f"calibration_ir50_entropy_{images}_images_four_schemes"
            print(f"{name}_peak_mb: {whole.peak:.0f} (goal < 800)")
            print(f"{name}_s: {whole.wall:.0f} ({whole.cpu:.0f} of all cores)")
            return
        compare(model)


def compare(model: Path) -> None:
    """Ours beside stock."""
    peaks = {
        (what, count): measure(what, model, count, "entropy", 0).peak
        for count in (FEW, MORE)
        for what in ("ours", "stock")
    }
    for what in ("ours", "stock"):
        slope = (peaks[what, MORE] - peaks[what, FEW]) / (MORE - FEW)
        goal = " (goal < 2)" if what == "ours" else ""
        print(f"calibration_ir50_entropy_{what}_mb_per_image: {slope:.1f}{goal}", flush=True)
    inference = per_image("bare", model, "minmax", 0)
    print(f"calibration_ir50_bare_inference_cpu_s: {inference[1]:.3f}", flush=True)
    for method in PASSES:
        compare_times(model, method, inference[1])


def compare_times(model: Path, method: str, inference: float) -> None:
    """Four schemes, ours beside stock's; `inference` is one in processor seconds."""
    ours_ = measure("ours", model, MORE, method, 4)
    theirs = measure("stock", model, MORE, method, 4)
    name = f"calibration_ir50_{method}"
    few = f"{name}_{MORE}_images"
    print(f"{few}_four_schemes_s: {ours_.wall:.1f} (stock {theirs.wall:.1f})")
    print(f"{few}_of_stock_time: {ours_.wall / theirs.wall:.2f} (goal <= 0.2)")
    # What the machine's other work does not change.
    print(f"{few}_of_stock_cpu_time: {ours_.cpu / theirs.cpu:.2f} (goal <= 0.2)")
    print(f"{few}_peak_mb: {ours_.peak:.0f} (stock {theirs.peak:.0f})", flush=True)
    fixed, each = per_image("ours", model, method, 4, ours_)
    fixed_stock, each_stock = per_image("stock", model, method, 4, theirs)
    print(f"{name}_fixed_cpu_s: {fixed:.1f} (stock {fixed_stock:.1f})")
    print(f"{name}_cpu_s_per_image: {each:.3f} (stock {each_stock:.3f})")
    of_stock = (fixed + GOAL * each) / (fixed_stock + GOAL * each_stock)
    print(f"{name}_{GOAL}_images_of_stock_cpu_time: {of_stock:.2f} (from both; goal <= 0.2)")
    least = PASSES[method] * inference / each_stock
    print(f"{name}_inferences_alone_of_stock_cpu_time: {least:.2f}", flush=True)


def per_image(
    what: str, model: Path, method: str, schemes: int, more: Measured | None = None
) -> tuple[float, float]:
    """Processor seconds that do not depend on the number of images, and those of each image."""
    more = more or measure(what, model, MORE, method, schemes)
    each = (more.cpu - measure(what, model, FEW, method, schemes).cpu) / (MORE - FEW)
    return more.cpu - MORE * each, each


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else None)
