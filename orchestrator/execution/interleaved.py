"""Encoders of one board measured in turns: A B A B, so that what changes the board meets both.

Pure but for the clock: how a policy is divided into rounds, and how rounds become one measurement.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from orchestrator.agents.measurement.cooling import TOO_LATE
from orchestrator.cluster import host_actor
from orchestrator.planning.graph import Step
from orchestrator.stages.raw_times import Conditions, RawTimes, mapping, number


def share(policy: Mapping[str, Any]) -> dict[str, Any]:
    """What one round has to reach, so that all of them together reach the policy's minima."""
    rounds = policy["rounds"]
    part = {name: value for name, value in policy.items() if name != "rounds"}
    return part | {
        "min_duration_s": policy["min_duration_s"] / rounds,
        "max_duration_s": policy["max_duration_s"] / rounds,
        "min_count": math.ceil(policy["min_count"] / rounds),
        "blocks": math.ceil(policy["blocks"] / rounds),
    }


@dataclass
class Round:
    """One encoder's turn. `began` is when its first block did, on the head's monotonic clock."""

    parts: list[RawTimes] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)
    began: float = 0.0

    def times(self, news: host_actor.Times) -> None:
        """Take times in as they come."""
        block = np.full(len(news.device_ns), news.block, np.int64)
        part = RawTimes(news.device_ns, news.end_to_end_ns, news.pre_ns, news.begin_ns, block)
        if not self.parts and len(block):
            # The board sends times as soon as the last of them is over.
            self.began = time.monotonic() - float(part.begin_ns[-1] + part.end_to_end_ns[-1]) / 1e9
        self.parts.append(part)


@dataclass
class Series:
    """All rounds of one encoder."""

    step: Step
    key: str
    rounds: list[Round] = field(default_factory=list)
    about: dict[str, Any] = field(default_factory=dict)


def merged(rounds: Iterable[Round]) -> tuple[RawTimes, Conditions]:
    """Rounds as one measurement: blocks numbered on, seconds since the very first block began."""
    kept = [each for each in rounds if each.parts]
    times, samples, blocks = [], [], 0
    for each in kept:
        later = max(0.0, each.began - kept[0].began)
        raw = RawTimes.joined(each.parts)
        shifted = raw.begin_ns + np.int64(later * 1e9)
        times.append(
            RawTimes(raw.device_ns, raw.end_to_end_ns, raw.pre_ns, shifted, raw.block + blocks)
        )
        for sample in each.samples:
            moved = {"at_s": number(sample.get("at_s")) + later}
            samples.append(sample | moved | {"block": int(number(sample.get("block"))) + blocks})
        blocks += int(raw.block.max()) + 1
    return RawTimes.joined(times), Conditions(samples, _facts([each.facts for each in kept]))


def _facts(rounds: list[Mapping[str, Any]]) -> dict[str, Any]:
    if len(rounds) == 1:
        return dict(rounds[0])
    first, last = rounds[0], rounds[-1]
    unsettled = [facts for facts in rounds if not facts.get("stable", True)]
    cooling = [mapping(facts.get("cooling")) for facts in rounds]
    cpu = [mapping(facts.get("cpu")) for facts in rounds]
    total = {
        name: sum(number(each.get(name)) for each in cpu)
        for name in ("elapsed_s", "own_s", "busy_s")
        if all(name in each for each in cpu)
    }
    return {
        **last,
        "before": first.get("before", {}),
        "transfer": first.get("transfer", {}),
        "stable": not unsettled,
        "warm_up": (unsettled or [last])[0].get("warm_up", 0),
        "cooling": next((each for each in cooling if each.get("ended") == TOO_LATE), cooling[-1]),
        "cpu": total | {"cores": cpu[-1].get("cores", 0)},
        "rounds": len(rounds),
    }
