"""What a run reports of its plan: what changed in it, and rows that came to an end."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.events import CellFailed, CellFinished, PlanChanged, StepInfo
from orchestrator.execution.results_builder import cell_result
from orchestrator.planning.graph import Graph
from orchestrator.planning.resolving import Resolution, changed
from orchestrator.preflight.planner import Plan
from orchestrator.scheduling.core.states import UNFINISHED, StepState
from orchestrator.scheduling.core.steps import Steps
from orchestrator.scheduling.reporter import Reporter


class PlanReports:
    """Reports each change of the plan, and each row, once.

    Args:
        plan: as it was reported first.
        steps: how they stand.
        reporter: to whom.
        ended: rows that are reported already.
    """

    def __init__(
        self, plan: Plan, steps: Steps, reporter: Reporter, ended: Iterable[str] = ()
    ) -> None:
        self._plan, self._steps, self._reporter = plan, steps, reporter
        self._reported: dict[str, StepInfo] = {}
        self._graph, self._resolution = Graph({}, {}), Resolution()  # as they were reported
        self._differences()
        self._ended = set(ended)
        self._changes = -1  # of the steps, when rows were last looked at

    def plan(self, board: str = "", *, cells: bool = False) -> None:
        """Report plan differences since the last report.

        Args:
            board: which brought them, where it is one.
            cells: whether there are new rows.
        """
        steps, gone = self._differences()
        rows = self._plan.cell_infos() if cells else ()
        if steps or gone or rows:
            change = PlanChanged(board=board, steps=steps, cells=rows, partial=True, gone=gone)
            self._reporter.emit(change)

    def _differences(self) -> tuple[tuple[StepInfo, ...], tuple[str, ...]]:
        """Steps that are not as they were reported, and ids of those that are shown no more."""
        plan = self._plan
        same = plan.graph is self._graph
        only = changed(plan.graph, self._resolution, plan.resolution) if same else None
        infos = plan.step_infos(only)
        steps = tuple(info for info in infos if self._reported.get(info.id) != info)
        gone = tuple(self._reported.keys() - plan.resolution.shown)
        for step_id in gone:
            del self._reported[step_id]
        self._reported |= {info.id: info for info in steps}
        self._graph, self._resolution = plan.graph, plan.resolution
        return steps, gone

    def rows(self) -> None:
        """Report the rows that came to an end."""
        if self._changes == self._steps.changes:
            return
        self._changes = self._steps.changes
        for cell in self._plan.possible:
            if cell.name in self._ended:
                continue
            target = self._plan.graph.targets[cell.name]
            if self._steps.state(target.score) in UNFINISHED:  # it is the last of most rows
                continue
            states = {self._steps.state(step) for step in target.figures}
            if states == {StepState.DONE}:
                result = cell_result(self._plan, cell)
                if result is not None:
                    self._ended.add(cell.name)
                    self._reporter.emit(
                        CellFinished(
                            cell=cell.name,
                            executed_by=cell.probe.executed_by,
                            result=result.model_dump(mode="json"),
                        )
                    )
            elif not states & UNFINISHED:
                self._ended.add(cell.name)
                self._reporter.emit(
                    CellFailed(
                        cell=cell.name,
                        executed_by=cell.probe.executed_by,
                        reason="; ".join(self._reasons(cell.name)),
                    )
                )

    def _reasons(self, cell: str) -> list[str]:
        """Why steps of a row failed, each reason once."""
        steps = self._plan.graph.steps.values()
        errors = (self._steps.record(step.id).error for step in steps if cell in step.cells)
        return list(dict.fromkeys(error for error in errors if error))
