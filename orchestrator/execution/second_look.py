"""Two artifacts timed again on one board, interleaved, so that nothing but them differs.

Two runs lie days apart: a warmer room, another load or a newer kernel looks like a regression.
Here the board is held once, and both are measured and judged as the measure stage does it.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.cluster.host_actor import HostActor
from orchestrator.cluster.interfaces import BoardMessage, ImageFile
from orchestrator.data.times import RawTimes
from orchestrator.fleet.boards.addressing import address_of, me
from orchestrator.fleet.emulated.boards import EmulatedFleet
from orchestrator.planning.facts import board_facts
from orchestrator.results import Verdict
from orchestrator.specs.inventory import Board
from orchestrator.specs.kinds import load_kinds
from orchestrator.stages.deployable import FILE, deployable
from orchestrator.stages.interleaved import Series, merged, share, take_turns
from orchestrator.stages.latency import pack
from orchestrator.stages.measure import judged
from orchestrator.store.artifacts import Held
from orchestrator.store.contention_lock import working_in

ROUNDS = 6
IMAGES = 4
_LEAST_S = 0.5
_LEAST_COUNT = 10


@dataclass(frozen=True)
class StoredArtifact:
    """An artifact of the store, with what the board needs to know to run it.

    Attributes:
        held: what `convert` made.
        runtime: the board's runtime for it.
        input_meta: the model manifest's `input`.
    """

    held: Held
    runtime: str
    input_meta: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Again:
    """The second look.

    Attributes:
        first, second: raw times of both artifacts.
        doubts: why a verdict on them is not VALID; empty when both are.
    """

    first: RawTimes
    second: RawTimes
    doubts: tuple[str, ...]


def measure_again(
    board: Board,
    first: StoredArtifact,
    second: StoredArtifact,
    policy: Mapping[str, Any],
    state: Path,
    say: Callable[[str], None] = lambda text: None,
    rounds: int = ROUNDS,
) -> Again:
    """Time two artifacts on a board, interleaved.

    Args:
        policy: the measurement policy; its minima are shared out over the rounds.
        state: farm's own folder.
        say: told what goes on.

    Raises:
        FarmError: the board is not reached, is in use, or fails.
    """
    asked = dict(policy) | {
        "rounds": rounds,
        "blocks": rounds,
        "pause_s": 0.0,
        "min_duration_s": max(rounds * _LEAST_S, policy["min_duration_s"]),
        "min_count": max(rounds * _LEAST_COUNT, int(policy["min_count"])),
        "max_duration_s": rounds * policy["max_duration_s"],
    }
    emulated, host = EmulatedFleet(state / "emulated"), HostActor()
    try:
        say(f"{board.name}: connecting")
        address = address_of(board, owner=me("gate"), state=state, emulated=emulated)
        facts = board_facts(host.connect(address, board))
        with (
            tempfile.TemporaryDirectory(prefix="farm-") as folder,
            working_in(
                board.contention_domain,
                alone=True,
                stop=threading.Event(),
                waiting=lambda: say(f"{board.name}: waiting for another run to end there"),
            ),
        ):
            both = [
                _series(host, board, artifact, asked, Path(folder)) for artifact in (first, second)
            ]
            take_turns(both, rounds, _ProgressShown(board.name, rounds, say))
        times: list[RawTimes] = []
        doubts: list[str] = []
        for series in both:
            raw, conditions = merged(series.rounds)
            kind = board.kind
            packed = pack(raw, judged(conditions, kind, facts), asked, board.executed_by, {})
            times.append(raw)
            doubts += [] if packed.facts["verdict"] == Verdict.VALID else packed.facts["reasons"]
        return Again(times[0], times[1], tuple(dict.fromkeys(doubts)))
    finally:
        host.close()
        emulated.close()


def _series(
    host: HostActor, board: Board, stored: StoredArtifact, policy: Mapping[str, Any], folder: Path
) -> Series:
    """An artifact, deployed and ready to be measured."""
    artifact = deployable(stored.held, board, stored.runtime, stored.input_meta)
    for _ in host.deploy(board.name, artifact, stored.held.read(FILE)):
        pass
    # What a convolution takes does not depend on the pixels.
    shape = (IMAGES, int(stored.input_meta["height"]), int(stored.input_meta["width"]), 3)
    path = folder / f"{artifact.name}.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    images = ImageFile(str(path), ((0, IMAGES),))
    sensors = load_kinds()[board.kind].sensors.model_dump(mode="json")

    def measure() -> Iterator[BoardMessage]:
        return host.measure(board.name, artifact, images, share(policy), sensors)

    return Series(measure)


class _ProgressShown:
    """Says each round once."""

    def __init__(self, board: str, rounds: int, say: Callable[[str], None]) -> None:
        self._board, self._rounds, self._say, self._said = board, rounds, say, 0

    def __call__(self, series: Series, message: BoardMessage) -> None:
        under_way = len(series.rounds) + 1
        if under_way > self._said:
            self._said = under_way
            self._say(f"{self._board}: round {under_way} of {self._rounds}")
