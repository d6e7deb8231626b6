"""Refuses settings without an effect, before anything is planned."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from orchestrator.planning.cells import Cell, crossed
from orchestrator.planning.idle import idle
from orchestrator.specs.inventory import Inventory
from orchestrator.specs.matrix import Matrix
from orchestrator.specs.testset import FolderSet
from orchestrator.specs.yamlfile import fail


def refuse_idle(
    matrix: Matrix, inventory: Inventory, models: Collection[str], cells: Sequence[Cell]
) -> None:
    """See that every setting counts.

    Args:
        matrix, inventory: as they were read.
        models: the names of the matrix's models.
        cells: all rows of the matrix, impossible ones included.

    Raises:
        UserError: `file:line: why it has no effect`, a line for each.
    """
    candidates = list(crossed(matrix, inventory, models))
    fail(idle(matrix, inventory, cells, candidates, _one_image_each(matrix)))


def _one_image_each(matrix: Matrix) -> bool | None:
    """Whether each enrolled identity of a folder has one image; looked at only if it matters."""
    if not isinstance(matrix.test_set, FolderSet) or matrix.scoring.fusion == "mean":
        return None
    from orchestrator import images

    names = images.gallery_rows(matrix.test_set).identities
    return len(set(names)) == len(names)
