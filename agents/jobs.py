"""The jobs of the runtime child: open a model, time it, make features of images."""

import gc
import hashlib
import math
import os
import sys
from array import array
from typing import Any, Dict, List, Mapping, Union

from . import clock, runtimes
from .cleanup import touch
from .errors import TRANSIENT, USER, AgentError
from .kept import Kept
from .link import Link
from .pipeline import Item, Pipeline
from .preprocess import Preprocessor
from .telemetry import Telemetry
from .wire import (
    DONE,
    FEATURES,
    MAX_PAYLOAD,
    OPENED,
    READY,
    TIMES,
    Frame,
    number,
    text,
)

WINDOW = 4 << 20  # bytes of images in flight; the head uses less when the link is short
_WAIT_S = 0.5
_REPORT_S = 0.5
_REASON = 200
_STABLE_RUNS = 10
_STABLE = 0.05
_WARM_UP_LIMIT = 10


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
        self.facts: Dict[str, Any] = {
            "runtime": name,
            "version": self.runtime.version,
            "provider": self.runtime.provider,
            "inputs": self.runtime.inputs,
            "outputs": self.runtime.outputs,
            "dim": self.runtime.dim,
            "load_ns": clock.now_ns() - begin,
            "pid": os.getpid(),
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
    """OPEN: meta `artifact`, `sha256`, `runtime`, `options`, `preprocessing`."""
    model = Model(frame.meta)
    link.send(Frame(OPENED, frame.job, model.facts))
    return model


def describe(frame: Frame, link: Link) -> None:
    """FACTS: the runtimes, imported, with their providers."""
    link.send(Frame(DONE, frame.job, {"runtimes": runtimes.available(load=True)}))


def extract(
    frame: Frame, model: Model, pipeline: Pipeline, link: Link, root: str, folder: str
) -> None:
    """EXTRACT: meta `count`. Images come in, features go out in the same pieces and order.

    Where images are to stay on the board, in `folder`, meta `first` and `block` and the payload
    name them by blocks (see `kept.Kept`); READY's payload has a byte a block, 1 where it is there
    already and its images are not to be sent.

    FEATURES has `start`, `count`, `failed` ([index, reason] each) and `credit`, the bytes of
    images that may follow; its payload is little-endian float32, NaN where an image failed.
    DONE has `images`, `failed`, `run_ns` (sum of all runs) and `span_ns` (first start, last end).
    """
    count = number(frame.meta, "count", 0, 1 << 31)
    size = model.preprocess.image_bytes
    kept = Kept(folder, frame.meta, frame.payload, count, size) if len(frame.payload) else None
    pipeline.begin(frame.job, count, size, model.preprocess, kept)
    there = b"" if kept is None else kept.held
    link.send(Frame(READY, frame.job, {"window": _window(size, root)}, there))
    broken_row = array("f", [float("nan")] * model.runtime.dim).tobytes()
    rows: List[bytes] = []
    failed: List[Any] = []
    failures = run_ns = first = last = start = 0
    for index in range(count):
        item = _next(pipeline, link)
        begin = clock.now_ns()
        first = first or begin
        try:
            rows.append(model.runtime.run(_prepared(item))[0])
        except MemoryError:
            raise
        except Exception as error:
            rows.append(broken_row)
            failed.append([index, _reason(error)])
        last = clock.now_ns()
        run_ns += last - begin
        if item.last:
            meta = {"start": start, "count": len(rows), "failed": failed, "credit": item.credit}
            link.send(Frame(FEATURES, frame.job, meta, b"".join(rows)))
            failures += len(failed)
            start, rows, failed = index + 1, [], []
        else:
            link.pulse()
    meta = {"images": count, "failed": failures, "run_ns": run_ns, "span_ns": last - first}
    link.send(Frame(DONE, frame.job, meta))


def measure(frame: Frame, model: Model, pipeline: Pipeline, link: Link, root: str) -> None:
    """MEASURE: meta `images` (how many will come and are cycled), `warm_up_count`,
    `min_duration_s`, `min_count`, `max_duration_s`.

    TIMES has `done`, `total` (an estimate), `phase` and `count`; its payload is `count` device
    times, then `count` end-to-end times, little-endian int64 nanoseconds. Warm-up times are not
    sent. DONE has `warm_up`, `stable`, `before`, `after` (telemetry).
    """
    images = _receive(frame, model, pipeline, link)
    policy = _policy(frame.meta)
    sensors = Telemetry(root)
    timer = _Timer(model, images, pipeline, link, frame.job)
    gc.collect()
    gc.disable()
    try:
        before = sensors.sample()
        stable = timer.warm_up(int(policy["warm_up_count"]), policy["max_duration_s"] / 4)
        timer.run(policy)
        after = sensors.sample()
    finally:
        gc.enable()
    meta = {"warm_up": timer.warm, "stable": stable, "before": before, "after": after}
    link.send(Frame(DONE, frame.job, meta))


class _Timer(object):
    def __init__(
        self, model: Model, images: List[bytes], pipeline: Pipeline, link: Link, job: int
    ) -> None:
        self._model, self._images = model, images
        self._pipeline, self._link, self._job = pipeline, link, job
        self._turn = 0
        self.warm = 0

    def _once(self) -> Any:
        image = self._images[self._turn % len(self._images)]
        self._turn += 1
        begin = clock.now_ns()
        _, device = self._model.runtime.run(self._model.preprocess(image))
        return device, clock.now_ns() - begin

    def warm_up(self, count: int, limit_s: float) -> bool:
        """Run `count` times and then until two medians in a row agree; whether they did."""
        end = clock.now() + limit_s
        times: List[int] = []
        most = max(count, 1) * _WARM_UP_LIMIT
        while True:
            times.append(self._once()[0])
            self.warm = len(times)
            self._pipeline.check()
            self._link.pulse()
            if self.warm >= max(count, 1):
                stable = _settled(times)
                if stable or self.warm >= most or count == 0 or clock.now() > end:
                    return stable

    def run(self, policy: Mapping[str, float]) -> None:
        """Time until both minima are reached, at the longest `max_duration_s`."""
        device, whole = array("q"), array("q")
        done, begin = 0, clock.now()
        reported = begin
        while True:
            native, both = self._once()
            device.append(native)
            whole.append(both)
            done += 1
            now = clock.now()
            enough = (
                now - begin >= policy["min_duration_s"] and done >= policy["min_count"]
            ) or now - begin >= policy["max_duration_s"]
            if enough or now - reported >= _REPORT_S or len(device) >= 1 << 16:
                total = done if enough else _expected(done, now - begin, policy)
                self._send(device, whole, done, total)
                device, whole, reported = array("q"), array("q"), now
            self._pipeline.check()
            if enough:
                return

    def _send(self, device: Any, whole: Any, done: int, total: int) -> None:
        meta = {"phase": "timing", "done": done, "total": total, "count": len(device)}
        if sys.byteorder == "big":
            device.byteswap()
            whole.byteswap()
        payload = device.tobytes() + whole.tobytes()
        self._link.send(Frame(TIMES, self._job, meta, payload))


def _settled(times: List[int]) -> bool:
    if len(times) < 2 * _STABLE_RUNS:
        return False
    recent = sorted(times[-_STABLE_RUNS:])[_STABLE_RUNS // 2]
    before = sorted(times[-2 * _STABLE_RUNS : -_STABLE_RUNS])[_STABLE_RUNS // 2]
    return abs(recent - before) <= _STABLE * max(before, 1)


def _expected(done: int, seconds: float, policy: Mapping[str, float]) -> int:
    rate = done / max(seconds, 1e-9)
    total = max(policy["min_count"], rate * policy["min_duration_s"])
    return max(done, int(min(total, rate * policy["max_duration_s"])))


def _policy(meta: Mapping[str, Any]) -> Dict[str, float]:
    policy: Dict[str, float] = {}
    for key in ("warm_up_count", "min_duration_s", "min_count", "max_duration_s"):
        value: Any = meta.get(key)
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not good or not math.isfinite(value) or value < 0:
            raise AgentError(USER, "%s is %.80r, expected a number from 0 on" % (key, value))
        policy[key] = value
    return policy


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


def _window(image_bytes: int, root: str) -> int:
    free = Telemetry(root).memory("MemAvailable")
    most = max(WINDOW, 4 * image_bytes)
    return most if free is None else max(2 * image_bytes, min(most, free // 8))


def _prepared(item: Item) -> Union[bytes, bytearray]:
    data = item.data
    return data if isinstance(data, (bytes, bytearray)) else bytes(data)


def _reason(error: Exception) -> str:
    return ("%s: %s" % (type(error).__name__, error))[:_REASON]
