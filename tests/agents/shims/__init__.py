"""Stand-ins for vendors' libraries, compiled here from the documented C declarations.

They check how they are called and compute something simple but real, so that a wrong layout,
colour order, scale or zero point is seen in the features. What they cannot show is a vendor's own
arithmetic, nor what its library does beyond its documentation.
"""

from __future__ import annotations

import functools
import os
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).parent
GCC = os.environ.get("FARM_TEST_CC") or shutil.which("gcc") or shutil.which("cc") or ""
FORMAT = "<8s4ififif6f"
TYPES = {"float32": 0, "int8": 2, "uint8": 3}


@functools.cache
def _built() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="farm-shims")


@functools.cache
def library(name: str, *flags: str) -> Path:
    """A compiled shim: `tengine`, `rknn1` or `rknn2`; once for all tests of this process.

    Args:
        flags: more of gcc's, such as `-m32`.
    """
    source, defines = name, ()
    if name.startswith("rknn"):
        source, defines = "rknn", (f"-DRKNN_VERSION={name[-1]}",)
    folder = Path(_built().name) / "-".join([name, *flags])
    folder.mkdir()
    files = {"tengine": "libtengine-lite.so", "rknn1": "librknn_api.so", "rknn2": "librknnrt.so"}
    target = folder / files[name]
    command = [GCC, "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", *defines, *flags]
    command += ["-o", str(target), str(FOLDER / f"{source}_shim.c"), "-lm"]
    subprocess.run(command, check=True, capture_output=True)
    return target


@dataclass(frozen=True)
class ShimFile:
    """A file that a shim runs, and what comes of it, worked out here with numpy.

    Attributes:
        vendor: `T` (Tengine, normalized input NCHW) or `R` (RKNN, raw pixels NHWC).
        dtype: of input and output.
    """

    vendor: str
    dtype: str
    size: int = 16
    dim: int = 24
    in_scale: float = 2 / 255
    in_zero: int = 127
    out_scale: float = 0.007
    out_zero: int = 120
    gain: float = 1.0
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)

    @property
    def data(self) -> bytes:
        """The file."""
        magic = b"FSHIM" + self.vendor.encode()
        # As a tmfile begins (its version, and where its tables are), or an RKNN file.
        head = struct.pack("<HxxxxxxI", 2, 12) if self.vendor == "T" else b"RKNN".ljust(12, b"\0")
        size, scales = (self.size, self.size), (self.in_scale, self.in_zero)
        ends = (*scales, self.out_scale, self.out_zero, self.gain)
        values = (TYPES[self.dtype], *size, self.dim, *ends, *self.mean, *self.std)
        return head + struct.pack(FORMAT, magic, *values)

    @classmethod
    def read(cls, data: bytes) -> ShimFile:
        """The inverse of `data`; what stands behind it in a file is no matter."""
        magic, kind, size, _, dim, *rest = struct.unpack_from(FORMAT, data, 12)
        dtype = next(name for name, number in TYPES.items() if number == kind)
        vendor, ends, mean, std = magic[5:6].decode(), rest[:5], rest[5:8], rest[8:]
        return cls(vendor, dtype, size, dim, *ends, tuple(mean), tuple(std))

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the shim makes of raw images: float32 (n, dim)."""
        values = (images.astype(np.float32) - np.float32(self.mean)) / np.float32(self.std)
        low, high = (-128, 127) if self.dtype == "int8" else (0, 255)
        if self.vendor == "T" and self.dtype != "float32":
            # Tengine's own programs: round(x / scale + zero_point) in float32, halves away from 0.
            sums = values / np.float32(self.in_scale) + np.float32(self.in_zero)
            levels = np.trunc(sums.astype(np.float64) + np.copysign(0.5, sums))
            levels = np.clip(levels, low, high)
            values = (levels - self.in_zero) * np.float64(np.float32(self.in_scale))
        count = self.size * self.size
        k, c, i = np.ogrid[: self.dim, :3, :count]
        weights = (k * 31 + c * 17 + i * 7 + (k + 1) * i % 13) % 11 - 5
        planes = values.astype(np.float64).transpose(0, 3, 1, 2).reshape(len(images), 3, count)
        exact = np.einsum("nci,kci->nk", planes, weights) * np.float64(np.float32(self.gain))
        exact /= count
        if self.dtype == "float32":
            return exact.astype(np.float32)
        steps = exact / np.float64(np.float32(self.out_scale)) + self.out_zero
        levels = np.clip(np.trunc(steps + np.copysign(0.5, steps)), low, high)
        return ((levels - self.out_zero) * np.float64(np.float32(self.out_scale))).astype(
            np.float32
        )
