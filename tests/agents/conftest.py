"""Images, artifacts and sessions that the agent's tests share."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orchestrator.fleet.session.client import Preprocessing

from .pipes import PYTHON

MODEL = Path(__file__).parents[2] / "models" / "synthface-ir.onnx"
OWN = pytest.mark.skipif(sys.executable != PYTHON, reason="is about this host's own Python")
FACE = 112
"""The model's input; preparing so large an image takes the agent milliseconds."""
SIZE = 16


class Rows:
    """An array as an image source that remembers what was read."""

    def __init__(self, images):
        self.images = images
        self.reads = []

    def __len__(self):
        return len(self.images)

    def read(self, start, n):
        self.reads.append((start, n))
        return self.images[start : start + n]


def faces(count, size=SIZE, seed=0):
    """Noise, uint8 (count, size, size, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def preprocessing(size=SIZE, **other):
    return Preprocessing("NCHW", "RGB", 127.5, 127.5, size, size, **other)


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def open_timed(session, path, size=SIZE, timeout_s=10.0, **options):
    """Open the timed runtime; `path` is any file."""
    return session.open_model(
        runtime="timed",
        artifact=str(path),
        sha256=sha256(path),
        options=options,
        preprocessing=preprocessing(size),
        timeout_s=timeout_s,
    )


@functools.cache
def lacks(module: str) -> bool:
    """Whether the Python that runs agents is without a module."""
    asked = subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True, check=False)
    return asked.returncode != 0


def open_onnx(session, path=MODEL, size=FACE, timeout_s=60.0, **options):
    """Open an ONNX file in onnxruntime."""
    if lacks("onnxruntime"):
        pytest.skip(f"needs onnxruntime in {PYTHON}")
    return session.open_model(
        runtime="onnxruntime",
        artifact=str(path),
        sha256=sha256(path),
        options={"providers": ["CPUExecutionProvider"], **options},
        preprocessing=preprocessing(size),
        timeout_s=timeout_s,
    )


def features(blocks):
    """Blocks joined, checked to be in order and without gaps."""
    rows, expected = [], 0
    for block in blocks:
        assert block.start == expected
        expected += len(block.rows)
        rows.append(block.rows)
    return np.concatenate(rows) if rows else np.empty((0, 0), np.float32)


def timed_features(images, dim, size=SIZE):
    """What the timed runtime makes of images, computed here."""
    from orchestrator.agents.runtimes.timed import feature
    from orchestrator.agents.session.preprocess import Preprocessor

    prepare = Preprocessor(preprocessing(size).to_meta())
    rows = [feature(prepare(image.tobytes()), dim) for image in images]
    return np.frombuffer(b"".join(rows), "<f4").reshape(len(images), dim)


@pytest.fixture
def artifact(tmp_path):
    """A file to open where the runtime does not look into it."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    path = folder / "timed.bin"
    path.write_bytes(b"what a timed runtime loads")
    return path
