"""The job that times single inferences: cool down, warm up, blocks with pauses between them.

Nothing runs beside the inferences: sensors are read and times are sent between two of them, by
the thread that runs them.
"""

import gc
import math
import os
import sys
import time
import zlib
from array import array
from typing import Any, Dict, List, Mapping, Sequence

from ..host import processes
from ..protocol.errors import USER, AgentError
from ..protocol.link import Link
from ..protocol.wire import DONE, TIMES, Frame
from ..session.pipeline import Pipeline
from . import clock
from .cooling import Cooling
from .telemetry import Telemetry, drivers

_REPORT_S = 0.5
_SAMPLE_S = 1.0
_COOLING_POLL_S = 1.0
_STABLE_RUNS = 10
_STABLE = 0.05
_WARM_UP_LIMIT = 10
_MOST_TIMES = 1 << 16
_MOST_BLOCKS = 1000
_WORK = bytes(bytearray(range(256))) * 256
_WORK_TURNS = 16
_WORK_TRIES = 7
_DEFAULTS = {"blocks": 1, "pause_s": 0, "cool_deadline_s": 300}


def measure(
    frame: Frame, model: Any, images: Sequence[bytes], pipeline: Pipeline, link: Link, root: str
) -> None:
    """MEASURE: meta `images` (how many will come and are cycled), `warm_up_count`,
    `min_duration_s`, `min_count`, `max_duration_s`, and where wanted `blocks`, `pause_s`,
    `cool_below_c`, `cool_deadline_s` and `sensors` (`zones`, `clocks`, `gpus`; see `Telemetry`).

    TIMES has `phase` (`received`, `cooling`, `warming up`, `timing`), `done`, `total` (an
    estimate), `block`, `count` and `samples` (telemetry, each with `at_s` since the first block
    began and its `block`; the last of a block also has its `yardstick_ms`). Its payload is four
    rows of `count` little-endian int64 nanoseconds: when each inference began, since the first
    block did; its preprocessing; inside the native run call; end to end. Warm-up times are not
    sent.

    DONE has `warm_up`, `warm_up_s`, `stable`, `cooling`, `before`, `after` (telemetry), `cpu`
    (`elapsed_s`, `own_s`, `busy_s` of all processors, `cores`), `peak_memory_bytes` (of this
    process) and `drivers`.
    """
    _report(link, frame.job, "received", 0)
    policy = _policy(frame.meta)
    sensors = _sensors(frame.meta, root)
    cooled = _cool(frame, policy, sensors, pipeline, link)
    timer = _Timer(model, images, pipeline, link, frame.job, sensors)
    gc.collect()
    gc.disable()
    try:
        before = sensors.sample()
        began = clock.now()
        # What times in blocks warms up within each.
        count = 0 if model.runtime.in_blocks else int(policy["warm_up_count"])
        stable = timer.warm_up(count, policy["max_duration_s"] / 4) or model.runtime.in_blocks
        warm_up_s = clock.now() - began
        timer.run(policy)
        after = sensors.sample()
    finally:
        gc.enable()
    meta = {
        "warm_up": timer.warm,
        "warm_up_s": warm_up_s,
        "stable": stable,
        "cooling": cooled,
        "before": before,
        "after": after,
        "cpu": timer.cpu,
        "drivers": drivers(root),
        "peak_memory_bytes": processes.peak_memory(),
    }
    link.send(Frame(DONE, frame.job, meta))


def _report(link: Link, job: int, phase: str, total: int, **more: Any) -> None:
    meta = {"phase": phase, "done": 0, "total": total, "count": 0, "block": 0}
    meta.update(more)
    link.send(Frame(TIMES, job, meta))


def _cool(
    frame: Frame, policy: Mapping[str, Any], sensors: Telemetry, pipeline: Pipeline, link: Link
) -> Dict[str, Any]:
    below_c = policy["cool_below_c"]
    if below_c is None:
        return {}
    wait = Cooling(below_c, policy["cool_deadline_s"])
    begin = clock.now()
    first = None
    while True:
        sample = sensors.sample()
        now_c = sample.get("temperature_c")
        first = now_c if first is None else first
        spent = clock.now() - begin
        ended = wait.ended(spent, now_c)
        if ended:
            return {
                "ended": ended,
                "from_c": first,
                "to_c": now_c,
                "below_c": below_c,
                "waited_s": spent,
            }
        _report(link, frame.job, "cooling", 0, samples=[sample], from_c=now_c, below_c=below_c)
        pipeline.check()
        time.sleep(min(_COOLING_POLL_S, max(0.01, policy["cool_deadline_s"] - spent)))


