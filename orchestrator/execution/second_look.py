"""Two artifacts timed again on one board, interleaved, so that nothing but them differs.

Two runs lie days apart: a warmer room, another load or a newer kernel looks like a regression.
Here the board is held once and both are timed in rounds, in the order AB BA AB ..., so that drift
falls on both alike.
"""

from __future__ import annotations

import getpass
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.times import RawTimes
from orchestrator.fleet.boards.addressing import address_of
from orchestrator.fleet.boards.board import BoardLink
from orchestrator.fleet.emulated.boards import EmulatedFleet
from orchestrator.specs.inventory import Board
from orchestrator.stages.deployable import FILE, deployable
from orchestrator.store.artifacts import Held
from orchestrator.store.contention_lock import working_in

ROUNDS = 6
IMAGES = 4
_LEAST_S = 0.5


@dataclass(frozen=True)
class Kept:
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
    """Device times of the second look, milliseconds in order, float64 (n,) each."""

    first_ms: NDArray[np.float64]
    second_ms: NDArray[np.float64]


def measure_again(
    board: Board,
    first: Kept,
    second: Kept,
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
    asked = {key: value for key, value in policy.items() if key != "rounds"}
    asked["min_duration_s"] = max(_LEAST_S, policy["min_duration_s"] / rounds)
    asked["min_count"] = max(10, -(-int(policy["min_count"]) // rounds))
    asked |= {"blocks": 1, "pause_s": 0.0}
    emulated = EmulatedFleet(state / "emulated")
    owner = f"{getpass.getuser()}@{socket.gethostname()} gate pid {os.getpid()}"
    try:
        link = BoardLink(address_of(board, owner=owner, state=state, emulated=emulated))
        try:
            say(f"{board.name}: connecting")
            link.connect()
            return _rounds(link, board, (first, second), asked, say, rounds)
        finally:
            link.close()
    finally:
        emulated.close()


def _rounds(
    link: BoardLink,
    board: Board,
    both: tuple[Kept, Kept],
    policy: Mapping[str, Any],
    say: Callable[[str], None],
    rounds: int,
) -> Again:
    artifacts = []
    for kept in both:
        artifact = deployable(kept.held, board, kept.runtime, kept.input_meta)
        link.deploy(artifact, kept.held.read(FILE))
        artifacts.append(artifact)
    times: tuple[list[Any], list[Any]] = ([], [])
    with working_in(
        board.contention_domain,
        alone=True,
        stop=threading.Event(),
        waiting=lambda: say(f"{board.name}: waiting for another run to end there"),
    ):
        for number in range(rounds):
            say(f"{board.name}: round {number + 1} of {rounds}")
            for which in (0, 1) if number % 2 == 0 else (1, 0):
                link.open(artifacts[which])
                for news in link.measure(_images(both[which].input_meta), policy):
                    if isinstance(news, RawTimes):
                        times[which].append(news.device_ns)
    first, second = (np.concatenate(parts).astype(np.float64) / 1e6 for parts in times)
    return Again(first, second)


def _images(input_meta: Mapping[str, Any]) -> NDArray[np.uint8]:
    # What a convolution takes does not depend on the pixels.
    shape = (IMAGES, int(input_meta["height"]), int(input_meta["width"]), 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)
