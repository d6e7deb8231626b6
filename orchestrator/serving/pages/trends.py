"""A row over all runs: each rate and the median time, with what changed between two runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from orchestrator.columns.texts import milliseconds
from orchestrator.counting import counted
from orchestrator.reporting.html.chart import (
    GOOD,
    LINES,
    SERIES,
    WARN,
    Chart,
    Spec,
    layer,
    layered,
    number,
    own,
    tip,
)
from orchestrator.results import Verdict
from orchestrator.serving.catalogue import Entry
from orchestrator.serving.pages.points import Point, figures

# What a change of is marked, in words.
MARKED = {
    "model": "model",
    "model_sha256": "model file",
    "toolchain": "toolchain",
    "runtime": "runtime",
    "board": "board",
    "executed_by": "executed by",
    "test_set": "test set",
}
HASHES = ("model_sha256", "test_set")
SHOWN = 200  # runs


def rows_page(entries: Iterable[Entry], words: str) -> dict[str, Any]:
    """What the list of rows fills in; the row with the newest figures first.

    Args:
        entries: the newest run first.
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for name, point in entry.listed.points.items():
            line = found.setdefault(
                name, {"name": name, "runs": 0, "run": entry.name} | _shown(point)
            )
            line["runs"] += 1
    asked = words.lower().split()
    rows = [row for row in found.values() if all(word in _text(row) for word in asked)]
    return {"rows": rows, "total": len(found), "words": words}


def _shown(point: Point) -> dict[str, Any]:
    return figures(point) | {"executed_by": point["executed_by"], "board": point["board"]}


def _text(row: Mapping[str, Any]) -> str:
    return " ".join(str(row[key]) for key in ("name", "run", "executed_by", "board")).lower()


def trend_page(entries: Sequence[Entry], row: str) -> dict[str, Any] | None:
    """What a row's template fills in; None where no run has the row.

    Args:
        entries: the newest run first.
    """
    found = [(e.name, e.listed.points[row]) for e in reversed(entries) if row in e.listed.points]
    if not found:
        return None
    total = len(found)
    points = [point | {"folder": name} for name, point in found[-SHOWN:]]
    before: list[Point | None] = [None, *points[:-1]]
    changed = [_changes(*pair) for pair in zip(before, points, strict=True)]
    headings = [rate["heading"] for rate in points[-1]["rates"]]
    charts = [chart for place in headings if (chart := _rate(points, changed, place)) is not None]
    timed = _time(points, changed)
    lines = [_line(point, what, headings) for point, what in zip(points, changed, strict=True)]
    return {
        "row": row,
        "total": total,
        "headings": headings,
        "charts": [*charts, *([timed] if timed is not None else [])],
        "lines": list(reversed(lines)),
        "apart": len({point["test_set"] for point in points}) > 1,
    }


def _changes(before: Point | None, now: Point) -> list[str]:
    """What is not as in the run before, `toolchain: tengine 1.2 → tengine 1.3`."""
    if before is None:
        return []
    found = []
    for key, name in MARKED.items():
        if before[key] != now[key]:
            most = 10 if key in HASHES else 80
            found.append(f"{name}: {before[key][:most] or '–'} → {now[key][:most] or '–'}")
    if not found and before["artifact_sha256"] != now["artifact_sha256"]:
        found.append("artifact: converted to another file")
    return found


def _line(point: Point, changed: Sequence[str], headings: Sequence[str]) -> dict[str, Any]:
    texts = {rate["heading"]: rate["text"] for rate in point["rates"]}
    return {
        "run": point["folder"],
        "began": _day(point["began"]),
        "time": milliseconds(point["p50_ms"]),
        "rates": [texts.get(heading, "–") for heading in headings],
        "verdict": point["verdict"] + (", partial" if point["partial"] else ""),
        "executed_by": point["executed_by"],
        "changed": changed,
    }


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _marks(points: Sequence[Point], changed: Sequence[Sequence[str]]) -> Spec:
    rows = [
        {"x": place - 0.5, "tip": f"before {point['run']}:\n" + "\n".join(what)}
        for place, (point, what) in enumerate(zip(points, changed, strict=True), 1)
        if what
    ]
    mark = {"type": "rule", "color": WARN, "strokeDash": [4, 3], "strokeWidth": 2}
    return layer(mark, rows, x=_runs(len(points)), tooltip=tip())


