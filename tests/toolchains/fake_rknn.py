"""Stand-ins for Rockchip's `rknn` package, of the API that both toolkits document.

`install` makes a Python that has one, `environment` an environment of farm's. It reads what it is
given as the real one does (the dataset file, the images, mean and std), works out the input's scale
and zero point from them, and writes that into its file, so that a test can work it out as well.
What it cannot show is Rockchip's arithmetic.

The package itself is written for Python 3.6 and its standard library; only `inference` (toolkit 2)
needs onnxruntime. Modes: `works`; `raises` in build; `code`: build returns -1; `no file`: export
returns 0 and writes nothing; `dies`: the process ends in build with exit code 0; `hangs`; `other
model`: what was built computes something else; `other target`: the file is for another processor.
"""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path

API = '''
import hashlib, json, os, struct, sys, time, zlib

TOOLKIT, MODE = {toolkit!r}, {mode!r}
TARGETS = {{1: ["rv1126", "rv1109", "rk1808", "rk3399pro"], 2: ["rk3588", "rk3566", "rv1126b"]}}
KNOWN = {{
    1: ["mean_values", "std_values", "reorder_channel", "target_platform", "quantized_dtype",
        "quantized_algorithm", "optimization_level", "output_optimize"],
    2: ["mean_values", "std_values", "target_platform", "quantized_dtype", "quantized_algorithm",
        "quantized_method", "optimization_level", "float_dtype"],
}}


def read_png(path):
    """Width, height, and rows of RGB bytes."""
    data = open(path, "rb").read()
    assert data[:8] == b"\\x89PNG\\r\\n\\x1a\\n", path
    place, packed = 8, b""
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place:place + 8])
        body = data[place + 8:place + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) == (8, 2)
        packed += body if kind == b"IDAT" else b""
        place += 12 + length
    raw, stride, rows = zlib.decompress(packed), 3 * width, []
    before = bytearray(stride)
    for y in range(height):
        line = bytearray(raw[y * (stride + 1):(y + 1) * (stride + 1)])
        how, line = line[0], line[1:]
        for i in range(stride):
            a, b = line[i - 3] if i > 2 else 0, before[i]
            c = before[i - 3] if i > 2 else 0
            if how == 4:
                p = a + b - c
                near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            else:
                near = [0, a, b, (a + b) // 2][how]
            line[i] = (line[i] + near) & 255
        rows.append(line)
        before = line
    return width, height, rows


class RKNN(object):
    def __init__(self, verbose=False):
        print("\\x1b[32mI\\x1b[0m rknn-toolkit substitute\\rloading 50%\\rloading 100%")

    def config(self, **given):
        for name in given:
            if name not in KNOWN[TOOLKIT]:
                raise TypeError("config() got an unexpected keyword argument %r" % name)
        target = given["target_platform"]
        self.target = target[0] if isinstance(target, list) else target
        if self.target not in TARGETS[TOOLKIT]:
            raise ValueError("Invalid target_platform %r" % self.target)
        self.given = given
        return None if TOOLKIT == 1 else 0

    def load_onnx(self, model):
        self.model = open(model, "rb").read()
        return 0

    def build(self, do_quantization=True, dataset=None, pre_compile=False):
        if MODE == "raises":
            print("\\x1b[31mE\\x1b[0m build: conv1 is too odd for this toolkit")
            raise ValueError("Traceback (most recent call last):\\n  File x\\nOops: bad node conv1")
        if MODE == "code":
            print("E build: no memory for conv2")
            return -1
        if MODE == "dies":
            sys.stdout.flush()
            os._exit(0)
        if MODE == "hangs":
            time.sleep(60)
        low, high, sums, count, seen = 0.0, 0.0, [0, 0, 0], 0, 0
        lines = open(dataset).read().split() if do_quantization else []
        for name in lines:
            width, height, rows = read_png(name)
            seen += 1
            count += width * height
            for row in rows:
                for c in range(3):
                    mean = self.given["mean_values"][0][c]
                    std = self.given["std_values"][0][c]
                    channel = row[c::3]
                    sums[c] += sum(channel)
                    low = min(low, (min(channel) - mean) / std)
                    high = max(high, (max(channel) - mean) / std)
        scale = (high - low) / 255 if high > low else 1.0
        self.made = {{
            "images": seen, "scale": scale, "zero_point": int(round(-low / scale)),
            "means": [s / max(count, 1) for s in sums], "pre_compile": pre_compile,
            "config": self.given, "model_sha256": hashlib.sha256(self.model).hexdigest(),
        }}
        return 0

    def export_rknn(self, export_path):
        if MODE == "no file":
            return 0
        body = {graph!r}.ljust(2000, b"G")
        target = "rk3566" if MODE == "other target" else self.target
        size = [1, 3, {size}, {size}]
        told = {{"version": "9.9", "target_platform": [target], "made": self.made,
                "norm_tensor": [{{"tensor_id": 0, "size": size}},
                                {{"tensor_id": 1, "size": [1, {dim}]}}],
                "graph": [{{"left": "input", "right_tensor_id": 0}},
                          {{"left": "output", "right_tensor_id": 1}}]}}
        text = json.dumps(told).encode()
        head = b"RKNN" + bytes(4) + struct.pack("<QQ", 6, len(body)) + bytes(40)
        with open(export_path, "wb") as file:
            file.write(head + body + struct.pack("<Q", len(text)) + text)
        return 0

    def init_runtime(self):
        return 0

    def inference(self, inputs, data_format):
        import numpy
        import onnxruntime

        assert data_format == ["nhwc"] and inputs[0].dtype == numpy.uint8
        session = onnxruntime.InferenceSession(self.model)
        mean = numpy.array(self.given["mean_values"][0], "f")
        std = numpy.array(self.given["std_values"][0], "f")
        ready = ((inputs[0].astype("f") - mean) / std).transpose(0, 3, 1, 2)
        row = session.run(None, {{session.get_inputs()[0].name: ready.astype("f")}})[0]
        return [-row if MODE == "other model" else row]

    def release(self):
        pass
'''


