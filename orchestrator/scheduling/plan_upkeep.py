"""Keeps a run's plan true: to the store, to what boards say of themselves, to the inventory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.events import Note
from orchestrator.planning.graph import Graph
from orchestrator.planning.resolving import Resolution
from orchestrator.preflight.planner import Plan
from orchestrator.preflight.replanning import take_inventory
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.inventory_watch import InventoryWatch
from orchestrator.scheduling.plan_reports import PlanReports
from orchestrator.scheduling.plan_view import plan_view
from orchestrator.scheduling.reporter import Reporter

SHARE = 0.2
"""Of the driver's time, at most this goes into planning again for boards that were connected."""
STORE_SHARE = 0.05
"""The same for looking up in the store what other runs have made of all that is left to do."""
LOOK_S = 0.5


class PlanUpkeep:
    """Notes what the plan does not know yet, and brings it up to date; of the driver's thread.

    Args:
        reports: say what changed in the plan.
        handle: tells the core of the plan as it is now.
    """

    def __init__(
        self,
        plan: Plan,
        reports: PlanReports,
        reporter: Reporter,
        handle: Callable[[m.Event], None],
    ) -> None:
        self._plan, self._reports, self._reporter = plan, reports, reporter
        self._handle = handle
        self._inventory = InventoryWatch(Path(plan.request.inventory))
        self._has_changes = False
        self._ended: list[str] = []  # steps
        self._changed_boards: set[str] = set()
        self._rested = 0.0  # when boards are planned for again, at the earliest
        self._looked_up = 0.0  # when the whole store is asked again, at the earliest
        self._view = m.PlanView(Graph({}, {}), Resolution(), {})

    @property
    def next_look_s(self) -> float:
        """Seconds until `look` is due, whether anything happens or not."""
        if not self._changed_boards:
            return LOOK_S
        return min(LOOK_S, max(0.0, self._rested - time.monotonic()))

    def note_change(self) -> None:
        """Somebody else may have put something into the store."""
        self._has_changes = True

    def note_ended(self, step: str) -> None:
        """The store has a step's output."""
        self._ended.append(step)

    def note_board(self, name: str, *, at_once: bool) -> None:
        """A board is not as the plan believes.

        Args:
            at_once: before any other step starts, as the plan's keys are wrong. Those of a board of
                which nothing was known are only missing.
        """
        self._changed_boards.add(name)
        if at_once:
            self._rested = 0.0

    def send_plan(self, *, inspected: bool = False) -> None:
        """Give the core the plan.

        Args:
            inspected: the store was read again.
        """
        self._view = plan_view(self._plan)
        self._handle(m.PlanChanged(self._view, inspected))

    def move_steps(self, moved: Mapping[str, str]) -> None:
        """Steps of a pool have other boards now, by step."""
        self._plan.bound |= moved
        self._plan.settle()
        self._view = plan_view(self._plan)
        self._handle(m.StepsMoved(moved, self._view))

    def inspect_store(self) -> None:
        """Look at the store again: something in it was discarded."""
        self._plan.forget()
        self._plan.resolve()
        self.send_plan(inspected=True)

    def look(self) -> None:
        """Take in what the fleet log, the inventory, boards and the store say by now."""
        refusals_changed = self._plan.book.read(self._plan.boards)
        self._look_at_inventory()
        self._plan_again(refusals_changed=refusals_changed)

    def _plan_again(self, *, refusals_changed: bool) -> None:
        """Keys again, and the plan where boards turned out not to be as it believed.

        Once for all that has come since the last look, and of hundreds of boards that are connected
        one after the other once for many: a board that turns out to be an emulator costs a plan of
        all rows.
        """
        began = time.monotonic()
        boards = set(self._changed_boards) if began >= self._rested else set()
        self._changed_boards -= boards
        steps, self._ended = self._ended, []
        changed = self._plan.take_facts(boards) if boards else []
        rows = self._plan.cell_infos() if changed is None else ()
        if changed is None:  # who executes a row is another than believed
            self._plan.settle()
        elif self._has_changes or (steps and began >= self._looked_up):
            self._plan.resolve()
            took = time.monotonic() - began
            self._looked_up = began + took / STORE_SHARE
        elif steps or changed:
            self._plan.resolve_after([*steps, *changed])
        if refusals_changed or self._view.graph is not self._plan.graph:
            self.send_plan()
        elif steps or boards or self._has_changes:
            self._view = replace(self._view, resolution=self._plan.resolution)
            self._handle(m.PlanChanged(self._view))
        self._has_changes = False
        if boards:
            cells = changed is None and rows != self._plan.cell_infos()
            self._reports.plan(board=boards.pop() if len(boards) == 1 else "", cells=cells)
            ended = time.monotonic()
            self._rested = ended + (ended - began) * (1 - SHARE) / SHARE

    def _look_at_inventory(self) -> None:
        """Boards that were added join the run, those that were taken out are drained."""
        seen = self._inventory.changed()
        if seen is None:
            return
        try:
            if seen.inventory is None:
                raise UserError(seen.problem)
            changes = take_inventory(self._plan, seen.inventory)
        except UserError as error:
            text = f"the inventory changed and is not used as it is now: {error.message}"
            self._reporter.emit(Note(level="warning", message=text))
            return
        self.send_plan()
        if changes.joined:
            self._reports.plan(cells=True)
        for names, words in (
            (changes.joined, "joined the run"),
            (changes.left, "was taken out of the inventory: it ends what it does, no more"),
            (changes.ignored, "has another entry now, which counts from the next run on"),
        ):
            for name in names:
                self._reporter.emit(Note(level="info", board=name, message=f"{name} {words}"))
