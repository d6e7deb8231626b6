"""Rows without result, once for each cause: what is missing, and the command that helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NOT_FINISHED = "not finished"
SHOWN = 4


@dataclass(frozen=True)
class Cause:
    """Why some rows have no result.

    Attributes:
        rows: their names.
        what: the reason, without the names of rows and boards before it.
        help: what to type; empty where nothing is known.
    """

    rows: tuple[str, ...]
    what: str
    help: str = ""


def causes(
    failures: Mapping[str, str],
    boards: Mapping[str, str] | None = None,
    hints: Mapping[str, str] | None = None,
) -> list[Cause]:
    """Rows with one cause together, in the order of their first.

    Args:
        failures: row to reason.
        boards: row to its board, whose name may begin a reason.
        hints: row to what helps.
    """
    rows: dict[str, list[str]] = {}
    for name, reason in failures.items():
        rows.setdefault(_bare(reason, name, (boards or {}).get(name, "")), []).append(name)
    found = []
    for what, names in rows.items():
        helps = dict.fromkeys(hint for name in names if (hint := (hints or {}).get(name, "")))
        found.append(Cause(tuple(names), what, "; ".join(helps)))
    return found


def names_of(cause: Cause, total: int) -> str:
    """Its rows in words: by name, or `all 8 rows`."""
    count = len(cause.rows)
    if count == total and count > 1:
        return f"all {count} rows"
    more = f" and {count - SHOWN} more" if count > SHOWN else ""
    return ", ".join(cause.rows[:SHOWN]) + more


def _bare(reason: str, row: str, board: str) -> str:
    """The reason without the row's or its board's name at its start."""
    for name in (row, board):
        if name:
            reason = reason.removeprefix(f"{name}: ").removeprefix(f"{name} ")
    return reason
