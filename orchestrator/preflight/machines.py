"""Whether the processors that emulated boards have are installed."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator import machines
from orchestrator.planning.cells import Cell
from orchestrator.specs.inventory import Inventory
from orchestrator.specs.yamlfile import fail


def require_machines(inventory: Inventory, cells: Iterable[Cell]) -> None:
    """Refuse rows of a board whose processor is not installed, before any board is touched.

    Raises:
        UserError: names the board, its line, and the command that installs it.
    """
    used = {
        name
        for cell in cells
        if not cell.reason
        for e in (cell.gallery, cell.probe)
        for name in e.pool
    }
    problems = []
    for i, board in enumerate(inventory.boards):
        if board.name in used and board.machine and machines.find(board.machine) is None:
            text = (
                f"{board.name} is emulated as {board.machine}, which is not installed here; "
                f"type: {machines.install_command(board.machine)}"
            )
            problems.append(inventory.source.problem(("boards", i, "transport"), text))
    fail(problems)
