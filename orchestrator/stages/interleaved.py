"""Encoders of one board, interleaved: A B B A A B, so that what changes the board meets all.

The measure stage does this with all encoders of a board, the gate's second look with its two.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from orchestrator.agents.measurement.cooling import TOO_LATE
from orchestrator.cluster.interfaces import BoardMessage
from orchestrator.data.times import RawTimes
from orchestrator.errors import BoardError, ToolchainError, UserError
from orchestrator.fleet.session.types import MeasureFacts, SensorSample
from orchestrator.stages.conditions import Conditions, mapping, number
from orchestrator.stages.work import About


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
    samples: list[Mapping[str, Any]] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)
    began: float = 0.0

    def take(self, message: BoardMessage) -> None:
        """Keep what belongs to the measurement of what a board says."""
        match message:
            case RawTimes():
                if not self.parts and len(message.block):
                    # The board sends times as soon as the last of them is over.
                    spent_ns = message.begin_ns[-1] + message.end_to_end_ns[-1]
                    self.began = time.monotonic() - float(spent_ns) / 1e9
                self.parts.append(message)
            case SensorSample() if message.within:
                self.samples.append(message.values)
            case MeasureFacts():
                self.facts = asdict(message)


@dataclass(eq=False)
class Series:
    """All rounds of one encoder.

    Attributes:
        measure: begins a round on the board; see `BoardCalls.measure`.
        optional: whether the others go on without it when the board refuses it.
        about: what the board said of the artifact.
    """

    measure: Callable[[], Iterator[BoardMessage]]
    optional: bool = False
    rounds: list[Round] = field(default_factory=list)
    about: About = field(default_factory=About)


def take_turns(
    series: Sequence[Series], rounds: int, received: Callable[[Series, BoardMessage], None]
) -> list[Series]:
    """Measure interleaved; every other round goes backwards, so that drift meets all alike.

    Args:
        rounds: of each encoder.
        received: told all that the board says.

    Returns:
        Those that were measured in every round.

    Raises:
        FarmError: the board is lost, or refuses an encoder that is not optional.
    """
    left = list(series)
    for turn_number in range(rounds):
        for each in list(left) if turn_number % 2 == 0 else left[::-1]:
            turn = Round()
            try:
                for message in each.measure():
                    turn.take(message)
                    received(each, message)
            except (UserError, ToolchainError, BoardError):
                if not each.optional:
                    raise
                left.remove(each)  # its own step will say so
            else:
                each.rounds.append(turn)
    return left


def merged(rounds: Iterable[Round]) -> tuple[RawTimes, Conditions]:
    """Rounds as one measurement: blocks numbered on, seconds since the very first block began."""
    measured = [each for each in rounds if each.parts]
    times, samples, blocks = [], [], 0
    for each in measured:
        later = max(0.0, each.began - measured[0].began)
        raw = RawTimes.joined(each.parts)
        times.append(raw.later(int(later * 1e9), blocks))
        for sample in each.samples:
            moved = {"at_s": number(sample.get("at_s")) + later}
            block = int(number(sample.get("block"))) + blocks
            samples.append({**sample, **moved, "block": block})
        blocks += int(raw.block.max()) + 1
    return RawTimes.joined(times), Conditions(samples, _facts([each.facts for each in measured]))


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
