"""The verdict: what gives a reason for doubt, what does not, and that reasons stand together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.data.times import RawTimes
from orchestrator.planning import identity
from orchestrator.planning.evidence import Evidence
from orchestrator.specs.kinds import load_kinds
from orchestrator.stages.conditions import Conditions, pace_mhz
from orchestrator.stages.judging import judge, notes, unseen
from orchestrator.stages.latency import pack

POLICY = {"min_count": 100, "min_duration_s": 1.0}
STEADY = np.full(200, 10_000_000)


def times(device_ns: Any = STEADY, blocks: int = 5) -> RawTimes:
    device = np.asarray(device_ns, np.int64)
    whole = device + 500_000
    block = np.sort(np.arange(len(device)) % blocks)
    begin = np.concatenate([[0], np.cumsum(whole)[:-1]])
    return RawTimes(
        begin_ns=begin,
        pre_ns=np.full(len(device), 300_000),
        device_ns=device,
        end_to_end_ns=whole,
        block=block,
    )


def samples(*changes: dict[str, Any]) -> list[dict[str, Any]]:
    """One sample a second of a calm board, each with its change."""
    calm = {
        "temperature_c": 50.0,
        "clocks_mhz": {"cpu0": 1800.0, "fdab0000.npu": 1000.0},
        "clock_mhz": 1800.0,
        "limits_mhz": {"cpu0": 1800.0},
        "cooling_devices": 1,
        "power_w": {"VDD_IN": 5.0},
    }
    return [calm | {"at_s": float(at), "block": at} | change for at, change in enumerate(changes)]


def reasons(
    device_ns: Any = STEADY,
    seen: list[dict[str, Any]] | None = None,
    policy: dict[str, Any] = POLICY,
    **facts: Any,
) -> list[str]:
    conditions = Conditions(samples({}, {}, {}) if seen is None else seen, facts)
    verdict, found = judge(times(device_ns), conditions, policy, "board")
    assert verdict == ("SUSPECT" if found else "VALID")
    return list(found)


def test_a_calm_board_is_valid() -> None:
    assert reasons() == []


def test_a_board_without_sensors_is_judged_by_its_times_and_says_what_is_unseen() -> None:
    assert reasons(seen=[]) == []
    assert unseen(Conditions()) == ("temperature", "clocks", "throttling", "other load", "power")
    assert unseen(Conditions(samples({}), {"cpu": {"busy_s": 1.0}})) == ()


def test_a_pc_that_the_inventory_calls_a_board_is_suspect() -> None:
    judged = identity.judge(load_kinds()["khadas-vim3"], Evidence("x86_64"))
    seen = Conditions(samples({}, {}, {}), {}, judged.stranger, judged.unseen)
    verdict, found = judge(times(STEADY), seen, POLICY, "board")
    assert verdict == "SUSPECT"
    why = "another board: its processor is x86_64, the A311D has aarch64 or armv8l"
    assert found == (why,)
    assert unseen(seen)[-3:] == ("device tree", "SoC", "accelerator driver")
    made = pack(times(STEADY), seen, POLICY, "board", {})
    assert made.facts["verdict"] == "SUSPECT"
    assert made.facts["timing_valid"] is False


def test_an_emulators_times_are_named_as_such() -> None:
    seen = Conditions(emulator="its device tree says linux,dummy-virt")
    verdict, reasons = judge(times(), seen, POLICY, "emulated")
    assert verdict == "EMULATED"
    assert reasons == ("times are an emulator's: its device tree says linux,dummy-virt",)
    assert notes(seen)[0].startswith("an emulator executed it, no board, so it has no Time: ")


def test_what_the_inventory_calls_a_board_is_an_emulator_all_the_same() -> None:
    seen = Conditions(emulator="CPUID calls its hypervisor TCGTCGTCGTCG")
    made = pack(times(STEADY), seen, POLICY, "board", {})
    assert (made.facts["verdict"], made.facts["timing_valid"]) == ("EMULATED", False)


def test_a_virtual_machine_that_tells_nothing_is_suspect() -> None:
    seen = Evidence("x86_64", firmware=("QEMU", "Standard PC (Q35 + ICH9, 2009)"))
    judged = identity.judge(load_kinds()["host-cpu"], seen)
    conditions = Conditions(samples({}, {}, {}), {}, perhaps=judged.perhaps)
    verdict, found = judge(times(STEADY), conditions, POLICY, "board")
    why = "perhaps emulated: its firmware says QEMU: a virtual machine, and nothing tells what"
    assert (verdict, found) == ("SUSPECT", (f"{why} executes it",))


def test_only_a_board_is_judged() -> None:
    assert judge(times(), Conditions(), POLICY, "emulated")[0] == "EMULATED"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([{}, {"throttling": {"thermal-cpufreq-0": 3}}], "thermal-cpufreq-0 at step 3"),
        ([{}, {"limits_mhz": {"cpu0": 1200.0}}, {}], "cpu0 limited to 1200 of 1800 MHz"),
        (
            [
                {"throttle_events": {"core_throttle_count": 7}},
                {"throttle_events": {"core_throttle_count": 9}},
            ],
            "core_throttle_count rose by 2",
        ),
    ],
)
def test_throttled(changes: list[dict[str, Any]], told: str) -> None:
    assert reasons(seen=samples(*changes)) == [f"throttled: {told}"]


def test_old_events_and_a_power_mode_are_no_throttling() -> None:
    still = {
        "throttle_events": {"core_throttle_count": 7},
        "limits_mhz": {"cpu0": 1400.0},
        "highest_mhz": {"cpu0": 1800.0},
    }
    seen = samples(still, still)
    assert reasons(seen=seen) == []
    assert notes(Conditions(seen)) == ("cpu0 may run at 1400 of 1800 MHz (its power mode)",)


def test_clocks_moved() -> None:
    slow = {"clocks_mhz": {"cpu0": 1800.0, "fdab0000.npu": 600.0}}
    assert reasons(seen=samples({}, slow)) == ["clocks moved: fdab0000.npu 600 to 1000 MHz"]
    assert reasons(seen=samples({}, {"clock_mhz": 1200.0})) == [
        "clocks moved: processor 1200 to 1800 MHz"
    ]


def test_a_yardstick_tells_of_a_clock_that_no_file_tells() -> None:
    bare = [{"at_s": float(at), "yardstick_ms": ms} for at, ms in enumerate((1.0, 1.05, 1.3))]
    assert reasons(seen=bare) == ["clocks moved: the same piece of work took 1.00 ms to 1.30 ms"]
    assert reasons(seen=bare[:2]) == []


def test_a_processor_that_idles_beside_the_one_at_work_is_no_movement() -> None:
    idle = {"clocks_mhz": {"cpu0": 400.0, "fdab0000.npu": 1000.0}}
    assert reasons(seen=samples({}, idle)) == []


def test_too_noisy() -> None:
    lot = np.random.default_rng(1).permutation(np.linspace(5e6, 15e6, 500))
    assert [each.partition(":")[0] for each in reasons(lot)] == ["too noisy"]


def test_the_clocks_own_grain_is_no_noise() -> None:
    lot = np.random.default_rng(1).permutation(np.linspace(5e3, 25e3, 500))
    assert reasons(lot, policy={"min_count": 1, "min_duration_s": 0}) == []


def test_drifting_between_blocks() -> None:
    slower = np.repeat([10e6, 10.2e6, 10.5e6, 11e6, 11.5e6], 40)
    told = reasons(slower)
    assert told == ["drifting: medians of 5 blocks from 10.00 ms to 11.50 ms"]


def test_too_short() -> None:
    assert reasons(STEADY[:60], policy={"min_count": 100, "min_duration_s": 0.1}) == [
        "too short: 60 inferences of 100"
    ]
    assert reasons(policy={"min_count": 100, "min_duration_s": 30.0}) == [
        "too short: 2.1 s of 30.0 s"
    ]


def test_other_load_is_what_the_agent_did_not_use() -> None:
    cpu = {"elapsed_s": 4.0, "own_s": 0.2, "busy_s": 4.0, "cores": 4}
    assert reasons(cpu=cpu) == ["other load: other processes used 0.9 of 4 cores"]
    assert reasons(cpu=cpu | {"own_s": 3.9}) == []


def test_heating_counts_when_it_goes_on_to_the_end() -> None:
    hot = [{"temperature_c": value} for value in (50.0, 53.0, 56.0, 59.0, 62.0)]
    assert reasons(seen=samples(*hot)) == ["heating: from 50 to 62 °C, still rising at the end"]
    even = [{"temperature_c": value} for value in (50.0, 58.0, 61.0, 61.5, 62.0)]
    assert reasons(seen=samples(*even)) == []


def test_unsettled_and_not_cool() -> None:
    cooling = {"ended": "too late", "to_c": 71.0, "waited_s": 300.0, "below_c": 55.0}
    assert reasons(stable=False, warm_up=200, cooling=cooling) == [
        "unsettled: 200 inferences found no steady pace",
        "not cool: 71 °C after 300 s, asked for below 55 °C",
    ]
    assert reasons(stable=False, warm_up=1) == []  # the policy wants no warm-up
    settled = Conditions((), {"cooling": cooling | {"ended": "settled"}})
    assert "where the board stopped cooling" in notes(settled)[0]


def test_the_pace_is_the_accelerators_where_it_is_told() -> None:
    assert pace_mhz({"clock_mhz": 1800.0, "clocks_mhz": {"fdab0000.npu": 900.0}}) == 900.0
    assert pace_mhz({"clock_mhz": 1800.0, "clocks_mhz": {"dmc": 900.0}}) == 1800.0
    assert pace_mhz({"clock_mhz": "fast", "clocks_mhz": {"gpu": None}}) is None


def test_reasons_stand_together() -> None:
    seen = samples({}, {"throttling": {"thermal-cpufreq-0": 2}, "clock_mhz": 900.0})
    words = [each.partition(":")[0] for each in reasons(STEADY[:20], seen)]
    assert words == ["throttled", "clocks moved", "too short"]


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
NAMES = ("at_s", "temperature_c", "clocks_mhz", "clock_mhz", "limits_mhz", "throttling", "power_w")


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 10**12), min_size=1, max_size=30),
    st.lists(st.dictionaries(st.sampled_from(NAMES), junk), max_size=4),
    st.dictionaries(st.sampled_from(["cpu", "cooling", "stable", "warm_up", "transfer"]), junk),
)
def test_whatever_a_board_tells_there_is_a_verdict(
    device: list[int], seen: list[dict[str, Any]], facts: dict[str, Any]
) -> None:
    conditions = Conditions(seen, facts)
    verdict, found = judge(times(device), conditions, POLICY, "board")
    assert (verdict == "VALID") == (not found)
    notes(conditions)
    unseen(conditions)