class _Timer(object):
    def __init__(
        self,
        model: Any,
        images: Sequence[bytes],
        pipeline: Pipeline,
        link: Link,
        job: int,
        sensors: Telemetry,
    ) -> None:
        self._model, self._images = model, images
        self._pipeline, self._link, self._job = pipeline, link, job
        self._sensors = sensors
        self._turn = 0
        self._origin_ns = 0
        self._sampled = 0.0
        self._samples: List[Dict[str, Any]] = []
        self._rows = [array("q") for _ in range(4)]
        self.warm = 0
        self.cpu: Dict[str, Any] = {}

    def _once(self) -> Any:
        image = self._images[self._turn % len(self._images)]
        self._turn += 1
        begin = clock.now_ns()
        prepared = self._model.preprocess(image)
        ready = clock.now_ns()
        _, device = self._model.runtime.run(prepared)
        return begin, ready - begin, device, clock.now_ns() - begin

    def warm_up(self, count: int, limit_s: float) -> bool:
        """Run `count` times and then until two medians in a row agree; whether they did."""
        end = clock.now() + limit_s
        times: List[int] = []
        most = max(count, 1) * _WARM_UP_LIMIT
        reported = 0.0
        while True:
            times.append(self._once()[2])
            self.warm = len(times)
            self._pipeline.check()
            if clock.now() - reported > _REPORT_S:
                reported = clock.now()
                _report(self._link, self._job, "warming up", 0)
            if self.warm >= max(count, 1):
                stable = _settled(times)
                if stable or self.warm >= most or count == 0 or clock.now() > end:
                    return stable

    def run(self, policy: Mapping[str, Any]) -> None:
        """Time in blocks, each for its share of both minima, at the longest `max_duration_s`."""
        blocks = int(policy["blocks"])
        own_s, busy_s = _own_cpu_s(), self._sensors.busy_s()
        begin = clock.now()
        self._origin_ns = clock.now_ns()
        end = begin + policy["max_duration_s"]
        done, timed = 0, 0.0
        for block in range(blocks):
            if block:
                if clock.now() + policy["pause_s"] >= end:
                    break
                time.sleep(policy["pause_s"])
            done, timed = self._block(block, done, timed, end, policy)
            if clock.now() >= end:
                break
        self.cpu = {
            "elapsed_s": clock.now() - begin,
            "own_s": _own_cpu_s() - own_s,
            "cores": os.cpu_count() or 1,
        }
        after_s = self._sensors.busy_s()
        if busy_s is not None and after_s is not None:
            self.cpu["busy_s"] = after_s - busy_s

    def _block(
        self, block: int, done: int, timed: float, end: float, policy: Mapping[str, Any]
    ) -> Any:
        blocks = policy["blocks"]
        want_s = timed + policy["min_duration_s"] / blocks
        want = done + math.ceil(policy["min_count"] / blocks)
        self._sample(block)
        if self._model.runtime.in_blocks:
            most_s = min(want_s - timed, end - clock.now())
            return self._together(block, done, timed, want - done, most_s, policy)
        begin = reported = clock.now()
        while True:
            for index, value in enumerate(self._once()):
                self._rows[index].append(value)
            done += 1
            now = clock.now()
            spent = timed + now - begin
            over = (spent >= want_s and done >= want) or now >= end
            if over:
                self._end_block(block)
            elif now - self._sampled >= _SAMPLE_S:
                self._sample(block)
            if over or now - reported >= _REPORT_S or len(self._rows[0]) >= _MOST_TIMES:
                last = (over and block + 1 == blocks) or now >= end
                self._send(block, done, done if last else _expected(done, spent, policy))
                reported = now
            self._pipeline.check()
            if over:
                return done, spent

    def _together(
        self,
        block: int,
        done: int,
        timed: float,
        count: int,
        seconds: float,
        policy: Mapping[str, Any],
    ) -> Any:
        """A block by one call, for a runtime whose single runs say nothing of its speed.

        When each run began is unknown: each is recorded as if it had followed the one before.
        End to end is without what comes before and after in this process, but for preprocessing.
        """
        image = self._images[self._turn % len(self._images)]
        self._turn += 1
        ready = clock.now_ns()
        prepared = self._model.preprocess(image)
        at = clock.now_ns()
        pre = at - ready
        native, both = self._model.runtime.times(prepared, max(1, count), max(0.0, seconds))
        self._pipeline.check()
        for index, device in enumerate(native):
            whole = pre + both[index]
            for row, value in enumerate((at, pre, device, whole)):
                self._rows[row].append(value)
            at += whole
            done += 1
            timed += whole / 1e9
            if len(self._rows[0]) >= _MOST_TIMES:
                self._send(block, done, _expected(done, timed, policy))
        self._end_block(block)
        last = block + 1 == policy["blocks"]
        self._send(block, done, done if last else _expected(done, timed, policy))
        return done, timed

    def _end_block(self, block: int) -> None:
        self._sample(block)
        self._samples[-1]["yardstick_ms"] = yardstick_ms()

    def _sample(self, block: int) -> None:
        sample = self._sensors.sample()
        self._sampled = clock.now()
        sample["at_s"] = (clock.now_ns() - self._origin_ns) / 1e9
        sample["block"] = block
        self._samples.append(sample)

    def _send(self, block: int, done: int, total: int) -> None:
        begins = self._rows[0]
        for index, value in enumerate(begins):
            begins[index] = value - self._origin_ns
        meta = {
            "phase": "timing",
            "done": done,
            "total": total,
            "block": block,
            "count": len(begins),
            "samples": self._samples,
        }
        if sys.byteorder == "big":
            for row in self._rows:
                row.byteswap()
        payload = b"".join(row.tobytes() for row in self._rows)
        self._rows = [array("q") for _ in range(4)]
        self._samples = []
        self._link.send(Frame(TIMES, self._job, meta, payload))


