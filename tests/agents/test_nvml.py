"""NVIDIA's cards through NVML, against a library compiled from the documented declarations."""

import subprocess
from pathlib import Path

import pytest

from orchestrator.agents.host.nvml import gpus
from orchestrator.agents.measurement.telemetry import Telemetry
from orchestrator.stages.conditions import Conditions, pace_mhz
from orchestrator.stages.judging import throttled

SHIM = Path(__file__).parent / "shims" / "nvml_shim.c"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    command = ["gcc", "-std=c11", "-Wall", "-Werror", "-shared", "-fPIC", "-o", path, SHIM]
    subprocess.run(command, check=True)
    return str(path)


@pytest.mark.needs("gcc")
def test_a_hot_card_is_told_of_and_throttled(library, tmp_path):
    sample = Telemetry(str(tmp_path), ["gpu0"], (), gpus(["0", "1"], library)).sample()
    assert sample == {
        "temperatures_c": {"gpu0": 84.0},
        "temperature_c": 84.0,
        "clocks_mhz": {"gpu0": 1380.0},
        "cooling_devices": 1,
        "throttling": {"gpu0: power cap": 1, "gpu0: hardware thermal slowdown": 1},
        "power_w": {"gpu0": 249.5},
    }
    assert pace_mhz(sample) == 1380.0
    reason = throttled(Conditions([sample | {"at_s": 0.0}]))
    assert reason == (
        "throttled: gpu0: power cap at step 1, gpu0: hardware thermal slowdown at step 1"
    )


def test_without_the_library_there_is_no_card():
    assert gpus(["0", "x"], "libnothing-of-that-name.so") == []
