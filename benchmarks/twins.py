"""A twin of an IResNet-50: one image by integer kernels beside float32, and the float32 model.

`python -m benchmarks twins`: CPU seconds of one thread, as an emulated board's agent computes. The
weights are nobody's (`ir50.py`), so the cosine between both only tells that they are near: one
value that falls on the next level spreads through fifty layers.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.ir50 import build, smooth_images
from orchestrator.agents.host.arithmetic import exact_integers
from orchestrator.agents.runtimes.onnxruntime import Runtime
from orchestrator.agents.session.preprocess import Preprocessor
from orchestrator.calibration import calibrate
from orchestrator.graphs.prepare import prepare
from orchestrator.toolchains import Scheme, twin_toolchain

SCHEMES = {
    "tengine": Scheme("uint8", "per-tensor", "asymmetric", "minmax"),
    "rknn": Scheme("int8", "per-channel", "asymmetric", "minmax"),
    "tensorrt": Scheme("int8", "per-channel", "symmetric", "minmax"),
}
IMAGES, ROUNDS, CALIBRATION = 4, 5, 8
PREPROCESSING = {
    "height": 112,
    "width": 112,
    "layout": "NCHW",
    "colour": "RGB",
    "dtype": "float32",
    "mean": [127.5] * 3,
    "std": [127.5] * 3,
}


def opened(model: bytes, integer_sums: bool, faithful: bool | None, folder: Path) -> Runtime:
    """A session as an agent has it."""
    path = folder / "model.onnx"
    path.write_bytes(model)
    options = {"faithful": faithful, "interface": {"integer_sums": integer_sums}}
    return Runtime(str(path), options, Preprocessor(PREPROCESSING))


def main() -> None:
    """Print one line a session, with its ratio to the twin in float32."""
    model = build()
    prepared = prepare(model)
    table = calibrate(prepared, [smooth_images(1, seed) for seed in range(CALIBRATION)])
    images = [smooth_images(1, seed).tobytes() for seed in range(100, 100 + IMAGES)]
    print(f"VNNI here: {'yes' if exact_integers() else 'no, so twins are computed in float32'}")
    with tempfile.TemporaryDirectory() as folder:
        sessions = {"float32 model": opened(model, False, False, Path(folder))}
        for vendor, scheme in SCHEMES.items():
            chain = twin_toolchain(vendor)
            made = chain.convert(chain.quantize(prepared, table, scheme).data)
            sums = bool(made.manifest["integer_sums"])
            sessions[f"{vendor}, float32"] = opened(made.data, sums, True, Path(folder))
            sessions[vendor] = opened(made.data, sums, None, Path(folder))
        times: dict[str, list[float]] = {name: [] for name in sessions}
        rows: dict[str, np.ndarray] = {}
        for number in range(ROUNDS + 1):
            for name, session in sessions.items():
                began = time.process_time()
                features = [session.run(image)[0] for image in images]
                if number:
                    times[name].append((time.process_time() - began) / IMAGES * 1e3)
                rows[name] = np.stack([np.frombuffer(each, np.float32) for each in features])
    for name, each in times.items():
        own = statistics.median(each)
        line = f"{name}: {own:.0f} ms, {min(each):.0f} to {max(each):.0f}"
        if name in SCHEMES:
            beside = f"{name}, float32"
            a, b = rows[name], rows[beside]
            norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
            cosines = (a * b).sum(axis=1) / norms
            line += f"; {own / statistics.median(times[beside]):.2f} of float32"
            line += f", mean cosine to it {cosines.mean():.4f}"
        print(line)


if __name__ == "__main__":
    main()
