"""The verdict on a measurement: VALID, or SUSPECT with every reason that it gives for doubt.

Pure. Each check is a function of the raw times, the sensors beside them and the policy that gives
a reason, `word: what was seen`, or None. A board without a sensor gives no reason by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from orchestrator.agents.measurement.cooling import SETTLED, TOO_LATE, UNKNOWN
from orchestrator.columns.texts import milliseconds
from orchestrator.data.times import RawTimes
from orchestrator.results import YARDSTICK, Verdict
from orchestrator.stages.conditions import Conditions, mapping, number

NOISY = 0.10  # median absolute deviation over the median
DRIFTING = 0.10  # from the fastest block's median to the slowest one's, over the median of all
DEVICE_FLOOR_NS = 20_000  # spreads below this are the clock's and the scheduler's
CHANCE = 4.0  # standard errors by which medians of noisy blocks may differ
CLOCKS = 0.05  # how far a clock may fall below its highest
OTHER_LOAD = 0.25  # processors busy with something else, on average
HEATING_C = 3.0  # rise within the second half of the time
WARM_UP = 20  # inferences by which a pace can be told; fewer are what the policy wants
MIN_BLOCK = 5  # inferences that make a block's median say something


def judge(
    times: RawTimes, conditions: Conditions, policy: Mapping[str, Any], executed_by: str
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and its reasons.

    Args:
        times, conditions: what was measured.
        policy: the measurement policy that was asked for.
        executed_by: what ran the inferences; only a board's times are judged.
    """
    if conditions.emulator:
        return Verdict.EMULATED, (f"times are an emulator's: {conditions.emulator}",)
    if executed_by != "board":
        return Verdict.EMULATED, ("times are this host's, not the board's",)
    found = (
        conditions.stranger or None,
        perhaps_emulated(conditions),
        throttled(conditions),
        clocks_moved(conditions),
        too_noisy(times),
        drifting(times),
        too_short(times, policy),
        unsettled(conditions),
        other_load(conditions),
        heating(conditions),
        not_cool(conditions),
    )
    reasons = tuple(reason for reason in found if reason is not None)
    return (Verdict.SUSPECT if reasons else Verdict.VALID), reasons


def perhaps_emulated(conditions: Conditions) -> str | None:
    """A virtual machine that does not tell whether a processor or software executes it."""
    if not conditions.perhaps:
        return None
    return f"perhaps emulated: {conditions.perhaps}, and nothing tells what executes it"


def too_short(times: RawTimes, policy: Mapping[str, Any]) -> str | None:
    """Fewer inferences or seconds than the policy's minima."""
    count = len(times.device_ns)
    if count < policy["min_count"]:
        return f"too short: {count} inferences of {policy['min_count']}"
    if times.seconds < 0.9 * policy["min_duration_s"]:
        return f"too short: {times.seconds:.1f} s of {policy['min_duration_s']:.1f} s"
    return None


def too_noisy(times: RawTimes) -> str | None:
    """Single inferences spread so far that their median says little."""
    middle = float(np.median(times.device_ns))
    spread = float(np.median(np.abs(times.device_ns - middle)))
    if spread > max(NOISY * middle, DEVICE_FLOOR_NS):
        return f"too noisy: the median absolute deviation is {spread / middle:.0%} of the median"
    return None


def drifting(times: RawTimes) -> str | None:
    """Blocks, or the halves of a single block, of different pace."""
    parts = [part for part in times.blocks if len(part) >= MIN_BLOCK]
    word = f"{len(parts)} blocks"
    if len(parts) < 2:
        word = "both halves"
        parts = np.array_split(np.arange(len(times.device_ns)), 2)
        if len(parts[0]) < MIN_BLOCK:
            return None
    medians = [float(np.median(times.device_ns[part])) for part in parts]
    low, high = min(medians), max(medians)
    allowed = max(DRIFTING * float(np.median(times.device_ns)), DEVICE_FLOOR_NS)
    if high - low <= max(allowed, CHANCE * _standard_error(times, parts, medians)):
        return None
    return f"drifting: medians of {word} from {_ms(low / 1e6)} to {_ms(high / 1e6)}"


def _ms(value: float) -> str:
    return milliseconds(value, 2)  # the difference between two of them is the message


def _standard_error(times: RawTimes, parts: list[Any], medians: list[float]) -> float:
    """Of a block's median, for normal noise of the spread that is seen within blocks."""
    within = np.concatenate(
        [
            np.abs(times.device_ns[part] - middle)
            for part, middle in zip(parts, medians, strict=True)
        ]
    )
    sigma = 1.4826 * float(np.median(within))
    return sigma * float(np.sqrt(np.pi / 2 / min(len(part) for part in parts)))


def throttled(conditions: Conditions) -> str | None:
    """A cooling device at work, a limit that fell, or a counter of such events that rose."""
    said = []
    for name, steps in conditions.each("throttling").items():
        said.append(f"{name} at step {max(steps):.0f}")
    for name, limits in conditions.each("limits_mhz").items():
        if min(limits) < max(limits):
            said.append(f"{name} limited to {min(limits):.0f} of {max(limits):.0f} MHz")
    for name, counts in conditions.each("throttle_events").items():
        if counts[-1] > counts[0]:
            said.append(f"{name} rose by {counts[-1] - counts[0]:.0f}")
    return f"throttled: {_few(said)}" if said else None


