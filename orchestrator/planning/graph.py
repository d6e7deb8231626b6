"""A plan's steps, in an order in which each comes after its inputs, and where figures are.

A step's key hashes its inputs' content, its parameters and the recipe version of our code for its
stage. An input's content is known only once it is made, so keys are worked out from the start of
the graph as far as the store's holdings reach (`resolving.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.events import ExecutedBy
from orchestrator.planning.stage_facts import SHARED_FROM, STAGE_FACTS, StageFacts

HEAD_DOMAIN = "this-host"


@dataclass
class Step:
    """One piece of work.

    Attributes:
        id: its name in a plan: readable, stable between runs of one matrix.
        stage: a name of `STAGE_FACTS`.
        inputs: role to the id of the step that makes it; their content goes into the key.
        after: ids of steps that must be done first but whose output is not part of the key.
        params: plain JSON, hashed into the key.
        pool: boards that can do it; empty: the head does.
        board: the board that was chosen to do it.
        executed_by: what executes the encoder behind it; None where nothing is executed.
        cells: names of the cells that need it.
        units: how much work, in images (or inferences): for the estimate and for progress.
        priority: the highest of the entries that need it; a higher one comes first.
        extra: what the stage needs to run but does not change the result.
        facts: what is known of its stage, which never changes.
    """

    id: str
    stage: str
    inputs: dict[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)
    pool: tuple[str, ...] = ()
    board: str = ""
    executed_by: ExecutedBy | None = None
    cells: list[str] = field(default_factory=list)
    units: int = 1
    priority: int = 0
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.facts: StageFacts = STAGE_FACTS[self.stage]

    def behind(self, after: tuple[str, ...]) -> Step:
        """A copy that is `after` other steps; `replace` takes five times as long."""
        copied = object.__new__(Step)
        copied.__dict__.update(self.__dict__)
        copied.after = after
        return copied

    @property
    def all_processors(self) -> bool:
        """Whether it keeps all processors of its contention domain busy."""
        return self.facts.all_processors or bool(self.extra.get("all_processors"))

    @property
    def divisible(self) -> bool:
        """Whether several boards may divide it, and it is worth that."""
        return self.facts.shared and self.units >= SHARED_FROM


@dataclass(frozen=True)
class ImageSet:
    """One role's images of a test set (or the calibration set), as the plan knows them.

    Attributes:
        role: `gallery`, `probe`, `test` (of a detector) or `calibration`.
        fingerprint: what they are made from; hashed into their step's key.
        count: how many images.
    """

    role: str
    fingerprint: str
    count: int


@dataclass(frozen=True)
class DetectorTargets:
    """The steps that hold what is known of the detector in a row of two models.

    Attributes:
        gallery, probe: its raw outputs.
        gallery_faces, probe_faces: the faces that were aligned by them.
    """

    measure: str | None
    gallery: str
    probe: str
    gallery_faces: str
    probe_faces: str
    artifact: str
    parity: str


@dataclass(frozen=True)
class CellTargets:
    """The steps that hold a cell's figures; `measure` is None for what is not timed.

    `split` parts the loss of two models between them; `detector` is of the one before.
    """

    score: str
    measure: str | None
    gallery: str
    probe: str
    artifact: str
    parity: str
    compare: str | None = None
    split: str | None = None
    detector: DetectorTargets | None = None

    @property
    def figures(self) -> tuple[str, ...]:
        """All that a row needs; `measure` is the only one that this host cannot stand in for."""
        needed = [self.score, self.measure, self.parity, self.compare, self.split]
        if self.detector is not None:
            needed += [self.detector.measure, self.detector.parity]
        return tuple(step_id for step_id in needed if step_id is not None)


@dataclass
class Graph:
    """Steps in an order in which each comes after its inputs, and where each cell's figures are."""

    steps: dict[str, Step]
    targets: dict[str, CellTargets]

    def sources(self, step_id: str) -> tuple[str, ...]:
        """Ids of the steps directly before `step_id`."""
        step = self.steps[step_id]
        return (*step.inputs.values(), *step.after)


def in_order(steps: Mapping[str, Step]) -> dict[str, Step]:
    """Each behind the steps that it is `after`, else in the order that they have."""
    done: dict[str, Step] = {}
    for name in steps:
        stack = [name]
        while stack:
            missing = [s for s in steps[stack[-1]].after if s not in done]
            if missing and len(stack) <= len(steps):
                stack.append(missing[0])
            else:
                ended = stack.pop()
                done[ended] = steps[ended]
    return done


def without_deploys(graph: Graph) -> Graph:
    """What waits for a deploy waits for its inputs instead. Steps of pools are copies."""
    steps: dict[str, Step] = {}
    deploys: dict[str, tuple[str, ...]] = {}  # with what each waits for
    for step_id, step in graph.steps.items():
        if step.facts.prepares_board:
            deploys[step_id] = graph.sources(step_id)
            continue
        if step.after or len(step.pool) > 1:
            after = [each for source in step.after for each in deploys.get(source, (source,))]
            step = step.behind(tuple(after))
        steps[step_id] = step
    return Graph(steps, graph.targets)


def bind_in_turn(graph: Graph) -> None:
    """Give each encoder of a pool a board, in turn, as `Plan.bind` does."""
    turns: Counter[tuple[str, ...]] = Counter()
    encoders: dict[str, str] = {}
    for step in graph.steps.values():
        if len(step.pool) > 1:
            encoder = step.id.split("/")[1]
            if encoder not in encoders:
                encoders[encoder] = step.pool[turns[step.pool] % len(step.pool)]
                turns[step.pool] += 1
            step.board = encoders[encoder]
