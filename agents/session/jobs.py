"""The jobs of the runtime child: open a model, time it, make features of images."""

import hashlib
import os
import sys
from array import array
from collections import deque
from typing import Any, Deque, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from .. import runtimes
from ..measurement import clock, measuring
from ..measurement.telemetry import Telemetry
from ..protocol.errors import TRANSIENT, USER, AgentError
from ..protocol.link import Link
from ..protocol.wire import (
    DONE,
    FEATURES,
    MAX_PAYLOAD,
    OPENED,
    PROGRESS,
    READY,
    Frame,
    number,
    text,
)
from ..storage.cleanup import touch
from ..storage.image_cache import ImageCache
from . import progress
from .pipeline import Item, Pipeline
from .preprocess import Preprocessor

WINDOW = 4 << 20  # bytes of images in flight; the head uses less when the link is short
RUN_MEMORY = 128  # of the input's bytes: what one more run at a time may take
_WAIT_S = 0.5
_REASON = 200


class Model(object):
    """A loaded artifact with the preprocessing that feeds it."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        path, expected = text(meta, "artifact"), text(meta, "sha256")
        options, described = meta.get("options") or {}, meta.get("preprocessing") or {}
        if not isinstance(options, dict) or not isinstance(described, dict):
            raise AgentError(USER, "options and preprocessing must be objects")
        self.preprocess = Preprocessor(described)
        verify(path, expected)
        touch(path)
        begin = clock.now_ns()
        name = text(meta, "runtime")
        self.runtime = runtimes.open_runtime(name, path, options, self.preprocess)
        self.preprocess.use(sys.modules.get("numpy"))
        self.facts: Dict[str, Any] = {
            "runtime": name,
            "version": self.runtime.version,
            "provider": self.runtime.provider,
            "inputs": self.runtime.inputs,
            "outputs": self.runtime.outputs,
            "dim": self.runtime.dim,
            "load_ns": clock.now_ns() - begin,
            "pid": os.getpid(),
            "facts": self.runtime.facts,
        }


def verify(path: str, expected: str) -> None:
    """Compare a file with its sha256.

    Raises:
        AgentError: it is absent or another file; bringing it again helps.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except (IOError, OSError) as error:
        raise AgentError(TRANSIENT, "cannot read the artifact: %s" % error, "no-artifact")
    if digest.hexdigest() != expected:
        raise AgentError(
            TRANSIENT,
            "%s has the sha256 %s, expected %s" % (path, digest.hexdigest(), expected),
            "no-artifact",
        )


def open_model(frame: Frame, link: Link) -> Model:
    """OPEN: meta `artifact`, `sha256`, `runtime`, `options`, `preprocessing`.

    PROGRESS comes while something is built first: `doing`, `seconds` so far, `limit_s`.
    """

    def report(doing: str, seconds: float, limit_s: float) -> None:
        meta = {"doing": doing, "seconds": round(seconds, 1), "limit_s": limit_s}
        link.send(Frame(PROGRESS, frame.job, meta))

    progress.listen(report)
    try:
        model = Model(frame.meta)
    finally:
        progress.listen(lambda *_: link.pulse())
    link.send(Frame(OPENED, frame.job, model.facts))
    return model


def describe(frame: Frame, link: Link) -> None:
    """FACTS: the runtimes, imported, with their providers."""
    link.send(Frame(DONE, frame.job, {"runtimes": runtimes.available(load=True)}))