def yardstick_ms() -> float:
    """The same piece of processor work each time: the fastest of some tries, in milliseconds.

    Timed between blocks of inferences, it tells a processor that became slower from a model that
    did, also where the kernel tells no clock.
    """
    best = 0
    for _ in range(_WORK_TRIES):
        begin = clock.now_ns()
        for _ in range(_WORK_TURNS):
            zlib.crc32(_WORK)
        took = clock.now_ns() - begin
        best = min(best or took, took)
    return best / 1e6


def _own_cpu_s() -> float:
    """Processor time of this process and of the session that started it."""
    own = os.times()
    fields = processes.stat(os.getppid())
    ticks = int(fields[11]) + int(fields[12]) if fields is not None and len(fields) > 12 else 0
    return own[0] + own[1] + own[2] + own[3] + ticks / float(os.sysconf("SC_CLK_TCK"))


def _settled(times: List[int]) -> bool:
    if len(times) < 2 * _STABLE_RUNS:
        return False
    recent = sorted(times[-_STABLE_RUNS:])[_STABLE_RUNS // 2]
    before = sorted(times[-2 * _STABLE_RUNS : -_STABLE_RUNS])[_STABLE_RUNS // 2]
    return abs(recent - before) <= _STABLE * max(before, 1)


def _expected(done: int, seconds: float, policy: Mapping[str, Any]) -> int:
    rate = done / max(seconds, 1e-9)
    total = max(policy["min_count"], rate * policy["min_duration_s"])
    return max(done, int(min(total, rate * policy["max_duration_s"])))


def _policy(meta: Mapping[str, Any]) -> Dict[str, Any]:
    policy: Dict[str, Any] = {}
    for key in ("warm_up_count", "min_duration_s", "min_count", "max_duration_s") + tuple(
        sorted(_DEFAULTS)
    ):
        value: Any = meta.get(key, _DEFAULTS.get(key))
        if not _is_number(value) or value < 0:
            raise AgentError(USER, "%s is %.80r, expected a number from 0 on" % (key, value))
        policy[key] = value
    below_c = meta.get("cool_below_c")
    if below_c is not None and not _is_number(below_c):
        raise AgentError(USER, "cool_below_c is %.80r, expected degrees Celsius" % (below_c,))
    policy["cool_below_c"] = below_c
    policy["blocks"] = min(_MOST_BLOCKS, max(1, int(policy["blocks"])))
    return policy


def _is_number(value: Any) -> bool:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool)
    return usable and math.isfinite(value)


def _sensors(meta: Mapping[str, Any], root: str) -> Telemetry:
    sensors = meta.get("sensors")
    given: Dict[str, List[str]] = {"zones": [], "clocks": [], "gpus": []}
    for name, into in given.items():
        patterns = sensors.get(name) if isinstance(sensors, dict) else None
        into += [str(each) for each in patterns[:32]] if isinstance(patterns, list) else []
    cards: List[Any] = []
    if given["gpus"]:
        from ..host import nvml  # where there is such a card alone

        cards = list(nvml.gpus(given["gpus"]))
    return Telemetry(root, given["zones"], given["clocks"], cards)
