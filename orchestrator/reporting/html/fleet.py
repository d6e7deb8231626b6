"""The fleet's timeline: who did what when, why a board was idle, what failed, how warm it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.reporting.analysis.timeline import HEAD, Span, Timeline
from orchestrator.reporting.html.chart import (
    BAD,
    FAINT,
    LINES,
    SERIES,
    WARN,
    Chart,
    Spec,
    coloured,
    layer,
    layered,
    number,
    own,
    tip,
)
from orchestrator.reporting.html.times import over_seconds

# The stages after all boards' work share a colour.
_LAST = list(STAGE_FACTS)[7:]
GROUPS = {name: ", ".join(_LAST) if name in _LAST else name for name in STAGE_FACTS}
PLACES = list(dict.fromkeys(GROUPS.values()))
THIN = 6  # steps at a time on the head that are drawn in lines of their own
ROW = 20  # pixels of a line
LEAST_IDLE = 0.01  # of the run: shorter gaps are no idleness worth a mark
MARK = "\t"  # between a lane's name and the number of its line


def gantt(time: Timeline, order: Sequence[str] = ()) -> Chart | None:
    """Lanes by board, steps by stage; failed attempts are marked, idle and lost time is drawn.

    Args:
        time: the run.
        order: the boards as the table has them; others follow.
    """
    lanes = sorted(time.lanes, key=lambda lane: _place(lane, order))
    if not lanes:
        return None
    places, rows = _places(time, lanes)
    series = [name for name in PLACES if any(GROUPS.get(s.stage) == name for s in time.spans)]
    total = max(time.ended - time.began, 1e-3)
    spans = [_bar(span, places[id(span)], series, total, time.began) for span in time.spans]
    idle = [
        _idle(lane, start, end, why, time.began)
        for lane, start, end, why in idle_times(time)
        if lane in lanes
    ]
    lost = [
        {
            "line": f"{lane}{MARK}0",
            "x": start - time.began,
            "x2": max(end, start + total / 300) - time.began,
            "tip": f"{lane}\nout of the run for {end - start:.1f} s: {reason}",
        }
        for lane, start, end, reason in time.down
    ]
    failures = sum(span.outcome == "failed" for span in time.spans)
    return Chart(
        ident="timeline",
        title="Who did what when",
        alt=f"Timeline of {len(time.spans)} steps on {len(lanes)} lanes; {failures} failed.",
        caption="One line per board, in the table's order, with the head above. Thin grey: idle, "
        "with the reason where the run reported one. Red ×: failed; red +: failed and tried again; "
        "red outline: board out of the run; amber: a warning.",
        spec=_drawn(time, rows, spans, idle, lost, len(series)),
        head=("Where", "Step", "Begins, s", "Takes, s", "Outcome"),
        body=_body(time, lanes),
        series=[_present(name, time) for name in series],
        dashes=False,
    )


def _present(group: str, time: Timeline) -> str:
    """Those stages of a group that the run has."""
    did = {span.stage for span in time.spans}
    return ", ".join(stage for stage in GROUPS if GROUPS[stage] == group and stage in did)


def _place(lane: str, order: Sequence[str]) -> tuple[bool, int, str]:
    return lane != HEAD, order.index(lane) if lane in order else len(order), lane


def idle_times(time: Timeline) -> list[tuple[str, float, float, str]]:
    """(lane, start, end, why) of each gap before a step of a board, Unix seconds.

    A gap is as many parts as it has reported reasons, and what no reason covers.
    """
    found = []
    least = LEAST_IDLE * (time.ended - time.began)
    for lane in time.lanes:
        if lane == HEAD:
            continue
        end = time.began
        for span in (span for span in time.spans if span.lane == lane):
            if span.start - end > least:
                found += _reasons(time, lane, end, span, least)
            end = max(end, span.end)
    return found


def _reasons(
    time: Timeline, lane: str, end: float, span: Span, least: float
) -> list[tuple[str, float, float, str]]:
    """The parts of a gap from `end` to a step."""
    spans, at = [], end
    unknown = f"no reason reported; then {span.step}"
    for wait in time.waits:
        start, stop = max(wait.start, at), min(wait.end, span.start)
        if wait.lane != lane or stop <= start:
            continue
        if start - at > least:
            spans.append((lane, at, start, unknown))
        spans.append((lane, start, stop, wait.reason))
        at = stop
    if span.start - at > least:
        spans.append((lane, at, span.start, unknown))
    return spans


def _idle(lane: str, start: float, end: float, why: str, began: float) -> dict[str, Any]:
    return {
        "line": f"{lane}{MARK}0",
        "x": start - began,
        "x2": end - began,
        "tip": f"{lane}\nidle for {end - start:.1f} s\n{why}",
    }


def _bar(
    span: Span, line: str, series: Sequence[str], total: float, began: float
) -> dict[str, Any]:
    group = GROUPS.get(span.stage, PLACES[-1])
    again = f", attempt {span.attempt}" if span.attempt > 1 else ""
    what = f"\n{span.message}" if span.message else ""
    failed = span.outcome in ("failed", "retried")
    return {
        "s": series.index(group) if group in series else 0,
        "line": line,
        "x": span.start - began,
        "x2": max(span.end - began, span.start - began + total / 1000),
        "edge": BAD if failed else "transparent",
        "sign": {"failed": "×", "retried": "+"}.get(span.outcome, ""),
        "tip": f"{span.step}{again}\n{span.outcome} in {span.end - span.start:.1f} s{what}",
    }


def _drawn(
    time: Timeline,
    rows: Sequence[str],
    spans: Sequence[Mapping[str, Any]],
    idle: Sequence[Mapping[str, Any]],
    lost: Sequence[Mapping[str, Any]],
    count: int,
) -> Spec:
    domain = [0, max(time.ended - time.began, 1e-3) * 1.01]

    def x(field: str = "x") -> Spec:
        return number(field, "seconds since the run began", domain=domain, nice=False)

    y: Spec = {
        "field": "line",
        "type": "nominal",
        "title": None,
        "sort": list(rows),
        "scale": {"domain": list(rows), "paddingInner": 0.15},
        "axis": {
            "labelExpr": f"split(datum.value, '{MARK}')[1] == '0' ? "
            f"split(datum.value, '{MARK}')[0] : ''",
            "labelLimit": 220,
            "grid": False,
            "ticks": False,
            "labelOverlap": False,
        },
    }
    warned = [
        {
            "line": f"{mark.lane}{MARK}0",
            "x": mark.at - time.began,
            "tip": f"{mark.lane}\n{mark.message}",
        }
        for mark in time.marks
        if f"{mark.lane}{MARK}0" in rows
    ]
    signs = [span for span in spans if span["sign"]]
    return layered(
        [
            layer(
                {"type": "bar", "color": FAINT, "opacity": 0.45, "height": 4},
                idle,
                x=x(),
                y=y,
                tooltip=tip(),
                x2={"field": "x2"},
            ),
            layer(
                {"type": "bar", "filled": False, "stroke": BAD, "strokeDash": [3, 2]},
                lost,
                x=x(),
                y=y,
                tooltip=tip(),
                x2={"field": "x2"},
            ),
            layer(
                {"type": "bar", "strokeWidth": 1.5},
                spans,
                toggles=True,
                x=x(),
                y=y,
                color=coloured(count),
                stroke=own("edge"),
                tooltip=tip(),
                x2={"field": "x2"},
            ),
            layer(
                {"type": "text", "color": BAD, "fontSize": 17, "fontWeight": "bold", "dx": 7},
                signs,
                toggles=True,
                x=x("x2"),
                y=y,
                text={"field": "sign", "type": "nominal"},
                tooltip=tip(),
            ),
            layer(
                {
                    "type": "point",
                    "shape": "triangle-down",
                    "filled": True,
                    "size": 70,
                    "opacity": 1,
                    "color": WARN,
                    "yOffset": -ROW / 3,
                },
                warned,
                x=x(),
                y=y,
                tooltip=tip(),
            ),
        ],
        height=ROW * len(rows),
        toggles=True,
    )


def _places(time: Timeline, lanes: Sequence[str]) -> tuple[dict[int, str], list[str]]:
    """The line of each span, so that none hides another on the head; and all lines in order."""
    line: dict[int, str] = {}
    used: dict[str, int] = {}
    free: dict[str, list[float]] = {}
    for span in time.spans:
        ends = free.setdefault(span.lane, [])
        row = next((i for i, end in enumerate(ends) if end <= span.start), len(ends))
        if row >= THIN or (row and span.lane != HEAD):
            row = min(range(len(ends)), key=ends.__getitem__)
        if row == len(ends):
            ends.append(span.end)
        else:
            ends[row] = max(ends[row], span.end)
        line[id(span)] = f"{span.lane}{MARK}{row}"
        used[span.lane] = max(used.get(span.lane, 1), row + 1)
    return line, [f"{lane}{MARK}{n}" for lane in lanes for n in range(used.get(lane, 1))]


def _body(time: Timeline, lanes: Sequence[str]) -> list[tuple[str, ...]]:
    """All steps by lane; of very many, the longest."""
    spans = sorted(time.spans, key=lambda span: span.start - span.end)[:LINES]
    spans.sort(key=lambda span: (lanes.index(span.lane), span.start))
    return [
        (
            span.lane,
            span.step,
            f"{span.start - time.began:.1f}",
            f"{span.end - span.start:.1f}",
            span.outcome,
        )
        for span in spans
    ]


def telemetry(time: Timeline) -> list[Chart]:
    """Temperature and clock of every board that reports them, over the run."""
    charts = []
    for ident, title, unit, place in (
        ("fleet-temperature", "Temperature of the boards", "°C", 1),
        ("fleet-clock", "Clock of the boards", "MHz", 2),
    ):
        lines = {
            board: [
                (s[0] - time.began, float(str(s[place]))) for s in samples if s[place] is not None
            ]
            for board, samples in time.telemetry.items()
        }
        series = [board for board, line in lines.items() if line][: len(SERIES)]
        if not series:
            continue
        left = sum(bool(line) for line in lines.values()) - len(series)
        found = [lines[board][:: max(1, len(lines[board]) // 200)] for board in series]
        caption = "As the boards report it." + (f" {left} more boards report it." if left else "")
        charts.append(
            over_seconds(
                ident, title, unit, "seconds since the run began", series, found, caption=caption
            )
        )
    return charts
