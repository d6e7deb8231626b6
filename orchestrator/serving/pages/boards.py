"""The fleet's page, and a page for each board."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.reporting.board_words import (
    age,
    described_lines,
    doubt,
    place,
    proof_words,
    reserved_words,
    runtime_words,
    standing_words,
    where,
)
from orchestrator.reporting.html.chart import BAD, LINES, NEUTRAL, SERIES, Chart, layer, layered
from orchestrator.reporting.html.chart import number as channel
from orchestrator.serving.catalogue import Entry
from orchestrator.serving.fleet import Fleet, Held
from orchestrator.serving.pages.points import figures
from orchestrator.serving.pages.run import COLOURS
from orchestrator.specs.inventory import Board
from orchestrator.store.fleet_entries import Checked, Drained, Quarantined, Worked
from orchestrator.store.fleet_entries import Entry as Line
from orchestrator.store.fleet_log import Standing
from orchestrator.store.reservations import clock

NO_BOARD = ""  # in the fleet log, of what was asked for that is no board's
SHOWN = 40  # lines of a board's history
Sample = tuple[float, float | None, float | None]


def boards_page(fleet: Fleet, held: Mapping[str, Held], words: str) -> dict[str, Any]:
    """What the fleet's template fills in; boards in the inventory's order."""
    lines = [
        _line(board, fleet.standings[board.name], held.get(board.name)) for board in fleet.boards
    ]
    asked = words.lower().split()
    shown = [line for line in lines if all(word in line["text"] for word in asked)]
    counts: dict[str, int] = {}
    for line in lines:
        counts[line["state"]] = counts.get(line["state"], 0) + 1
    return {
        "boards": shown,
        "total": len(lines),
        "counts": ", ".join(f"{count} {state}" for state, count in counts.items()),
        "words": words,
        "problem": fleet.problem,
    }


def _line(board: Board, standing: Standing, held: Held | None) -> dict[str, Any]:
    state, reason = standing_now(standing, held)
    heat = standing.temperature_c
    remarks = "; ".join(filter(None, (doubt(standing), reason)))
    line = {
        "name": board.name,
        "kind": board.kind,
        "where": where(board),
        "executed_by": board.executed_by,
        "state": state,
        "colour": COLOURS.get(state, "neutral"),
        "run": held.run if held else "",
        "checked": age(standing.proved_at),
        "checked_v": f"{standing.proved_at or 0:.0f}",
        "heat": "–" if heat is None else f"{heat:.0f}",
        "heat_v": "" if heat is None else f"{heat:.2f}",
        "runtime": runtime_words(board, standing),
        "remarks": remarks,
    }
    return line | {"text": " ".join(map(str, line.values())).lower()}


def standing_now(standing: Standing, held: Held | None) -> tuple[str, str]:
    """A board's state and why, with which run has it."""
    if held is None:
        return standing_words(standing)
    by = f"held by run {held.run}" + (f" for {held.step}" if held.step else "")
    reserved = reserved_words(standing)
    state = "draining" if standing.drained else "busy"
    return state, "; ".join(filter(None, (by, reserved)))


GONE: dict[str, Any] = {
    "state": "not in the inventory",
    "colour": "neutral",
    "reason": "",
    "reserved": [],
    "facts": [],
    "versions": [],
    "proofs": [],
    "next": "",
}
"""What a board's template fills in of a board that was taken out."""


def board_about(board: Board, standing: Standing) -> dict[str, Any]:
    """What a board's template fills in of its entry and its standing."""
    state, reason = standing_words(standing)
    facts = [("Kind", f"{board.kind} ({board.hardware}, {board.provider})"), ("At", place(board))]
    facts += [("Executed by", board.executed_by), ("Runtime", board.runtime.name)]
    described = described_lines(board.kind, standing.described)
    facts += [(name.capitalize(), text) for name, text in described]
    facts.append(("Last passed check", age(standing.proved_at)))
    facts.append(("Last check", age(standing.checked_at)))
    return {
        "state": state,
        "colour": COLOURS.get(state, "neutral"),
        "reason": reason,
        "reserved": [
            {"by": each.by, "why": each.why, "from": clock(each.begins), "to": clock(each.ends)}
            for each in standing.reserved
        ],
        "facts": facts,
        "versions": sorted(standing.versions.items()),
        "proofs": [(proof.runtime, proof_words(proof)) for proof in standing.proofs.values()],
        "next": "" if standing.state == "ready" else standing.remedy(board.name),
    }


