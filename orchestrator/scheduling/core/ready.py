"""Which steps are ready, kept up to date with every transition, so that no look goes through all.

`choose` starts at most one step a board, and as many on the head as it has slots: what stands
behind these cannot be chosen and need not be looked at. Where several boards are one contention
domain, all count. Pure.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from orchestrator.planning.graph import HEAD_DOMAIN, Graph, Step
from orchestrator.scheduling.core.choosing import Candidate
from orchestrator.scheduling.core.messages import PlanView
from orchestrator.scheduling.core.states import States, StepState
from orchestrator.scheduling.core.upcoming import Upcoming


class Sources:
    """How many of its sources each step still lacks.

    Attributes:
        after: the steps that a step is a source of.
    """

    def __init__(self, graph: Graph, is_done: Callable[[str], bool]) -> None:
        self._steps = graph.steps
        self._lacking: dict[str, int] = {}
        self._lacking_a_deploy: dict[str, int] = {}
        self.after: dict[str, list[str]] = {step_id: [] for step_id in graph.steps}
        for step_id in graph.steps:
            sources = set(graph.sources(step_id))
            missing = [source for source in sources if not is_done(source)]
            deploys = sum(graph.steps[source].facts.prepares_board for source in missing)
            self._lacking[step_id] = len(missing)
            self._lacking_a_deploy[step_id] = deploys
            for source in sources:
                self.after[source].append(step_id)

    def count(self, step_id: str, *, done: bool) -> list[str]:
        """A step is done, or is no longer; returns the steps after it that may be ready or near.

        Those that were so before are among them.
        """
        change = -1 if done else 1
        deploys = change if self._steps[step_id].facts.prepares_board else 0
        found = []
        for each in self.after[step_id]:
            before = self._lacking[each] == self._lacking_a_deploy[each]
            self._lacking[each] += change
            self._lacking_a_deploy[each] += deploys
            if before or self._lacking[each] == self._lacking_a_deploy[each]:
                found.append(each)
        return found

    def are_there(self, step_id: str) -> bool:
        """Whether a step lacks nothing."""
        return not self._lacking[step_id]

    def are_near(self, step_id: str) -> bool:
        """Whether a step lacks nothing but deploys."""
        return self._lacking[step_id] == self._lacking_a_deploy[step_id]


class HeadQueue:
    """Ready steps of the head, the first to start in front.

    A step that leaves stays in its heap until it comes to the front: its token no longer counts.
    What can keep one step from being chosen keeps all of its heap.
    """

    def __init__(self) -> None:
        self._tokens: dict[str, int] = {}  # which entry of a heap still counts
        self._yield: list[Any] = []  # to measuring
        self._take_turns: list[Any] = []
        self._others: list[Any] = []

    def join(self, step: Step, rank: tuple[Any, ...]) -> None:
        """A step is ready; the lowest rank is in front, and no two have the same."""
        token = self._tokens[step.id] = self._tokens.get(step.id, 0) + 1
        facts = step.facts
        other = self._take_turns if facts.takes_turns else self._others
        heapq.heappush(self._yield if facts.yields else other, (rank, token, step.id))

    def leave(self, step_id: str) -> None:
        """A step is not ready any more, if it was."""
        if step_id in self._tokens:
            self._tokens[step_id] += 1

    def add_to(self, found: list[str], allowed: Callable[[str], bool], slots: int) -> None:
        """Append up to `slots` steps that are allowed, of each kind; of those that take turns one.

        Args:
            allowed: asked in the order of the queue, once each.
        """
        if slots > 0:
            self._add(self._yield, found, allowed, slots)
            self._add(self._take_turns, found, allowed, 1)
            self._add(self._others, found, allowed, slots)

    def _add(
        self, heap: list[Any], found: list[str], allowed: Callable[[str], bool], slots: int
    ) -> None:
        looked_at: list[Any] = []
        most = len(found) + slots
        while heap:
            entry = heap[0]
            step_id = entry[-1]
            if self._tokens[step_id] != entry[-2]:
                heapq.heappop(heap)
                continue
            if allowed(step_id):
                found.append(step_id)
                if len(found) == most:
                    break
            looked_at.append(heapq.heappop(heap))
        for entry in looked_at:
            heapq.heappush(heap, entry)


class Candidates:
    """The steps of a plan as `choose` sees them, each worked out once."""

    def __init__(self, plan: PlanView) -> None:
        self._plan = plan
        self._known: dict[str, Candidate] = {}

    def forget(self, step_id: str) -> None:
        """A step has another board now."""
        self._known.pop(step_id, None)

    def of(self, step: Step) -> Candidate:
        """A step as `choose` sees it."""
        found = self._known.get(step.id)
        if found is None:
            found = self._known[step.id] = self._new(step)
        return found

    def _new(self, step: Step) -> Candidate:
        plan = self._plan
        domain = plan.boards[step.board].domain if step.board else HEAD_DOMAIN
        # Extractions that share the head's processors take turns: row by row, so that rows end
        # one after the other, not all at the end.
        in_turn = step.facts.shares_processors and domain == HEAD_DOMAIN
        return Candidate(
            step.id,
            step.stage,
            step.board,
            domain,
            0 if in_turn else step.units,
            step.priority,
            plan.leads.get(step.id, 0.0),
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
        upcoming: what waits, ready or not, to measure, or to extract on the head's processors.
        candidates: its steps as `choose` sees them.
    """

    def __init__(
        self,
        plan: PlanView,
        states: States[StepState],
        since: Mapping[str, float],
        now: float,
        tried: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._states = states
        self._steps = plan.graph.steps
        self.position = {step_id: number for number, step_id in enumerate(self._steps)}
        self.since: dict[str, float] = {}
        self._filed: dict[str, str] = {}  # the board under which a step is filed
        self._head = HeadQueue()
        self._turns = HeadQueue()  # extractions on the head's processors
        self._lines: dict[str, dict[str, None]] = {}  # ready steps by board
        self._open: set[str] = set()  # boards whose whole line is to be looked at
        self._near: dict[str, dict[str, None]] = {}  # by board: all but a deploy is there
        self._near_pooled: set[str] = set()
        self.candidates = Candidates(plan)
        self.upcoming = Upcoming(
            {name for name, board in plan.boards.items() if board.domain == HEAD_DOMAIN},
            waits=lambda step_id: states[step_id] is StepState.WAITING,
            tried=tried,
        )
        self.sources = Sources(plan.graph, lambda source: states[source] is StepState.DONE)
        sizes = Counter([*(board.domain for board in plan.boards.values()), HEAD_DOMAIN])
        self._shared = {n for n, board in plan.boards.items() if sizes[board.domain] > 1}
        for step_id in self._steps:
            self._update(step_id, since.get(step_id, now))

    def moved(self, step_id: str, before: StepState, after: StepState, now: float) -> None:
        """A step has changed its state."""
        if step_id not in self._steps:
            return
        self._update(step_id, now)
        if StepState.DONE in (before, after):
            for each in self.sources.count(step_id, done=after is StepState.DONE):
                self._update(each, now)

    def refile(self, step_id: str) -> None:
        """A waiting step has another board now."""
        self.candidates.forget(step_id)
        if step_id in self._steps:
            self.upcoming.note(self._steps[step_id])
        if step_id in self._filed:
            since = self.since.get(step_id)
            self._leave(step_id)
            self._update(step_id, 0.0 if since is None else since)

    def freed(self, board: str) -> None:
        """A board has ended what it did."""
        if self._does_else(board):
            self._open.add(board)

    def _does_else(self, board: str) -> bool:
        """Whether a step is ready for a board that is no extraction on the head's processors."""
        ready = self._lines.get(board, ())
        return not all(self._extracts_here(self._steps[step_id]) for step_id in ready)

    def line(self, board: str) -> list[Step]:
        """Ready steps of a board."""
        return [self._steps[step_id] for step_id in self._lines.get(board, ())]

    def near(self, board: str) -> Iterable[str]:
        """Waiting steps to measure or extract on a board that lack nothing but a deploy."""
        return self._near.get(board, ())

    def is_near(self, step_id: str) -> bool:
        """Whether a step is such a one, and several boards can do it."""
        return step_id in self._near_pooled

    def near_pooled(self) -> list[Step]:
        """All such steps that several boards can do, in the plan's order."""
        if not self._near_pooled:
            return []
        found = sorted(self._near_pooled, key=self.position.__getitem__)
        return [self._steps[step_id] for step_id in found]

    def front(
        self,
        allowed: Callable[[str], bool],
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
        self._open -= {name for name in self._open if busy(name) and name not in self._shared}
        found = [
            step_id
            for name in self._open
            if connected(name)
            for step_id in self._lines[name]
            if allowed(step_id)
        ]
        self._head.add_to(found, allowed, room)
        taken = set(self._open)

        def in_turn(step_id: str) -> bool:
            """Whether it is a board's first; no more of them than may run are to be chosen from."""
            board = self._steps[step_id].board
            if board in taken or busy(board) or not connected(board) or not allowed(step_id):
                return False
            taken.add(board)
            return True

        self._turns.add_to(found, in_turn, 2 * slots)
        found.sort(key=self.position.__getitem__)
        return [self.candidates.of(self._steps[step_id]) for step_id in found]

    def _extracts_here(self, step: Step) -> bool:
        return step.board in self.upcoming.boards and step.facts.shares_processors

    def _update(self, step_id: str, now: float) -> None:
        step = self._steps[step_id]
        self.upcoming.note(step)
        waiting = self._states[step_id] is StepState.WAITING
        if not waiting or not self.sources.are_near(step_id):
            if step_id in self._filed:
                self._leave(step_id)
            return
        ready = self.sources.are_there(step_id)
        near = step.facts.executes
        if step_id in self._filed and not (ready or near):
            self._leave(step_id)
            return
        if ready and step_id not in self.since:
            self._join(step, now)
        elif not ready and step_id in self.since:
            self._leave(step_id)
        if near:
            self._filed[step_id] = step.board
            self._near.setdefault(step.board, {})[step_id] = None
            if len(step.pool) > 1:
                self._near_pooled.add(step_id)

    def _join(self, step: Step, now: float) -> None:
        self.since[step.id] = now
        self._filed[step.id] = step.board
        if step.board:
            self._lines.setdefault(step.board, {})[step.id] = None
            if not self._extracts_here(step):
                self._open.add(step.board)
                return
        queue = self._turns if step.board else self._head
        queue.join(step, (self.candidates.of(step).order, self.position[step.id]))

    def _leave(self, step_id: str) -> None:
        board = self._filed.pop(step_id)
        self.since.pop(step_id, None)
        self._near_pooled.discard(step_id)
        self._head.leave(step_id)
        self._turns.leave(step_id)
        for lines in (self._lines, self._near):
            line = lines.get(board, {})
            line.pop(step_id, None)
            if not line:
                lines.pop(board, None)
        if board in self._open and not self._does_else(board):
            self._open.discard(board)