def _runs(count: int) -> Spec:
    whole = {"format": "d", "tickMinStep": 1}
    return number("x", "runs, oldest first", axis=whole, domain=[0.5, count + 0.5])


def _rate(points: Sequence[Point], changed: Sequence[Sequence[str]], heading: str) -> Chart | None:
    """One rate with its interval, in percent; each test set has a colour of its own."""
    sets = list(dict.fromkeys(point["test_set"] for point in points))
    rows = []
    for place, point in enumerate(points, 1):
        found = next((rate for rate in point["rates"] if rate["heading"] == heading), None)
        if found is None or found["value"] is None:
            continue
        low = found["low"] if found["low"] is not None else found["value"]
        high = found["high"] if found["high"] is not None else found["value"]
        rows.append(
            {
                "x": place,
                "y": 100 * found["value"],
                "low": 100 * low,
                "high": 100 * high,
                "set": point["test_set"],
                "colour": SERIES[sets.index(point["test_set"]) % len(SERIES)],
                "tip": f"{point['run']}, {_day(point['began'])}\n"
                f"{heading} {100 * found['value']:.2f} [{100 * low:.2f}, {100 * high:.2f}]",
                "run": point["folder"],
            }
        )
    if not rows:
        return None
    x, y = _runs(len(points)), number("y", f"{heading}, %")
    drawn = layered(
        [
            _marks(points, changed),
            *(
                layer({"type": "line", "strokeWidth": 1}, part, x=x, y=y, color=own())
                for test in sets
                if (part := [row for row in rows if row["set"] == test])
            ),
            layer({"type": "rule"}, rows, x=x, y=number("low"), y2={"field": "high"}, color=own()),
            layer(
                {"type": "point", "filled": True, "size": 50, "opacity": 1},
                rows, x=x, y=y, color=own(), tooltip=tip(),
            ),
        ],
        height=220,
    )  # fmt: skip
    last = rows[-1]
    apart = " A colour is a test set: rates of two are not comparable." if len(sets) > 1 else ""
    return Chart(
        f"rate-{heading}".replace("@", "-").replace("<=", "-").replace(".", "-"),
        heading,
        f"{heading} over {counted(len(rows), 'run')}, {last['y']:.2f} % in the newest",
        f"Points with their interval; dashed: something changed, see the table.{apart}",
        drawn,
        ("Run", heading, "low", "high"),
        [(r["run"], f"{r['y']:.2f}", f"{r['low']:.2f}", f"{r['high']:.2f}") for r in rows[-LINES:]],
    )


def _time(points: Sequence[Point], changed: Sequence[Sequence[str]]) -> Chart | None:
    """The median time; runs in which no board was timed are left out."""
    rows = []
    for place, point in enumerate(points, 1):
        if point["p50_ms"] is None:
            continue
        low, high = point["p50_of_blocks_ms"] or (point["p50_ms"], point["p50_ms"])
        good = point["verdict"] == Verdict.VALID
        rows.append(
            {
                "x": place,
                "y": point["p50_ms"],
                "low": low,
                "high": high,
                "colour": GOOD if good else WARN,
                "tip": f"{point['run']}, {_day(point['began'])}\np50 {point['p50_ms']:.2f} ms, "
                f"blocks {low:.2f} to {high:.2f}\n{point['verdict']}",
                "run": point["folder"],
                "verdict": point["verdict"],
            }
        )
    if not rows:
        return None
    x, y = _runs(len(points)), number("y", "p50, ms")
    drawn = layered(
        [
            _marks(points, changed),
            layer({"type": "rule"}, rows, x=x, y=number("low"), y2={"field": "high"}, color=own()),
            layer(
                {"type": "point", "filled": True, "size": 50, "opacity": 1},
                rows, x=x, y=y, color=own(), tooltip=tip(),
            ),
        ],
        height=220,
    )  # fmt: skip
    return Chart(
        "time",
        "p50",
        f"Median time over {counted(len(rows), 'run')}, {rows[-1]['y']:.2f} ms in the newest",
        "Points: the run's median; lines: the lowest and the highest median of its blocks. "
        "Green is VALID, yellow is not.",
        drawn,
        ("Run", "p50 ms", "lowest block", "highest block", "Verdict"),
        [
            (r["run"], f"{r['y']:.2f}", f"{r['low']:.2f}", f"{r['high']:.2f}", r["verdict"])
            for r in rows[-LINES:]
        ],
    )
