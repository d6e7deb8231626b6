"""What a measurement on a board brings: blocks, parts of the time, sensors beside it."""

import pytest

from orchestrator.agents.measurement.cooling import COOL, SETTLED, TOO_LATE, UNKNOWN, Cooling
from orchestrator.data.times import RawTimes
from orchestrator.fleet.session.client import MeasurePolicy, SensorSample
from orchestrator.stages.conditions import Conditions
from orchestrator.stages.judging import judge

from .conftest import SIZE, faces, open_timed
from .pipes import agent, session
from .test_board_files import write

POLICY = MeasurePolicy(3, 0.3, 40, 10.0, blocks=4, pause_s=0.05)


def measured(made, policy=POLICY):
    """A measurement as the stage gets it."""
    items = list(made.measure(faces(3), policy, timeout_s=30))
    blocks = [item for item in items if isinstance(item, RawTimes)]
    samples = [item.values for item in items if isinstance(item, SensorSample)]
    facts = vars(made.measurement)
    return RawTimes.joined(blocks), Conditions([s for s in samples if "at_s" in s], facts)


@pytest.fixture
def root(tmp_path):
    """A board that keeps its temperature."""
    root = tmp_path / "root"
    write(root, "sys/class/thermal/thermal_zone0/temp", "45000")
    write(root, "sys/class/thermal/thermal_zone0/type", "soc-thermal")
    write(root, "sys/class/thermal/cooling_device0/type", "thermal-cpufreq-0")
    write(root, "sys/class/thermal/cooling_device0/cur_state", "0")
    write(root, "sys/module/galcore/version", "6.4.8")
    return root


@pytest.fixture
def board(tmp_path, root):
    workdir = tmp_path / "farm"
    workdir.mkdir()
    with agent(workdir, extra=f"--root {root}") as channel, session(channel) as made:
        made.hello()
        yield made


def test_blocks_with_pauses_and_the_parts_of_each_time(board, artifact):
    open_timed(board, artifact, ms=4, dim=4)
    raw, seen = measured(board)
    assert [len(part) >= 10 for part in raw.blocks] == [True] * 4
    assert len(raw.device_ns) >= 40
    assert raw.seconds >= 0.9 * 0.3
    assert (raw.device_ns >= 4_000_000).all()
    assert (raw.pre_ns > 0).all()
    assert (raw.pre_ns + raw.device_ns <= raw.end_to_end_ns).all()
    ends = raw.begin_ns + raw.end_to_end_ns
    assert raw.begin_ns[0] < 2_000_000_000
    assert (raw.begin_ns[1:] >= ends[:-1] - 1000).all()
    for before, after in zip(raw.blocks, raw.blocks[1:], strict=False):
        assert raw.begin_ns[after[0]] - ends[before[-1]] >= 50_000_000
    assert seen.facts["transfer"]["images"] == 3
    assert seen.facts["transfer"]["bytes"] == 3 * SIZE * SIZE * 3
    assert seen.facts["transfer"]["seconds"] >= 0
    assert seen.facts["drivers"] == {"galcore": "6.4.8"}
    assert 0 < seen.facts["cpu"]["own_s"] < seen.facts["cpu"]["elapsed_s"] * 2
    # One sample at each end of a block at least.
    at = [sample["at_s"] for sample in seen.samples]
    assert len(at) >= 8
    assert at == sorted(at)
    assert sum("yardstick_ms" in sample for sample in seen.samples) == 4
    assert {sample["block"] for sample in seen.samples} == {0, 1, 2, 3}
    assert all(sample["temperature_c"] == 45.0 for sample in seen.samples)


def words(made, root=None):
    raw, seen = measured(made)
    policy = {"min_count": POLICY.min_count, "min_duration_s": POLICY.min_duration_s}
    return [reason.partition(":")[0] for reason in judge(raw, seen, policy, "board")[1]]


def test_a_board_that_throttles_meanwhile_is_suspect(board, root, artifact):
    open_timed(board, artifact, ms=4, dim=4)
    assert "throttled" not in words(board)
    write(root, "sys/class/thermal/cooling_device0/cur_state", "2")
    assert "throttled" in words(board)


def test_a_noisy_runtime_is_suspect(board, artifact):
    open_timed(board, artifact, ms=2, jitter_ms=6, dim=4)
    assert "too noisy" in words(board)


def cooled(below_c, temperatures, deadline_s=300.0):
    """How the wait ends, and after which of temperatures a second apart."""
    wait = Cooling(below_c, deadline_s)
    for second, value in enumerate(temperatures):
        ended = wait.ended(float(second), value)
        if ended:
            return ended, second
    return "", len(temperatures)


def test_cooling_ends_by_temperature():
    assert cooled(55, [61, 59, 57, 55, 54.9, 50]) == (COOL, 4)
    assert cooled(55, [54]) == (COOL, 0)
    assert cooled(55, [None]) == (UNKNOWN, 0)
    # It falls a degree in ten seconds, then no more.
    falling = [70 - second / 10 for second in range(60)]
    assert cooled(55, falling) == ("", 60)
    assert cooled(55, [*falling, *[64.0] * 60]) == (SETTLED, 76)
    assert cooled(55, falling, deadline_s=30) == (TOO_LATE, 30)
