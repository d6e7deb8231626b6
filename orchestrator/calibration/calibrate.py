"""Streaming calibration: what every tensor of a model takes on over a set of images.

Each image goes through the network alone and its activations are reduced at once, so memory
does not grow with the number of images, and the result does not depend on how the images were
batched, ordered or divided among machines. All graph optimizations are off: every tensor has
the bits that onnxruntime's own calibrators would see.

minmax takes one pass. percentile and entropy take a second one, because equal bins over the
exact range of all images need that range first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orchestrator.calibration import thresholds
from orchestrator.calibration.histogram import MAX_BINS, Histogrammer
from orchestrator.calibration.network import Network
from orchestrator.calibration.table import CalibrationTable
from orchestrator.errors import UserError
from orchestrator.graphs.prepare import fingerprint, prepare
from orchestrator.graphs.scratch import scratch

Floats = npt.NDArray[np.float32]

# Batches, or a function that gives them again for every pass.
Source = Iterable[Floats] | Callable[[], Iterable[Floats]]

# Called after every image with (images done, "ranges" or "histograms").
Progress = Callable[[int, str], None]

METHODS = ("minmax", "percentile", "entropy")


def calibrate(
    model: bytes,
    images: Source,
    method: str = "minmax",
    *,
    bins: int = 2048,
    quantized_bins: int = 128,
    percentile: float = 99.999,
    ranges: CalibrationTable | None = None,
    progress: Progress | None = None,
) -> CalibrationTable:
    """Estimate the ranges of a model's activations.

    Args:
        model: an ONNX file; prepared first unless it already is.
        images: batches, float32 (n, 3, H, W), as the model takes them (see `preprocess`); or
            a function that returns them, called once a pass. A one-shot iterator is kept on
            disk for the second pass.
        method: minmax, percentile or entropy.
        bins: of each tensor's histogram, for percentile and entropy.
        quantized_bins: levels of the entropy calibrator; fewer than `bins`.
        percentile: percentage of values kept by the percentile calibrator.
        ranges: of the whole set, when `images` is only a shard of it: the merged minmax tables
            of all shards. Tables made with the same `ranges` merge exactly.
        progress: told after every image.

    Raises:
        UserError: no images, images of another size, unknown method, or bins out of range.
        ToolchainError: a tensor is NaN or infinite on some image; the tensor is named.
    """
    if method not in METHODS:
        raise UserError(f"unknown calibrator '{method}'", f"known: {', '.join(METHODS)}")
    if method != "minmax" and not quantized_bins < bins <= MAX_BINS:
        raise UserError(
            f"bins is {bins}, expected more than quantized_bins ({quantized_bins}) and at most "
            f"{MAX_BINS}"
        )
    prepared = prepare(model)
    fixed = ranges if method != "minmax" else None
    if fixed is not None and fixed.model != fingerprint(prepared):
        raise UserError("the ranges given to calibrate with were made from another model")
    with scratch() as folder:
        network = Network(prepared, folder, tensors=method != "minmax")
        source = _Images(images, network.shape, folder, fixed)
        if fixed is None:
            lowest, highest = _extremes(network, source, progress)
        else:
            lowest, highest = fixed.lowest, fixed.highest
        counts = None
        if method != "minmax":
            edges = [
                thresholds.bin_edges(low, high, bins)
                for low, high in zip(lowest, highest, strict=True)
            ]
            counts = _histograms(network, source, edges, bins, progress)
    return CalibrationTable(
        model=fingerprint(prepared),
        method=method,
        tensors=network.tensors,
        lowest=lowest,
        highest=highest,
        images=source.digests(),
        histograms=counts,
        percentile=percentile,
        quantized_bins=quantized_bins,
    )


class _Images:
    """Single images of checked shape, the same ones on every pass."""

    def __init__(
        self,
        images: Source,
        shape: tuple[int, int, int],
        folder: Path,
        ranges: CalibrationTable | None,
    ) -> None:
        self._images = images
        self._shape = shape
        self._known = None if ranges is None else frozenset(ranges.images)
        self._seen: list[str] | None = None
        one_shot = isinstance(images, Iterator)
        self._spool = folder / "images.f32" if one_shot else None

    def __iter__(self) -> Iterator[Floats]:
        if self._seen is not None and self._spool is not None:
            yield from self._from_spool()
            return
        seen = []
        spool = self._spool.open("wb") if self._spool else None
        try:
            for batch in batches_of(self._images):
                self._check(batch)
                for i in range(len(batch)):
                    image = np.ascontiguousarray(batch[i : i + 1])
                    seen.append(hashlib.sha256(image.data).hexdigest())
                    if self._known is not None and seen[-1] not in self._known:
                        raise UserError(
                            "an image is not among those that the ranges were made from",
                            "calibrate every shard with method 'minmax' and merge the tables",
                        )
                    if spool:
                        spool.write(image.data)
                    yield image
        finally:
            if spool:
                spool.close()
        if not seen:
            raise UserError(
                "the calibration set is empty: no images were given",
                "name a folder with images, or raise the number to render",
            )
        if self._seen is not None and self._seen != seen:
            raise UserError("the calibration images changed between two passes over them")
        self._seen = seen

    def digests(self) -> tuple[str, ...]:
        """Sorted sha256 of each image, after a pass."""
        return tuple(sorted(self._seen or ()))

    def _from_spool(self) -> Iterator[Floats]:
        assert self._spool is not None
        count = int(np.prod(self._shape))
        with self._spool.open("rb") as file:
            while data := file.read(4 * count):
                yield np.frombuffer(data, np.float32).reshape(1, *self._shape)

    def _check(self, batch: Floats) -> None:
        expected = ", ".join(str(size) for size in self._shape)
        if batch.ndim != 4 or batch.shape[1:] != self._shape or batch.dtype != np.float32:
            raise UserError(
                f"calibration images are {batch.dtype} {batch.shape}, the model takes float32 "
                f"(n, {expected})",
                "resize the images, or correct size and layout in the model's manifest",
            )
        if not np.isfinite(batch).all():
            raise UserError("a calibration image has values that are NaN or infinite")


def batches_of(images: Source) -> Iterable[Floats]:
    """The batches, asked for again when `images` is a function."""
    return images() if callable(images) else images


def _extremes(
    network: Network, images: _Images, progress: Progress | None
) -> tuple[Floats, Floats]:
    lowest = np.full(len(network.tensors), np.inf, np.float32)
    highest = np.full(len(network.tensors), -np.inf, np.float32)
    for done, image in enumerate(images, 1):
        seen = network.extremes(image)
        np.minimum(lowest, seen[:, 0], out=lowest)
        np.maximum(highest, seen[:, 1], out=highest)
        if progress:
            progress(done, "ranges")
    return lowest, highest


def _histograms(
    network: Network,
    images: _Images,
    edges: list[Floats],
    bins: int,
    progress: Progress | None,
) -> npt.NDArray[np.int64]:
    counts = np.zeros((len(network.tensors), bins), np.int64)
    counter = Histogrammer(bins)
    for done, image in enumerate(images, 1):
        for i, values in enumerate(network.activations(image)):
            counter.add(values, edges[i], counts[i])
        if progress:
            progress(done, "histograms")
    return counts
