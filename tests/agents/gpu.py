"""A pretended CUDA machine: the shim, the fake module or program, and a model to run on it."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from . import fake_tensorrt
from .pipes import PYTHON
from .shims import GCC

HERE = Path(__file__).parent
SIZE, DIM = 8, 5
BINDINGS = ("8.0.1", "8.2.1", "8.4.1", "8.6.1", "10.3.0")


@functools.cache
def shim() -> Path:
    """The pretended libcudart, compiled once."""
    folder = Path(tempfile.mkdtemp(prefix="farm-shim-"))
    path = folder / "libcudart.so.12"
    source = HERE / "cudart_shim.c"
    command = [GCC, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run([*command, "-o", path, source], check=True)
    # Before any real one that the system knows.
    (folder / "libcudart.so").symlink_to(path.name)
    return path


@functools.cache
def scratch() -> Path:
    """A folder for what tests of one process share."""
    return Path(tempfile.mkdtemp(prefix="farm-gpu-"))


def onnx_file(path: Path, *, quantized: bool = True) -> Path:
    """A small ONNX file; only its bytes, names and shapes matter to the fakes."""
    nodes = [
        helper.make_node("Flatten", ["data"], ["flat"], name="flatten"),
        helper.make_node("Gemm", ["flat", "weight"], ["feature"], name="fc"),
    ]
    if quantized:
        scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1])
        zero = helper.make_tensor("zero", TensorProto.INT8, [], [0])
        nodes[0] = helper.make_node("Flatten", ["dequantized"], ["flat"], name="flatten")
        nodes = [
            helper.make_node("QuantizeLinear", ["data", "scale", "zero"], ["q"], name="quantize"),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dequantized"]),
            *nodes,
        ]
    weight = np.ones((3 * SIZE * SIZE, DIM), np.float32)
    constants = [onnx.numpy_helper.from_array(weight, "weight")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("feature", TensorProto.FLOAT, [1, DIM])],
        constants + ([scale, zero] if quantized else []),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    return path


def inputs(count: int, seed: int = 0) -> np.ndarray:
    """Whole numbers, so that the fakes' sums are exact: float32 (count, 3, SIZE, SIZE)."""
    draw = np.random.default_rng(seed).integers(-3, 4, (count, 3, SIZE, SIZE))
    return draw.astype(np.float32)


def expected(path: Path, data: np.ndarray) -> np.ndarray:
    """What the fakes make of prepared inputs: float32 (n, DIM), worked out here."""
    seed = hashlib.sha256(path.read_bytes()).digest()
    count = 3 * SIZE * SIZE
    table = np.array(
        [[fake_tensorrt.weight(seed, i, k) for k in range(DIM)] for i in range(count)], np.float64
    )
    return (data.reshape(len(data), count) @ table).astype(np.float32)


PREPROCESSING: dict[str, Any] = {
    "layout": "NCHW",
    "colour": "RGB",
    "mean": [128.0] * 3,
    "std": [1.0] * 3,
    "height": SIZE,
    "width": SIZE,
    "dtype": "float32",
}


@dataclass
class Machine:
    """An environment in which the agent finds TensorRT."""

    folder: Path
    version: str = "8.6.1"
    bindings: bool = True
    settings: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    python: str = PYTHON

    @property
    def log(self) -> list[str]:
        """What was called, in order."""
        path = self.folder / "calls.log"
        return path.read_text().split() if path.exists() else []

    def environment(self) -> dict[str, str]:
        """To be added to a process's environment."""
        settings = {
            "version": self.version,
            "input": ["data", [1, 3, SIZE, SIZE]],
            "output": ["feature", [1, DIM]],
            "log": str(self.folder / "calls.log"),
            **self.settings,
        }
        found = {
            "FAKE_TENSORRT": json.dumps(settings),
            "LD_LIBRARY_PATH": str(shim().parent),
            "FAKE_CUDART": str(shim()),
            **self.env,
        }
        if self.bindings:
            place = self.folder / f"bindings-{self.version}"
            if not place.exists():
                fake_tensorrt.install(place, self.version)
            found["PYTHONPATH"] = str(place)
        return found

    def drive(self, path: Path, data: np.ndarray | None = None, **more: Any) -> dict[str, Any]:
        """Open the runtime in a process of its own, run `data` through it, close it."""
        request = {
            "runtime": "tensorrt",
            "path": str(path),
            "preprocessing": PREPROCESSING,
            "images": [one.tobytes().hex() for one in (data if data is not None else [])],
            "shim": str(shim()),
            **more,
        }
        told = subprocess.run(
            [self.python, str(HERE / "drive_runtime.py"), json.dumps(request)],
            env={**os.environ, **self.environment()},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        answer = json.loads(told.stdout.splitlines()[-1])
        if "features" in answer:
            rows = b"".join(bytes.fromhex(row) for row in answer["features"])
            answer["features"] = np.frombuffer(rows, "<f4").reshape(-1, DIM)
        return answer
