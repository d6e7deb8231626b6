"""How boards are shown: the fleet's table, one board's page, and the same as JSON."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from orchestrator.fleet.boards.health import Health
from orchestrator.fleet.transport.untrusted import headline
from orchestrator.reporting.board_words import (
    age,
    described_lines,
    doubt,
    place,
    proof_words,
    runtime_words,
    standing_words,
    state_now,
    where,
)
from orchestrator.reporting.tables.fitting import Column, fitted
from orchestrator.specs.inventory import Board
from orchestrator.store.fleet_entries import Added, Checked, Entry
from orchestrator.store.fleet_log import Standing
from orchestrator.store.reservations import clock

COLOURS = {
    "ready": "green",
    "busy": "cyan",
    "reserved": "cyan",
    "draining": "yellow",
    "unproved": "yellow",
}
SHOWN = 10
_LONG = 400


def fleet_table(
    boards: Sequence[Board], standings: Mapping[str, Standing], holders: Mapping[str, Any]
) -> None:
    """Print the fleet.

    Args:
        holders: by board, who has its lock (a mapping), or the words why it was not reported; empty
            when nobody asked.
    """
    console = Console(highlight=False)
    console.print(fleet_rows(boards, standings, holders, console.width))


# Kind first, then temperature and the last check, then the runtime and why, then where it is.
COLUMNS = (
    Column("Board"),
    Column("Kind", drop=5),
    Column("Where", drop=1),
    Column("State"),
    Column("Checked", drop=3),
    Column("°C", drop=4, right=True),
    Column("Runtime, reason", drop=2, wraps=True),
)


def fleet_rows(
    boards: Sequence[Board],
    standings: Mapping[str, Standing],
    holders: Mapping[str, Any],
    width: int,
) -> Table:
    """The fleet's table for a terminal of this width."""
    rows: list[list[str | Text]] = []
    for board in boards:
        standing = standings[board.name]
        state, reason = state_now(standing, holders.get(board.name))
        heat = standing.temperature_c
        remarks = "; ".join(filter(None, (runtime_words(board, standing), doubt(standing), reason)))
        rows.append(
            [
                headline(board.name, _LONG),
                headline(board.kind, _LONG),
                headline(where(board), _LONG),
                Text(state, COLOURS.get(state, "red")),
                age(standing.proved_at),
                "" if heat is None else f"{heat:.0f}",
                headline(remarks, 1000),
            ]
        )
    # A column in which no board has anything says nothing.
    places = [n for n, column in enumerate(COLUMNS) if not column.drop or any(r[n] for r in rows)]
    return fitted([COLUMNS[n] for n in places], [[row[n] for n in places] for row in rows], width)


def board_page(board: Board, standing: Standing, entries: Iterable[Entry]) -> None:
    """Print one board."""
    console = Console(highlight=False, soft_wrap=True)
    state, reason = standing_words(standing)
    colour = COLOURS.get(state, "red")
    why = f": {_safe(reason)}" if reason else ""
    console.print(f"[bold]{_safe(board.name)}[/]  [{colour}]{state}[/]{why}")
    lines = [("kind", f"{board.kind} ({board.hardware}, {board.provider})"), ("at", place(board))]
    lines += described_lines(board.kind, standing.described)
    lines.append(("last passed check", age(standing.proved_at)))
    lines.append(("last check", age(standing.checked_at)))
    for number, each in enumerate(standing.reserved, 1):
        when = f"{clock(each.begins)} to {clock(each.ends)}"
        lines.append((f"reservation {number}", f"{each.by}, {when}: {each.why}"))
    if standing.temperature_c is not None:
        lines.append(("temperature", f"{standing.temperature_c:.1f} °C when checked"))
    lines += [(f"version of {name}", text) for name, text in sorted(standing.versions.items())]
    lines += [(f"runtime {p.runtime}", proof_words(p)) for p in standing.proofs.values()]
    history = list(entries)
    probe = next((e.probe for e in reversed(history) if isinstance(e, Added) and e.probe), {})
    for key in ("model", "compatible", "libraries", "drivers", "devices", "clocks_mhz"):
        if probe.get(key):
            lines.append((key, _words(probe[key])))
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        console.print(f"  [dim]{name:<{width}}[/]  {_safe(text)}")
    for entry in history[-SHOWN:]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.at))
        state = f" {entry.state}" if isinstance(entry, Checked) else ""
        reason = getattr(entry, "reason", "")
        console.print(
            f"  [dim]{when}[/]  {entry.event}{state}"
            + (f": {_safe(reason)}" if reason else "")
            + (f" [dim]by {_safe(entry.by)}[/]" if entry.by else "")
        )


def health_lines(board: Board, health: Health) -> Iterator[str]:
    """A check as plain lines."""
    yield f"{board.name}: {health.state}" + (
        f": {headline(health.reason, _LONG)}" if health.reason else ""
    )
    for what, text in described_lines(board.kind, health.described):
        yield f"  {what}: {headline(text, _LONG)}"
    for proof in health.proofs:
        yield f"  {proof.runtime}: {headline(proof_words(proof), _LONG)}"
    if health.noise:
        yield f"  its login shell prints {health.noise}: ignored"
    if health.hint and health.state != "ready":
        yield from (f"  {line}" for line in health.hint.splitlines())


def health_json(health: Health) -> dict[str, Any]:
    """A check for programs."""
    return {
        "state": health.state,
        "reason": health.reason,
        "proofs": [proof.model_dump() for proof in health.proofs],
        "versions": health.versions,
        "temperature_c": health.temperature_c,
        "described": health.described.model_dump(mode="json"),
        "noise": health.noise,
    }


def board_json(board: Board, standing: Standing, holders: Mapping[str, Any]) -> dict[str, Any]:
    """A board for programs."""
    state, reason = state_now(standing, holders.get(board.name))
    return {
        "name": board.name,
        "kind": board.kind,
        "at": place(board),
        "transport": board.transport.type,
        "machine": board.machine,
        "executed_by": board.executed_by,
        "runtime": board.runtime.name,
        "state": state,
        "reason": reason,
        "drained": standing.drained,
        "reserved": [asdict(each) for each in standing.reserved],
        "proved_at": standing.proved_at,
        "checked_at": standing.checked_at,
        "temperature_c": standing.temperature_c,
        "versions": dict(standing.versions),
        "described": standing.described.model_dump(mode="json"),
        "proofs": [proof.model_dump() for proof in standing.proofs.values()],
    }


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(each)}".strip() for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _safe(text: str) -> str:
    return escape(headline(text, 1000))
