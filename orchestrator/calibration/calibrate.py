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
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, TensorProto, helper

from orchestrator.calibration import thresholds
from orchestrator.calibration.histogram import MAX_BINS, Histogrammer
from orchestrator.calibration.table import CalibrationTable
from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs import edit
from orchestrator.graphs.describe import describe_proto
from orchestrator.graphs.prepare import fingerprint, prepare
from orchestrator.graphs.scratch import scratch
from orchestrator.graphs.sessions import faithful_session

# Raised when a table may differ for the same images; part of every key made from it.
RECIPE = 1

Floats = npt.NDArray[np.float32]

# Batches, or a function that gives them anew for every pass.
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
    threads: int = 0,
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
        threads: of onnxruntime within an operator; 0 is its own choice.
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
    proto = onnx.ModelProto.FromString(prepared)
    with scratch() as folder:
        source = _Images(images, describe_proto(proto).image_shape, folder)
        if ranges is None:
            lowest, highest = _extremes(proto, source, folder, threads, progress)
            table = _table(prepared, proto, source, method, lowest, highest)
        else:
            _require_same_model(ranges, prepared)
            lowest, highest = ranges.lowest, ranges.highest
            table = _table(prepared, proto, source, method, lowest, highest)
        if method == "minmax":
            return table
        counts = _histograms(proto, source, table, bins, folder, threads, progress)
    return CalibrationTable(
        model=table.model,
        method=method,
        tensors=table.tensors,
        lowest=lowest,
        highest=highest,
        images=source.digests(),
        histograms=counts,
        percentile=percentile,
        quantized_bins=quantized_bins,
    )


class _Images:
    """Single images of checked shape, the same ones on every pass."""

    def __init__(self, images: Source, shape: tuple[int, int, int], folder: Path) -> None:
        self._images = images
        self._shape = shape
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
            for batch in self._images() if callable(self._images) else self._images:
                self._check(batch)
                for i in range(len(batch)):
                    image = np.ascontiguousarray(batch[i : i + 1])
                    seen.append(hashlib.sha256(image.data).hexdigest())
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


def float_tensors(proto: ModelProto) -> tuple[str, ...]:
    """Names of a model's float32 activations, the input included, sorted."""
    inferred = onnx.shape_inference.infer_shapes(_without_weights(proto))
    known = [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
    kinds = {info.name: info.type.tensor_type.elem_type for info in known}
    constants = edit.initializers(proto.graph)
    names = {name for node in proto.graph.node for name in (*node.input, *node.output)}
    return tuple(sorted(n for n in names - set(constants) if kinds.get(n) == TensorProto.FLOAT))


def augmented_session(
    proto: ModelProto, outputs: Iterable[str], path: Path, threads: int = 0
) -> Any:
    """An unoptimized session that also returns `outputs`; loaded from a file to hold the
    weights once."""
    names = list(outputs)
    present = {output.name for output in proto.graph.output}
    added = [n for n in names if n not in present]
    before = len(proto.graph.output)
    for name in added:
        proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    path.write_bytes(edit.dump(proto))
    del proto.graph.output[before:]
    return faithful_session(str(path), threads=threads, optimize=False)


def _extremes(
    proto: ModelProto,
    images: _Images,
    folder: Path,
    threads: int,
    progress: Progress | None,
) -> tuple[Floats, Floats]:
    names = float_tensors(proto)
    before = len(proto.graph.node)
    outputs = []
    for i, name in enumerate(names):
        for operator in ("ReduceMin", "ReduceMax"):
            output = f"farm_{operator}_{i}"
            proto.graph.node.append(helper.make_node(operator, [name], [output], keepdims=0))
            outputs.append(output)
    session = augmented_session(proto, outputs, folder / "ranges.onnx", threads)
    del proto.graph.node[before:]
    final = [output.name for output in proto.graph.output]
    key = session.get_inputs()[0].name
    lowest = np.full(len(names), np.inf, np.float32)
    highest = np.full(len(names), -np.inf, np.float32)
    for done, image in enumerate(images, 1):
        values = session.run([*outputs, *final], {key: image})
        seen = np.array(values[: len(outputs)], np.float32).reshape(-1, 2)
        broken = np.logical_not(np.isfinite(seen).all(axis=1))
        if broken.any() or not all(np.isfinite(v).all() for v in values[len(outputs) :]):
            _raise_not_finite(proto, names, broken)
        np.minimum(lowest, seen[:, 0], out=lowest)
        np.maximum(highest, seen[:, 1], out=highest)
        if progress:
            progress(done, "ranges")
    return lowest, highest


def _histograms(
    proto: ModelProto,
    images: _Images,
    table: CalibrationTable,
    bins: int,
    folder: Path,
    threads: int,
    progress: Progress | None,
) -> npt.NDArray[np.int64]:
    names = list(table.tensors)
    session = augmented_session(proto, names, folder / "histograms.onnx", threads)
    key = session.get_inputs()[0].name
    counts = np.zeros((len(names), bins), np.int64)
    edges = [
        thresholds.bin_edges(low, high, bins)
        for low, high in zip(table.lowest, table.highest, strict=True)
    ]
    counter = Histogrammer(bins)
    # onnxruntime returns no graph input as output without a copy of its own (issue 21922).
    fetched = [name for name in names if name != key]
    for done, image in enumerate(images, 1):
        values = dict(zip(fetched, session.run(fetched, {key: image}), strict=True))
        values[key] = image
        for i, name in enumerate(names):
            counter.add(values.pop(name), edges[i], counts[i])
        if progress:
            progress(done, "histograms")
    return counts


def _table(
    prepared: bytes,
    proto: ModelProto,
    images: _Images,
    method: str,
    lowest: Floats,
    highest: Floats,
) -> CalibrationTable:
    return CalibrationTable(
        model=fingerprint(prepared),
        method=method,
        tensors=float_tensors(proto),
        lowest=lowest,
        highest=highest,
        images=images.digests(),
    )


def _raise_not_finite(proto: ModelProto, names: tuple[str, ...], broken: npt.ArrayLike) -> None:
    order = [output for node in proto.graph.node for output in node.output]
    bad = {name for name, flag in zip(names, np.atleast_1d(broken), strict=True) if flag}
    first = next((name for name in order if name in bad), proto.graph.output[0].name)
    maker = next((edit.label(n) for n in proto.graph.node if first in n.output), "the input")
    raise ToolchainError(
        f"tensor '{first}' of {maker} is NaN or infinite on a calibration image",
        "the float32 model overflows there: check its preprocessing (mean, std) and weights",
    )


def _require_same_model(ranges: CalibrationTable, prepared: bytes) -> None:
    if ranges.model != fingerprint(prepared):
        raise UserError("the ranges given to calibrate with were made from another model")


def _without_weights(proto: ModelProto) -> ModelProto:
    """A copy for shape inference in which big constants are only typed inputs."""
    slim = onnx.ModelProto()
    slim.ir_version = proto.ir_version
    slim.opset_import.extend(proto.opset_import)
    slim.graph.name = proto.graph.name or "g"
    slim.graph.node.extend(proto.graph.node)
    slim.graph.input.extend(proto.graph.input)
    slim.graph.output.extend(proto.graph.output)
    for tensor in proto.graph.initializer:
        if len(tensor.dims) <= 1 and tensor.data_type == TensorProto.INT64:
            slim.graph.initializer.append(tensor)
        else:
            slim.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return slim