def board_page(
    name: str,
    held: Held | None,
    history: Sequence[Line],
    samples: Mapping[str, Sequence[Sample]],
    entries: Iterable[Entry],
) -> dict[str, Any]:
    """What a board's template fills in of what happened to it.

    Args:
        history: its lines of the fleet log, oldest first.
        samples: of runs that were looked at, by their name, what its sensors said.
        entries: all runs, the newest first.
    """
    return {
        "name": name,
        "held": held,
        "charts": [
            *_of_checks(history),
            *(chart for run, found in samples.items() for chart in _of_run(run, found)),
        ],
        "history": [_said(line) for line in reversed(history[-SHOWN:])],
        "older": max(0, len(history) - SHOWN),
        "rows": _rows(name, entries),
    }


def asked_lines(history: Sequence[Line]) -> list[dict[str, str]]:
    """What was asked for on pages that is no board's, the newest first.

    Args:
        history: the fleet log's lines of `NO_BOARD`, oldest first.
    """
    return [_said(line) for line in reversed(history[-SHOWN:])]


def _said(line: Line) -> dict[str, str]:
    state = f" {line.state}" if isinstance(line, Checked) else ""
    bad = isinstance(line, Quarantined) or (isinstance(line, Checked) and line.state != "ready")
    colour = "bad" if bad else "warn" if isinstance(line, Drained) else "neutral"
    heat = line.temperature_c if isinstance(line, Checked | Worked) else None
    return {
        "when": _clock(line.at),
        "what": f"{line.event}{state}",
        "why": str(getattr(line, "reason", "")),
        "by": line.by,
        "heat": "" if heat is None else f"{heat:.1f} °C",
        "colour": colour,
    }


def _rows(board: str, entries: Iterable[Entry]) -> list[dict[str, str]]:
    """The newest figures of each row that this board executed."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        for name, point in entry.listed.points.items():
            if point["board"] == board and name not in found:
                found[name] = {"row": name, "run": entry.name} | figures(point)
    return list(found.values())


def _of_checks(history: Sequence[Line]) -> list[Chart]:
    """Temperatures that checks and ends of work found, over days."""
    seen = [
        (line.at, line.temperature_c, line.event)
        for line in history
        if isinstance(line, Checked | Worked) and line.temperature_c is not None
    ]
    if len(seen) < 2:
        return []
    rows = [
        {"x": 1000 * at, "y": heat, "tip": f"{_clock(at)}: {heat:.1f} °C ({event})"}
        for at, heat, event in seen
    ]
    spec = layered(
        [
            layer({"type": "line", "color": NEUTRAL}, rows, x=_when(), y=channel("y", "°C")),
            layer(
                {"type": "point", "filled": True, "color": SERIES[0]},
                rows,
                x=_when(),
                y=channel("y", "°C"),
                tooltip={"field": "tip", "type": "nominal"},
            ),
        ],
        height=180,
    )
    body = [(_clock(at), f"{heat:.1f}", event) for at, heat, event in seen[-LINES:]]
    return [
        Chart(
            "checks",
            "Temperature when it was checked or given back",
            f"{len(seen)} temperatures between {_clock(seen[0][0])} and {_clock(seen[-1][0])}",
            "From the fleet log.",
            spec,
            ("When", "°C", "At"),
            body,
        )
    ]


def _of_run(run: str, samples: Sequence[Sample]) -> list[Chart]:
    """Temperature and clock during a run."""
    found = []
    for place_, ident, title, unit in (
        (1, "heat", "Temperature", "°C"),
        (2, "clock", "Clock", "MHz"),
    ):
        seen = [(at, value) for at, *both in samples if (value := both[place_ - 1]) is not None]
        if len(seen) < 2:
            continue
        rows = [
            {"x": at - seen[0][0], "y": value, "tip": f"{_clock(at)}: {value:.0f} {unit}"}
            for at, value in seen
        ]
        colour = BAD if ident == "heat" else SERIES[0]
        mark = {"type": "line", "color": colour, "point": {"size": 12, "color": colour}}
        tip = {"field": "tip", "type": "nominal"}
        drawn = layer(mark, rows, x=channel("x", "seconds"), y=channel("y", unit), tooltip=tip)
        found.append(
            Chart(
                f"{ident}-{run}",
                f"{title} in run {run}",
                f"{title} over {seen[-1][0] - seen[0][0]:.0f} s, "
                f"{min(v for _, v in seen):.0f} to {max(v for _, v in seen):.0f} {unit}",
                f"The last {len(seen)} samples of the run's log.",
                layered([drawn], height=160),
                ("When", unit),
                [(_clock(at), f"{value:.1f}") for at, value in seen[-LINES:]],
            )
        )
    return found


def _when() -> dict[str, Any]:
    return {"field": "x", "type": "temporal", "title": None}


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
