"""A table is the same on machines with few and with many processors."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.calibration import calibrate, network
from orchestrator.graphs.describe import describe_model
from orchestrator.graphs.sessions import faithful_session

ROOT = Path(__file__).resolve().parents[2]
DETECTOR = ROOT / "models" / "synthdet.onnx"
CODE = """
import hashlib, os, sys
import numpy as np
if sys.argv[2] == "one":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from orchestrator.calibration import calibrate
from orchestrator.graphs.describe import describe_model
model = open(sys.argv[1], "rb").read()
shape = describe_model(model).image_shape
images = np.random.default_rng(1).normal(0, 1, (2, *shape)).astype(np.float32)
print(hashlib.sha256(calibrate(model, [images], "minmax").to_bytes()).hexdigest())
"""


def table_with(processors: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(DETECTOR), processors],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def test_the_number_of_processors_is_not_seen_in_a_table() -> None:
    assert DETECTOR.is_file()
    digest = table_with("one")
    assert len(digest) == hashlib.sha256().digest_size * 2
    assert table_with("all") == digest


def test_no_sum_is_divided_among_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where onnxruntime sees one processor core, the test above cannot fail."""
    opened: list[int] = []

    def opening(model: Any, *, threads: int, **more: Any) -> Any:
        opened.append(threads)
        return faithful_session(model, threads=threads, **more)

    monkeypatch.setattr(network, "faithful_session", opening)
    model = DETECTOR.read_bytes()
    image = np.zeros((1, *describe_model(model).image_shape), np.float32)
    for method in ("minmax", "entropy"):
        calibrate(model, [image], method)
    assert opened == [1, 1]
