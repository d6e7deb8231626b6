"""Which steps are ready, kept up to date with every transition, so that no look goes through all.

`choose` starts at most one step a board, and as many on the head as it has slots: of each kind that
something else can keep from starting, what stands behind these need not be looked at. Where several
boards are one contention domain, busy ones count too: a measurement that waits keeps others. Pure.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from orchestrator.planning.graph import HEAD_DOMAIN, Step
from orchestrator.planning.sources import Sources
from orchestrator.planning.upcoming import Upcoming
from orchestrator.scheduling.core.choosing import Candidate
from orchestrator.scheduling.core.messages import PlanView
from orchestrator.scheduling.core.states import States, StepState


class Queue:
    """Ready steps of a board, or of the head, the first to start in front.

    A step that leaves stays in its heap until it comes to the front: its entry no longer counts.
    What can keep one step from being chosen keeps all of its heap.

    Args:
        entries: of each ready step the one that counts, of all queues; it ends with the candidate.
    """

    __slots__ = ("_entries", "_heaps")

    def __init__(self, entries: dict[str, tuple[Any, ...]]) -> None:
        self._entries = entries
        # What yields to measuring; what can only run alone, or after another; all else.
        self._heaps: tuple[list[tuple[Any, ...]], ...] = ([], [], [])

    def join(self, entry: tuple[Any, ...]) -> None:
        """A step is ready; the lowest is in front, and no two are the same before their last."""
        facts = entry[-1].facts
        heap = 0 if facts.yields else 1 if facts.alone or facts.takes_turns else 2
        heapq.heappush(self._heaps[heap], entry)

    def add_to(
        self, found: list[Candidate], allowed: Callable[[Candidate], bool], slots: int
    ) -> None:
        """Append up to `slots` steps that are allowed, of each kind; of those that take turns one.

        Args:
            allowed: asked in the order of the queue, once each.
        """
        yielding, alone, others = self._heaps
        if yielding:
            self._add(yielding, found, allowed, slots)
        if alone:
            self._add(alone, found, allowed, 1)
        if others:
            self._add(others, found, allowed, slots)

    def _add(
        self,
        heap: list[tuple[Any, ...]],
        found: list[Candidate],
        allowed: Callable[[Candidate], bool],
        slots: int,
    ) -> None:
        looked_at: list[tuple[Any, ...]] = []
        most = len(found) + slots
        while heap:
            entry = heap[0]
            candidate = entry[-1]
            if self._entries.get(candidate.id) is not entry:
                heapq.heappop(heap)
                continue
            if allowed(candidate):
                found.append(candidate)
                if len(found) == most:
                    break
            looked_at.append(heapq.heappop(heap))
        for entry in looked_at:
            heapq.heappush(heap, entry)


def candidate_of(step: Step, plan: PlanView) -> Candidate:
    """A step as `choose` sees it."""
    domain = plan.boards[step.board].domain if step.board else HEAD_DOMAIN
    # Extractions take turns, row by row: so rows end one after the other, not all at the end, and
    # a board that has loaded an artifact need not load it again for the row's other images.
    in_turn = step.facts.shares_processors
    return Candidate(
        step.id,
        step.stage,
        step.board,
        domain,
        0 if in_turn else step.units,
        step.priority,
        plan.leads.get(step.id, (0.0, 0.0)),
        0.0 if in_turn else plan.ranks.get(step.id, 0.0),
        all_processors=step.all_processors,
    )


class Ready:
    """An index over the steps of one plan.

    Args:
        plan: a new plan needs a new index.
        states: of its steps; the caller tells `moved` of each transition.
        since: when steps became ready, by an earlier index.
        now: seconds on the caller's clock.
        tried: whether a step was started before.

    Attributes:
        since: ready steps, and when each became so.
        position: a step's place in the plan; equals start in this order.
        sources: what each step still lacks.
        near_pooled: those of `near` that several boards can do.
        upcoming: what waits, ready or not, to measure, or to extract on the head's processors.
    """

    def __init__(
        self,
        plan: PlanView,
        states: States[StepState],
        since: Mapping[str, float],
        now: float,
        tried: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._states, self._plan = states, plan
        self._steps = plan.graph.steps
        self.position = {step_id: number for number, step_id in enumerate(self._steps)}
        self.since: dict[str, float] = {}
        self._filed: dict[str, str] = {}  # the board under which a step is filed
        self._entries: dict[str, tuple[Any, ...]] = {}
        # By board; the head's under "", all extractions on its processors under None, too.
        self._queues: dict[str | None, Queue] = {"": Queue(self._entries)}
        self._queues[None] = Queue(self._entries)
        self._lines: dict[str, dict[str, None]] = {}  # ready steps by board
        self._open: set[str] = set()  # boards whose queue is to be looked at
        self._near: dict[str, dict[str, None]] = {}  # by board: only a deploy is not there
        self.near_pooled: set[str] = set()
        self.upcoming = Upcoming(
            {name for name, board in plan.boards.items() if board.domain == HEAD_DOMAIN},
            waits=lambda step_id: states[step_id] is StepState.WAITING,
            tried=tried,
        )
        self.sources = Sources(plan.graph, lambda source: states[source] is StepState.DONE)
        sizes = Counter([*(board.domain for board in plan.boards.values()), HEAD_DOMAIN])
        self._shared = {n for n, board in plan.boards.items() if sizes[board.domain] > 1}
        for step in self._steps.values():
            if self.sources.are_near(step.id) or self.upcoming.boards:
                self._update(step, since.get(step.id, now))

    def moved(self, step_id: str, before: StepState, after: StepState, now: float) -> None:
        """A step has changed its state."""
        step = self._steps.get(step_id)
        if step is None:
            return
        if after is StepState.WAITING or self.upcoming.boards:
            self._update(step, now)
        elif step_id in self._filed:
            self._leave(step_id)
        if before is StepState.DONE or after is StepState.DONE:
            for each in self.sources.count(step_id, done=after is StepState.DONE):
                self._update(self._steps[each], now)

    def refile(self, step_id: str) -> None:
        """A waiting step has another board now."""
        if step_id in self._steps:
            since = self.since.get(step_id, 0.0)
            if step_id in self._filed:
                self._leave(step_id)
            self._update(self._steps[step_id], since)

    def freed(self, board: str) -> None:
        """A board has ended what it did."""
        if board in self._lines and self._does_else(board):
            self._open.add(board)

    def _does_else(self, board: str) -> bool:
        """Whether a step is ready for a board that is no extraction on the head's processors."""
        ready = self._lines.get(board, ())
        if board not in self.upcoming.boards:
            return bool(ready)
        return not all(self._extracts_here(self._steps[step_id]) for step_id in ready)

    def line(self, board: str) -> list[Candidate]:
        """Ready steps of a board."""
        return [self._entries[step_id][-1] for step_id in self._lines.get(board, ())]

    def near(self, board: str) -> list[str]:
        """Waiting steps to measure or extract on a board that lack nothing but a deploy."""
        ready = self._lines.get(board, ())
        return [*self._near.get(board, ()), *(s for s in ready if self._steps[s].facts.executes)]

    def in_order(self, step_ids: Iterable[str]) -> list[Step]:
        """Steps, in the plan's order."""
        return [self._steps[step_id] for step_id in sorted(step_ids, key=self.position.__getitem__)]

    def front(
        self,
        allowed: Callable[[Candidate], bool],
        busy: Callable[[str], bool],
        connected: Callable[[str], bool],
        slots: int,
        room: int,
    ) -> list[Candidate]:
        """The candidates that may be chosen, in the plan's order.

        Args:
            allowed: whether a ready step may start now.
            busy, connected: of boards.
            slots: steps on the head at a time; `room`: how many more of them may start.
        """
        found: list[Candidate] = []
        for name in list(self._open):
            if busy(name) and name not in self._shared:
                self._open.discard(name)
            elif connected(name):
                self._queues[name].add_to(found, allowed, 1)
        if room > 0:
            self._queues[""].add_to(found, allowed, room)
        if self.upcoming.boards:
            self._add_in_turn(found, allowed, busy, connected, 2 * slots)
        if len(found) > 1:
            found.sort(key=lambda candidate: self.position[candidate.id])
        return found

    def _add_in_turn(
        self,
        found: list[Candidate],
        allowed: Callable[[Candidate], bool],
        busy: Callable[[str], bool],
        connected: Callable[[str], bool],
        slots: int,
    ) -> None:
        """Append extractions on the head's processors: the first of each board."""
        taken = set(self._open)

        def in_turn(step: Candidate) -> bool:
            """Whether it is a board's first; no more of them than may run are to be chosen from."""
            board = step.board
            if board in taken or busy(board) or not connected(board) or not allowed(step):
                return False
            taken.add(board)
            return True

        self._queues[None].add_to(found, in_turn, slots)

    def _extracts_here(self, step: Step) -> bool:
        return step.board in self.upcoming.boards and step.facts.shares_processors

    def _update(self, step: Step, now: float) -> None:
        step_id = step.id
        if self.upcoming.boards:
            self.upcoming.note(step)
        near = self._states[step_id] is StepState.WAITING and self.sources.are_near(step_id)
        ready = near and not self.sources.lack_deploys(step_id)
        if step_id in self._filed:
            if near and ready == (step_id in self.since):
                return
            self._leave(step_id)
        if not ready and not (near and step.facts.executes):
            return
        self._filed[step_id] = step.board
        if ready:
            self._join(step, now)
        else:
            self._near.setdefault(step.board, {})[step_id] = None
        if len(step.pool) > 1 and step.facts.executes:
            self.near_pooled.add(step_id)

    def _join(self, step: Step, now: float) -> None:
        step_id, board = step.id, step.board
        self.since[step_id] = now
        candidate = candidate_of(step, self._plan)
        # A step's older entries may still be in a heap: its number keeps them apart.
        rank = (*candidate.order, self.position[step_id], id(candidate))
        entry = self._entries[step_id] = (*rank, candidate)
        queue = self._queues.get(board)
        if queue is None:
            queue = self._queues[board] = Queue(self._entries)
        queue.join(entry)
        if not board:
            return
        self._lines.setdefault(board, {})[step_id] = None
        if self._extracts_here(step):
            self._queues[None].join(entry)
        else:
            self._open.add(board)

    def _leave(self, step_id: str) -> None:
        board = self._filed.pop(step_id)
        self.near_pooled.discard(step_id)
        lines = self._near
        if self.since.pop(step_id, None) is not None:
            lines = self._lines
            del self._entries[step_id]
        line = lines.get(board)
        if line is None:  # the head's
            return
        del line[step_id]
        if not line:
            del lines[board]
        if board in self._open and not self._does_else(board):
            self._open.discard(board)
