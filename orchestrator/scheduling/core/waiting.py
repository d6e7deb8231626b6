"""Why a connected board with steps to do does none of them: pure, said as data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

from orchestrator.planning.graph import Step
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.scheduling.core.boards import BoardTable
from orchestrator.scheduling.core.choosing import Candidate
from orchestrator.scheduling.core.messages import Reason, ReportWaiting, Why
from orchestrator.scheduling.core.states import StepState
from orchestrator.scheduling.core.steps import Steps


class Reasons:
    """The reasons that were said, so that only changes are."""

    def __init__(self, steps: Steps, boards: BoardTable) -> None:
        self._steps, self._boards = steps, boards
        self._said: dict[str, Reason] = {}

    def started(self, board: str) -> None:
        """A board works: whatever was said of it holds no more, as everybody knows."""
        self._said.pop(board, None)

    def changes(self, now: float) -> list[ReportWaiting]:
        """What is to be said since the last call; boards with one reason are said together."""
        found = self.reasons(now)
        groups: dict[Reason | None, list[str]] = defaultdict(list)
        for board, reason in found.items():
            if self._said.get(board) != reason:
                groups[reason].append(board)
        for board in self._said.keys() - found.keys():
            if not self._steps.underway.busy(board):
                groups[None].append(board)
        self._said = found
        return [ReportWaiting(tuple(boards), reason) for reason, boards in groups.items()]

    def reasons(self, now: float) -> dict[str, Reason]:
        """Why each connected board waits that has something to do and does nothing."""
        ready, underway = self._steps.ready, self._steps.underway
        idle = [name for name in self._boards.all_connected if not underway.busy(name)]
        lines = {name: ready.line(name) for name in idle}
        running = list(underway.candidates.values())
        measuring = {
            candidate.domain: candidate.id
            for line in lines.values()
            for candidate in line
            if STAGE_FACTS[candidate.stage].alone
        }
        found: dict[str, Reason] = {}
        for name, line in lines.items():
            if line:
                first = min(line, key=lambda candidate: candidate.order)
                found[name] = self._held_back(first, running, measuring, now)
        rest = {name for name in idle if name not in found}
        for step in self._first_waiting(rest):
            subject = self._missing(step.id)
            if subject:
                found[step.board] = Reason(Why.INPUT, subject)
        return found

    def _held_back(
        self,
        step: Candidate,
        running: Collection[Candidate],
        measuring: Mapping[str, str],
        now: float,
    ) -> Reason:
        if self._steps.record(step.id).not_before > now:
            return Reason(Why.RETRY, step.id)
        same = self._steps.underway.making.get(self._steps.plan.resolution.keys.get(step.id))
        if same is not None:
            return Reason(Why.SAME, same)
        return held_up(step, running, measuring)

    def _first_waiting(self, boards: set[str]) -> Iterator[Step]:
        """The first step of each board, in the plan's order, whose inputs are not all there."""
        left = set(boards)
        if not left:
            return
        for step in self._steps.in_state(StepState.WAITING):
            if step.board in left:
                left.discard(step.board)
                yield step
                if not left:
                    return

    def _missing(self, step_id: str) -> str:
        """The step that a waiting one waits for in the end: one that runs, else one that could."""
        graph, state = self._steps.plan.graph, self._steps.state
        seen, stack, found = {step_id}, [step_id], ""
        while stack:
            each = stack.pop()
            sources = [s for s in graph.sources(each) if state(s) is not StepState.DONE]
            for source in sources:
                if state(source) is StepState.RUNNING:
                    return source
            if not sources and each != step_id:
                found = found or each
            stack += [s for s in reversed(sources) if s not in seen]
            seen.update(sources)
        return found


def held_up(
    step: Candidate, running: Collection[Candidate], measuring: Mapping[str, str]
) -> Reason:
    """What keeps a ready step from starting on its free board.

    Args:
        running: what runs, helpers included.
        measuring: contention domain to a measurement that waits to be alone there.
    """
    there = [each for each in running if each.domain == step.domain]
    for each in there:
        if STAGE_FACTS[each.stage].alone:
            return Reason(Why.MEASUREMENT, each.id, step.domain)
    if STAGE_FACTS[step.stage].alone and there:
        return Reason(Why.ALONE, there[0].id, step.domain)
    waits = measuring.get(step.domain)
    if STAGE_FACTS[step.stage].yields and waits is not None:
        return Reason(Why.MEASUREMENT, waits, step.domain)
    busy = next((each.id for each in there if each.stage == step.stage), step.id)
    return Reason(Why.PROCESSORS, busy, step.domain)
