"""What the accuracy helpers gain on the default models: cosine and Rank-1, on rendered faces.

`python -m benchmarks helpers [N]`: N enrolled and N mated probes (500). Calibrated on 100 images.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
MODELS = ("synthface-ir", "synthface-mfn")
DIFFICULTY = 1.5
ROWS = (
    ("tensorrt", "int8", "per-channel", "symmetric"),
    ("tengine", "uint8", "per-tensor", "asymmetric"),
    ("rknn", "uint8", "per-tensor", "asymmetric"),
)
HELPERS = (
    {},
    {"equalize": True},
    {"bias_correction": True},
    {"keep_float": ("suggested",)},
    {"equalize": True, "bias_correction": True},
)


def main(count: int) -> None:
    """Print the figures, a line each: mean cosine, Rank-1, probes gained and lost."""
    from orchestrator.calibration import CalibrationTable, calibrate
    from orchestrator.execution.local_backend import encode
    from orchestrator.images.renderer import render
    from orchestrator.specs.model import load_model
    from orchestrator.stages import accuracy_helpers, convert, deployable, quantize

    calibration = render(np.arange(2_000_000, 2_000_100), np.zeros(100, int), 0, DIFFICULTY)
    ids = np.arange(count)
    with tempfile.TemporaryDirectory() as folder:
        sides = []
        for shot in (0, 1):
            path = Path(folder) / f"{shot}.npy"
            np.save(path, render(ids, np.full(count, shot), 0, DIFFICULTY))
            sides.append(path)
        for name in MODELS:
            spec = load_model(ROOT / "models" / f"{name}.yaml")
            model, meta = spec.path.read_bytes(), spec.input_meta

            def features(artifact: bytes, meta=meta):
                made = [encode(artifact, side, meta) for side in sides]
                return [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in made]

            tables: dict[bool, CalibrationTable] = {}
            for equal in (False, True):
                source = accuracy_helpers.source_of(model, {"equalize": equal})
                inputs = quantize.inputs_of(calibration, meta)
                tables[equal] = calibrate(source, [inputs])
            made = convert.convert_model(model, quantize.FLOAT32, "onnxruntime")
            real = features(made.files[deployable.FILE])
            print(f"{name}_float32_rank1: {100 * hits(real).mean():.2f}", flush=True)
            for vendor, dtype, granularity, symmetry in ROWS:
                plain = None
                for wanted in HELPERS:
                    scheme = {
                        "dtype": dtype,
                        "granularity": granularity,
                        "symmetry": symmetry,
                        "calibrator": "minmax",
                        "keep_float": (),
                        **wanted,
                    }
                    table = tables[bool(wanted.get("equalize"))].to_bytes()
                    done = quantize.quantize(
                        model, table, scheme, vendor, True, None, calibration, meta
                    )
                    data = convert.convert(done.files[quantize.FILE], vendor, True)
                    found = features(data.files[deployable.FILE])
                    right = hits(found)
                    plain = right if plain is None else plain
                    cosine = np.mean(
                        [(a * b).sum(1).mean() for a, b in zip(found, real, strict=True)]
                    )
                    words = "+".join(wanted) or "plain"
                    print(
                        f"{name}_{vendor}_{words}: cosine {cosine:.5f}, Rank-1 "
                        f"{100 * right.mean():.2f}, gained {(right & ~plain).sum()}, "
                        f"lost {(plain & ~right).sum()} "
                        f"[{accuracy_helpers.words(done.facts['helpers'])}]",
                        flush=True,
                    )


def hits(sides: list[np.ndarray]) -> np.ndarray:
    """Which probes their own identity ranks first, ties lost."""
    scores = sides[1] @ sides[0].T
    mate = np.diagonal(scores).copy()
    np.fill_diagonal(scores, -np.inf)
    return mate > scores.max(axis=1)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 500)