def extract(
    frame: Frame, model: Model, pipeline: Pipeline, link: Link, root: str, folder: str
) -> None:
    """EXTRACT: meta `count`. Images come in, features go out in the same pieces and order.

    Meta `at_a_time`: how many images may be computed at a time, each on a processor of its own,
    where the runtime can do that; fewer where memory is short.

    Where images are to stay on the board, in `folder`, meta `first` and `block` and the payload
    name them by blocks (see `image_cache.ImageCache`); READY's payload has a byte a block, 1 where
    it is there already and its images are not to be sent.

    FEATURES has `start`, `count`, `failed` ([index, reason] each) and `credit`, the bytes of
    images that may follow; its payload is little-endian float32, NaN where an image failed.
    DONE has `images`, `failed`, `run_ns` (sum of all runs) and `span_ns` (first start, last end).
    """
    count = number(frame.meta, "count", 0, 1 << 31)
    at_a_time = _at_a_time(frame, model, root)
    size = model.preprocess.image_bytes
    cache = (
        ImageCache(folder, frame.meta, frame.payload, count, size) if len(frame.payload) else None
    )
    pipeline.begin(frame.job, count, size, model.preprocess, cache)
    there = b"" if cache is None else cache.held
    window = _window(size, root, 2 * at_a_time)
    link.send(Frame(READY, frame.job, {"window": window}, there))
    broken_row = array("f", [float("nan")] * model.runtime.dim).tobytes()
    rows: List[bytes] = []
    failed: List[Any] = []
    failures = run_ns = first = last = start = 0
    runs = _runs(count, model, pipeline, link, at_a_time)
    for index, (item, run) in enumerate(runs):
        rows.append(broken_row if run.row is None else run.row)
        if run.row is None:
            failed.append([index, run.reason])
        first = min(first, run.begin) if first else run.begin
        last = max(last, run.end)
        run_ns += run.end - run.begin
        if item.last:
            meta = {"start": start, "count": len(rows), "failed": failed, "credit": item.credit}
            link.send(Frame(FEATURES, frame.job, meta, b"".join(rows)))
            failures += len(failed)
            start, rows, failed = index + 1, [], []
        else:
            link.pulse()
    meta = {"images": count, "failed": failures, "run_ns": run_ns, "span_ns": last - first}
    link.send(Frame(DONE, frame.job, meta))


class _Run(object):
    """One image's inference: `row` is None where it failed for `reason`; nanoseconds."""

    __slots__ = ("begin", "end", "reason", "row")

    def __init__(self, model: Model, item: Item) -> None:
        self.row: Optional[bytes] = None
        self.reason = ""
        self.begin = clock.now_ns()
        try:
            self.row = model.runtime.run(_prepared(item))[0]
        except (MemoryError, AgentError):
            raise
        except Exception as error:
            self.reason = _reason(error)
        self.end = clock.now_ns()


def _runs(
    count: int, model: Model, pipeline: Pipeline, link: Link, at_a_time: int
) -> Iterator[Tuple[Item, _Run]]:
    """Every image and its run, in order."""
    if at_a_time == 1:
        for _ in range(count):
            item = _next(pipeline, link)
            yield item, _Run(model, item)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    under_way: Deque[Tuple[Item, Future[_Run]]] = deque()
    taken = 0
    threads = ThreadPoolExecutor(at_a_time)
    try:
        while taken < count or under_way:
            found = None
            if taken < count and len(under_way) <= at_a_time:
                found = pipeline.take(0.0 if under_way else _WAIT_S)
            if found is not None:
                under_way.append((found, threads.submit(_Run, model, found)))
                taken += 1
            elif under_way:
                # Its features go out before more images are waited for: only then do more come.
                item, future = under_way.popleft()
                yield item, future.result()
            else:
                link.pulse()
    finally:
        threads.shutdown()


def _at_a_time(frame: Frame, model: Model, root: str) -> int:
    asked = number(frame.meta, "at_a_time", 1, 4096) if "at_a_time" in frame.meta else 1
    if asked == 1 or not model.runtime.concurrent:
        return 1
    free = Telemetry(root).memory("MemAvailable")
    each = RUN_MEMORY * model.preprocess.input_bytes
    return asked if free is None else max(1, min(asked, free // 2 // each))


def measure(frame: Frame, model: Model, pipeline: Pipeline, link: Link, root: str) -> None:
    """MEASURE: see `measuring`. The images come first."""
    images = _receive(frame, model, pipeline, link)
    measuring.measure(frame, model, images, pipeline, link, root)


def _receive(frame: Frame, model: Model, pipeline: Pipeline, link: Link) -> List[bytes]:
    size = model.preprocess.image_bytes
    count = number(frame.meta, "images", 1, max(1, MAX_PAYLOAD // size))
    pipeline.begin(frame.job, count, size, None)
    link.send(Frame(READY, frame.job, {"window": count * size}))
    return [bytes(_next(pipeline, link).data) for _ in range(count)]


def _next(pipeline: Pipeline, link: Link) -> Item:
    while True:
        item = pipeline.take(_WAIT_S)
        if item is not None:
            return item
        link.pulse()


def _window(image_bytes: int, root: str, images: int) -> int:
    free = Telemetry(root).memory("MemAvailable")
    most = max(WINDOW, max(4, images) * image_bytes)
    return most if free is None else max(2 * image_bytes, min(most, free // 8))


def _prepared(item: Item) -> Union[bytes, bytearray]:
    data = item.data
    return data if isinstance(data, (bytes, bytearray)) else bytes(data)


def _reason(error: Exception) -> str:
    return ("%s: %s" % (type(error).__name__, error))[:_REASON]
