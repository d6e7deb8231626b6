"""The table's columns. Each file of `optional/` is one that can be asked for by its name.

A file holds `COLUMN`, a `Column` (`base.py`); the matrix, its JSON Schema, the command line, the
tables, the report and the exports find it there. `published.py` has the columns of every table.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from orchestrator.columns import optional
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.columns.base import Column, Part
    from orchestrator.results import CellResult


def column_names() -> tuple[str, ...]:
    """The words for `table: columns:` and `--columns`, sorted; loads none of the files."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(optional.__path__)))


@cache
def columns() -> Mapping[str, Column]:
    """Every optional column by its name."""
    return {name: _column(name) for name in column_names()}


def asked(names: Sequence[str], results: Sequence[CellResult]) -> list[Part]:
    """The parts of the columns asked for, and of those that these rows need anyway.

    A name that this version of farm does not have (in the log of another version) is left out.
    """
    known = columns()
    wanted = [name for name in dict.fromkeys(names) if name in known]
    wanted += [name for name in known if name not in wanted and known[name].needed(results)]
    return [part for name in wanted for part in _parts(known[name], results)]


def _parts(column: Column, results: Sequence[CellResult]) -> tuple[Part, ...]:
    return column.parts(results) if callable(column.parts) else column.parts


def _column(name: str) -> Column:
    module = import_module(f"{optional.__name__}.{name}")
    column: Column | None = getattr(module, "COLUMN", None)
    if column is None:
        raise UserError(
            f"{module.__file__}: no COLUMN in it",
            "every file there is a column: CONTRIBUTING.md, Add a column",
        )
    return column
