"""The stages of a run as plan, scheduler and estimate know them: one line each.

What a stage does is in `orchestrator/stages/`, in the file of its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property


class Place(Enum):
    """Where a stage's work is done."""

    DRIVER = "the driver's process and its helpers"
    WORKER = "a Ray worker on the driver's node"
    BOARD = "a board"


@dataclass(frozen=True)
class StageFacts:
    """What is known of a stage before any of its steps runs.

    Attributes:
        name: as in keys, events and folders of the store.
        recipe: raised when the output may change although inputs and parameters are the same; it is
            part of every key.
        place: where it runs.
        seconds: of a step, and of one unit of it (an image, an inference), on a small computer;
            what is seen replaces it.
        stored: whether the store keeps the output; a deployed file lies on its board.
        alone: whether it has its contention domain for itself.
        yields: whether it does not start while a measurement waits in its domain.
        shared: whether several boards of a pool may divide one step.
        all_processors: whether it works in as many processes as the head has processors.
        resumes: whether it goes on from what an earlier attempt has kept.
        measures_time: whether it takes as long as its policy says, however much of it is done.
    """

    name: str
    recipe: int
    place: Place
    seconds: tuple[float, float]
    stored: bool = True
    alone: bool = False
    yields: bool = False
    shared: bool = False
    all_processors: bool = False
    resumes: bool = False
    measures_time: bool = False

    @cached_property
    def on_board(self) -> bool:
        """Whether a board does it."""
        return self.place is Place.BOARD

    @cached_property
    def executes(self) -> bool:
        """Whether it executes an encoder on a board, on any of the pool's."""
        return self.on_board and self.stored

    @cached_property
    def prepares_board(self) -> bool:
        """Whether its output lies on one board and is lost with it."""
        return self.on_board and not self.stored

    @cached_property
    def shares_processors(self) -> bool:
        """Whether it executes an encoder while others execute theirs beside it."""
        return self.executes and not self.alone

    @cached_property
    def takes_turns(self) -> bool:
        """Whether one step at a time runs: each uses all of the driver's helper processes."""
        return self.all_processors and self.place is Place.DRIVER

    @cached_property
    def needs_ray(self) -> bool:
        """Whether it waits until Ray is up."""
        return self.place is not Place.DRIVER


STAGE_FACTS: Mapping[str, StageFacts] = {
    facts.name: facts
    # What others wait for comes first; long extractions and scoring fill the rest.
    for facts in (
        StageFacts("images", 1, Place.DRIVER, (2.0, 0.002), all_processors=True, resumes=True),
        StageFacts("calibrate", 2, Place.WORKER, (1.5, 0.012), all_processors=True, resumes=True),
        StageFacts("quantize", 1, Place.WORKER, (0.6, 0.0)),
        StageFacts("convert", 2, Place.WORKER, (0.5, 0.0)),
        StageFacts("deploy", 1, Place.BOARD, (0.4, 0.0), stored=False),
        StageFacts("measure", 6, Place.BOARD, (1.0, 0.005), alone=True, measures_time=True),
        StageFacts("extract", 1, Place.BOARD, (1.0, 0.008), yields=True, shared=True, resumes=True),
        StageFacts("align", 1, Place.DRIVER, (1.0, 0.01), all_processors=True, resumes=True),
        StageFacts("parity", 1, Place.WORKER, (1.0, 0.0), yields=True),
        StageFacts("score", 1, Place.WORKER, (0.3, 0.0003), yields=True),
        StageFacts("compare", 1, Place.WORKER, (0.2, 0.0), yields=True),
        StageFacts("split", 1, Place.WORKER, (0.3, 0.0), yields=True),
        StageFacts("evaluate", 1, Place.WORKER, (1.0, 0.01), yields=True),
        StageFacts("compare_detection", 1, Place.WORKER, (1.0, 0.005), yields=True),
    )
}

UNKNOWN = StageFacts("", 0, Place.WORKER, (1.0, 0.0))
"""A stage of another version's event log."""
PREPARATION = next(name for name, facts in STAGE_FACTS.items() if facts.prepares_board)
"""A stage that keeps a board busy and stores nothing."""
SHARED_FROM = 256
"""Images below which an extraction is not worth another board."""