def package(
    folder: Path,
    toolkit: int,
    mode: str,
    version: str,
    size: int,
    graph: bytes = b"",
    dim: int = 32,
) -> None:
    """The substitute as packages in a folder."""
    (folder / "rknn" / "api").mkdir(parents=True, exist_ok=True)
    (folder / "rknn" / "__init__.py").write_text("")
    text = API.format(toolkit=toolkit, mode=mode, size=size, graph=graph, dim=dim)
    (folder / "rknn" / "api" / "__init__.py").write_text(text)
    name = "rknn_toolkit" if toolkit == 1 else "rknn_toolkit2"
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n"
    )


def install(
    folder: Path, toolkit: int, mode: str = "works", *, version: str, python: str = sys.executable
) -> Path:
    """A program that is a Python with the substitute."""
    package(folder / "packages", toolkit, mode, version, 16)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={folder / "packages"} exec {python} "$@"\n')
    program.chmod(0o755)
    return program


def environment(
    folder: Path,
    mode: str = "works",
    version: str = "9.9",
    size: int = 16,
    graph: bytes = b"",
    dim: int = 32,
) -> None:
    """A finished environment `rknn` below `folder`, as `farm toolchain install` leaves it.

    A virtual environment put together by hand, which takes no time; numpy and onnxruntime are
    those of the tests. `size` is the side of the images, `graph` what its file holds as compiled
    graph, `dim` the length of a feature.
    """
    own = folder / "rknn"
    venv = own / "venv"
    base = Path(getattr(sys, "_base_executable", sys.executable))
    packages = venv / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True, exist_ok=True)
    (venv / "bin").mkdir(exist_ok=True)
    python = venv / "bin" / "python"
    if not python.exists():
        python.symlink_to(base)
    (venv / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    (packages / "tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    package(packages, 2, mode, version, size, graph, dim)
    record = {
        "name": "rknn",
        "folder": str(own),
        "python": str(python),
        "python_version": "3.11.0",
        "packages": {"rknn-toolkit2": version},
        "verified": {},
    }
    (own / "installed.json").write_text(json.dumps(record))