def clocks_moved(conditions: Conditions) -> str | None:
    """A clock that did not stay: the fastest processor's, an accelerator's, or the yardstick's."""
    series = {
        name: values
        for name, values in conditions.each("clocks_mhz").items()
        if not _is_processor(name)
    }
    # Single processors idle and wake; the one that works is the fastest.
    fastest = [value for _, value in conditions.series("clock_mhz")]
    if fastest:
        series["processor"] = fastest
    said = [
        f"{name} {min(values):.0f} to {max(values):.0f} MHz"
        for name, values in series.items()
        if max(values) - min(values) > CLOCKS * max(values)
    ]
    pace = [value for _, value in conditions.series("yardstick_ms")]
    if len(pace) > 1 and max(pace) - min(pace) > YARDSTICK * min(pace):
        said.append(f"the same piece of work took {_ms(min(pace))} to {_ms(max(pace))}")
    return f"clocks moved: {_few(said)}" if said else None


def _is_processor(name: str) -> bool:
    return name.startswith("cpu") and name[3:].isdigit()


def other_load(conditions: Conditions) -> str | None:
    """Processor time that was not the agent's own; a hypervisor's counts as such."""
    cpu = mapping(conditions.facts.get("cpu"))
    elapsed = number(cpu.get("elapsed_s"))
    if elapsed <= 0 or "busy_s" not in cpu:
        return None
    others = (number(cpu["busy_s"]) - number(cpu.get("own_s"))) / elapsed
    if others <= OTHER_LOAD:
        return None
    return f"other load: other processes used {others:.1f} of {number(cpu.get('cores')):.0f} cores"


def heating(conditions: Conditions) -> str | None:
    """A temperature that still rises strongly: the pace may not be one that lasts."""
    series = conditions.series("temperature_c")
    if len(series) < 2:
        return None
    half = series[0][0] + (series[-1][0] - series[0][0]) / 2
    middle = next(value for at, value in series if at >= half)
    last = series[-1][1]
    if last - middle < HEATING_C:
        return None
    return f"heating: from {series[0][1]:.0f} to {last:.0f} °C, still rising at the end"


def unsettled(conditions: Conditions) -> str | None:
    """A warm-up that found no steady pace."""
    facts = conditions.facts
    if facts.get("stable", True) or number(facts.get("warm_up")) < WARM_UP:
        return None
    return f"unsettled: {number(facts.get('warm_up')):.0f} inferences found no steady pace"


def not_cool(conditions: Conditions) -> str | None:
    """The wait for a cool board ended by its deadline."""
    cooling = mapping(conditions.facts.get("cooling"))
    if cooling.get("ended") != TOO_LATE:
        return None
    return (
        f"not cool: {number(cooling.get('to_c')):.0f} °C after "
        f"{number(cooling.get('waited_s')):.0f} s, asked for below "
        f"{number(cooling.get('below_c')):.0f} °C"
    )


def notes(conditions: Conditions) -> tuple[str, ...]:
    """What is no reason for doubt but must be known to compare the time with another."""
    said = []
    if conditions.emulator:
        said.append(f"an emulator executed it, no board, so it has no Time: {conditions.emulator}")
    highest = conditions.each("highest_mhz")
    for name, limits in conditions.each("limits_mhz").items():
        if name in highest and min(limits) == max(limits):
            said.append(
                f"{name} may run at {limits[0]:.0f} of {highest[name][0]:.0f} MHz (its power mode)"
            )
    cooling = mapping(conditions.facts.get("cooling"))
    if cooling.get("ended") == SETTLED:
        said.append(
            f"measured at {number(cooling.get('to_c')):.0f} °C, where the board stopped cooling; "
            f"asked for below {number(cooling.get('below_c')):.0f} °C"
        )
    elif cooling.get("ended") == UNKNOWN:
        said.append("it was not waited for a cool board: this one tells no temperature")
    return tuple(said)


def unseen(conditions: Conditions) -> tuple[str, ...]:
    """What the board does not tell, so that the verdict says nothing of it."""
    throttling = ("cooling_devices", "limits_mhz", "throttle_events")
    checks = {
        "temperature": bool(conditions.series("temperature_c")),
        "clocks": bool(conditions.each("clocks_mhz")),
        "throttling": any(name in sample for sample in conditions.samples for name in throttling),
        "other load": "busy_s" in mapping(conditions.facts.get("cpu")),
        "power": any(conditions.each(name) for name in ("power_w", "energy_j")),
    }
    return (*(name for name, seen in checks.items() if not seen), *conditions.untold)


def _few(said: list[str], most: int = 3) -> str:
    more = f" and {len(said) - most} more" if len(said) > most else ""
    return ", ".join(said[:most]) + more
