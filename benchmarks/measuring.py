"""Is the agent's time the runtime's own? Its device p50 over that of a bare onnxruntime loop.

Both run the default model on one thread of this computer, in turns, so that whatever slows one
slows the other; the bare loop has nothing around it: no agent, no sensors, no preprocessing. A
ratio of 1 means that measuring changes nothing. Beside it, what a sample of the sensors of a large
board (64 zones, 64 processors) costs; it is taken between inferences and is in no time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from orchestrator.agents.measurement.telemetry import Telemetry
from orchestrator.data.times import RawTimes
from orchestrator.fleet.session.client import MeasurePolicy
from tests.agents.conftest import FACE, MODEL, faces, open_onnx
from tests.agents.pipes import agent, session

WANTED = 0.03


def bare_session() -> Any:
    """onnxruntime as the agent sets it up, and nothing else."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for name in ("session.intra_op.allow_spinning", "session.inter_op.allow_spinning"):
        options.add_session_config_entry(name, "0")
    return onnxruntime.InferenceSession(str(MODEL), options, ["CPUExecutionProvider"])


def bare_ms(run: Any, data: Any, count: int) -> float:
    """p50 of single inferences."""
    times = []
    for _ in range(count):
        begin = time.perf_counter_ns()
        run(None, {"data": data})
        times.append(time.perf_counter_ns() - begin)
    return float(np.median(times)) / 1e6


def agents_ms(made: Any, policy: MeasurePolicy) -> float:
    """p50 of device times, as a run gets them."""
    items = made.measure(faces(4, FACE), policy, timeout_s=60)
    blocks = [item.device_ns for item in items if isinstance(item, RawTimes)]
    return float(np.median(np.concatenate(blocks))) / 1e6


def sample_ms(folder: Path) -> float:
    """A sample of a board with many sensors."""
    for number in range(64):
        for path, text in (
            (f"sys/class/thermal/thermal_zone{number}/temp", "51000"),
            (f"sys/class/thermal/thermal_zone{number}/type", f"zone{number}"),
            (f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq", "1800000"),
            (f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_max_freq", "1800000"),
            (f"sys/devices/system/cpu/cpu{number}/cpufreq/scaling_governor", "schedutil"),
        ):
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
    sensors = Telemetry(str(folder))
    times = []
    for _ in range(20):
        begin = time.perf_counter_ns()
        sensors.sample()
        times.append(time.perf_counter_ns() - begin)
    return float(np.median(times)) / 1e6


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="benchmarks measuring", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    run = bare_session().run
    data = np.ascontiguousarray(
        ((faces(1, FACE).astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
    )
    policy = MeasurePolicy(20, 0.5, 100, 10.0, blocks=2, pause_s=0.05)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with agent(folder, python=sys.executable) as channel, session(channel) as made:
            made.hello()
            open_onnx(made)
            bare_ms(run, data, 50)
            pairs = [(agents_ms(made, policy), bare_ms(run, data, 150)) for _ in range(rounds)]
        cost = sample_ms(folder / "root")
    ratios = np.array([agents / bare for agents, bare in pairs])
    ratio = float(np.median(ratios))
    verdict = "ok" if abs(ratio - 1) <= WANTED else "TOO FAR"
    low, high = np.percentile(ratios, [25, 75])
    print(
        f"device p50 by the agent over a bare loop: {ratio:.3f} (middle half of {rounds} rounds "
        f"{low:.3f} to {high:.3f}; wanted within {WANTED:.0%}: {verdict}); "
        f"{np.median([bare for _, bare in pairs]):.2f} ms bare"
    )
    print(f"a sample of the sensors of a large board: {cost:.2f} ms a second, between inferences")


if __name__ == "__main__":
    main()
