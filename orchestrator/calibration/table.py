"""The calibration table: what was seen of every tensor, and the ranges that follow from it.

One table serves every scheme. It holds the exact minimum and maximum of each activation and,
for the percentile and entropy calibrators, a histogram over [-t, t], t = max(|min|, |max|).
Tables of disjoint shards merge exactly: minima and maxima by comparison, counts by addition.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from orchestrator.calibration import thresholds
from orchestrator.errors import ToolchainError, UserError

_MAGIC = b"FARMCALIB1\n"

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CalibrationTable:
    """Ranges of a prepared model's activations over a calibration set.

    Attributes:
        model: sha256 of the prepared model's bytes.
        method: the calibrator asked for; `ranges` may be asked for any the table has data for.
        tensors: names, sorted.
        lowest, highest: float32 (tensors,): exact extremes, in the model's own units.
        images: sorted sha256 digests of the float32 images (1, 3, H, W) that were run.
        histograms: int64 (tensors, bins) over [-t, t], or None for a minmax table.
        percentile: percentage of the values kept by the percentile calibrator, both tails
            together cut by the rest.
        quantized_bins: levels of the entropy calibrator's candidate distribution.
    """

    model: str
    method: str
    tensors: tuple[str, ...]
    lowest: Floats
    highest: Floats
    images: tuple[str, ...]
    histograms: Counts | None = None
    percentile: float = 99.999
    quantized_bins: int = 128
    _ranges: dict[str, Mapping[str, tuple[np.float32, np.float32]]] = field(
        default_factory=dict, compare=False, repr=False
    )

    @property
    def bins(self) -> int:
        """Bins of a histogram; 0 when the table has none."""
        return 0 if self.histograms is None else int(self.histograms.shape[1])

    @property
    def calibration_set(self) -> str:
        """Fingerprint of the images, whatever their order: sha256 over their sorted digests."""
        return hashlib.sha256("\n".join(self.images).encode()).hexdigest()

    def ranges(self, method: str | None = None) -> Mapping[str, tuple[np.float32, np.float32]]:
        """Lowest and highest value to represent, of every tensor.

        Args:
            method: minmax, percentile or entropy; None is the table's own.

        Raises:
            UserError: the table has no histograms, which `method` needs.
        """
        method = method or self.method
        if method not in self._ranges:
            self._ranges[method] = self._compute(method)
        return self._ranges[method]

    def _compute(self, method: str) -> dict[str, tuple[np.float32, np.float32]]:
        extremes = dict(zip(self.tensors, zip(self.lowest, self.highest, strict=True), strict=True))
        if method == "minmax":
            return extremes
        if method not in ("percentile", "entropy"):
            raise UserError(f"unknown calibrator '{method}'", "known: minmax, percentile, entropy")
        if self.histograms is None:
            raise UserError(
                f"this calibration table was made with '{self.method}' and has no histograms, "
                f"which '{method}' needs",
                f"calibrate again with method '{method}'",
            )
        edges = [
            thresholds.bin_edges(low, high, self.bins)
            for low, high in zip(self.lowest, self.highest, strict=True)
        ]
        if method == "entropy":
            found = thresholds.entropy(
                self.histograms, edges, self.lowest, self.highest, self.quantized_bins
            )
        else:
            found = [
                thresholds.percentile(counts, edge, low, high, self.percentile)
                for counts, edge, (low, high) in zip(
                    self.histograms, edges, extremes.values(), strict=True
                )
            ]
        return dict(zip(self.tensors, found, strict=True))

    def merge(self, other: CalibrationTable) -> CalibrationTable:
        """The table of both shards' images together; exact, in any order of merging.

        Raises:
            UserError: the tables are of different models or methods, or their histograms were
                counted over different ranges.
        """
        for what in ("model", "method", "tensors", "bins", "percentile", "quantized_bins"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                raise UserError(
                    f"calibration tables of different {what} cannot be merged: "
                    f"{str(mine)[:80]} and {str(theirs)[:80]}"
                )
        histograms = None
        if self.histograms is not None and other.histograms is not None:
            same = np.array_equal(self.lowest, other.lowest) and np.array_equal(
                self.highest, other.highest
            )
            if not same:
                raise UserError(
                    "histograms counted over different ranges cannot be merged",
                    "merge minmax tables of the shards first, then calibrate every shard with "
                    "ranges=<the merged table>",
                )
            histograms = self.histograms + other.histograms
        return CalibrationTable(
            model=self.model,
            method=self.method,
            tensors=self.tensors,
            lowest=np.minimum(self.lowest, other.lowest),
            highest=np.maximum(self.highest, other.highest),
            images=tuple(sorted(self.images + other.images)),
            histograms=histograms,
            percentile=self.percentile,
            quantized_bins=self.quantized_bins,
        )

    def to_bytes(self) -> bytes:
        """A file of the table; equal tables give equal bytes."""
        ranges = np.array([self.ranges()[name] for name in self.tensors], np.float32)
        header: dict[str, Any] = {
            "model": self.model,
            "method": self.method,
            "tensors": self.tensors,
            "images": self.images,
            "bins": self.bins,
            "percentile": self.percentile,
            "quantized_bins": self.quantized_bins,
        }
        text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
        parts = [
            struct.pack("<I", len(text)),
            text,
            self.lowest.astype("<f4").tobytes(),
            self.highest.astype("<f4").tobytes(),
            ranges.reshape(-1).astype("<f4").tobytes(),
            b"" if self.histograms is None else self.histograms.astype("<i8").tobytes(),
        ]
        body = b"".join(parts)
        return _MAGIC + hashlib.sha256(body).digest() + body

    @classmethod
    def from_bytes(cls, data: bytes) -> CalibrationTable:
        """Read what `to_bytes` wrote.

        Raises:
            ToolchainError: the bytes are not such a file, or damaged.
        """
        start = len(_MAGIC) + 32
        body = memoryview(data)[start:]
        if data[: len(_MAGIC)] != _MAGIC:
            raise ToolchainError("not a calibration table: the first bytes are wrong")
        if hashlib.sha256(body).digest() != data[len(_MAGIC) : start]:
            raise ToolchainError(
                "damaged calibration table: its checksum does not match",
                "delete it; it is rebuilt from the calibration set",
            )
        (length,) = struct.unpack_from("<I", body)
        header = json.loads(bytes(body[4 : 4 + length]))
        offset = 4 + length
        size = len(header["tensors"])

        def floats(count: int) -> Floats:
            nonlocal offset
            values = np.frombuffer(body, "<f4", count, offset).astype(np.float32)
            offset += 4 * count
            return values

        lowest, highest, ranges = floats(size), floats(size), floats(2 * size).reshape(-1, 2)
        histograms: Counts | None = None
        if header["bins"]:
            counts = np.frombuffer(body, "<i8", size * header["bins"], offset)
            histograms = counts.astype(np.int64).reshape(size, header["bins"])
        table = cls(
            model=header["model"],
            method=header["method"],
            tensors=tuple(header["tensors"]),
            lowest=lowest,
            highest=highest,
            images=tuple(header["images"]),
            histograms=histograms,
            percentile=header["percentile"],
            quantized_bins=header["quantized_bins"],
        )
        pairs = {
            name: (cast(np.float32, low), cast(np.float32, high))
            for name, (low, high) in zip(table.tensors, ranges, strict=True)
        }
        table._ranges[table.method] = pairs
        return table
