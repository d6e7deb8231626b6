"""Charts of accuracy: the main rate against time, and each row's difference from float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log

from orchestrator.columns.tasks import judged
from orchestrator.columns.texts import milliseconds, p_text
from orchestrator.reporting.analysis.figures import valid_time
from orchestrator.reporting.html.chart import (
    BAD,
    FAINT,
    GOOD,
    INK,
    MANY,
    NEUTRAL,
    SERIES,
    STEP,
    Chart,
    Spec,
    layer,
    layered,
    lines,
    number,
    own,
    rule_at,
    tip,
)
from orchestrator.results import CellResult

NAMED = 40  # points that carry a name; of more, only those on the line have a bar
AXIS_MS = {"format": "~g", "labelOverlap": "greedy"}


def timed(rows: Sequence[CellResult]) -> list[CellResult]:
    """The rows with a main rate and a valid time."""
    main = judged(rows).main
    return [row for row in rows if main.of(row).value is not None and valid_time(row)]


def too_few(rows: Sequence[CellResult], names: Mapping[str, str]) -> str:
    """The sentence in place of the chart where fewer than two rows have a time; empty else."""
    found = timed(rows)
    if len(found) > 1 or not rows:
        return ""
    only = ""
    for row in found:
        only = f" ({names[row.name]}, {milliseconds(row.p50_ms)})"
    count = "one" if found else "none"
    return (
        f"{judged(rows).main.words} against time needs two rows with a valid time of their own "
        f"board; this run has {count}{only}."
    )


def pareto(times: Sequence[float], rates: Sequence[float]) -> list[int]:
    """Indices of the points that no other point beats in both, by rising time."""
    order = sorted(range(len(times)), key=lambda i: (times[i], -rates[i]))
    front: list[int] = []
    for i in order:
        if not front or rates[i] > rates[front[-1]]:
            front.append(i)
    return front


def accuracy_latency(rows: Sequence[CellResult], names: Mapping[str, str]) -> Chart | None:
    """Main rate against p50 with the Pareto line and float32's interval; None below two rows."""
    words = judged(rows).main.words
    found = timed(rows)
    if len(found) < 2:
        return None
    times = [row.p50_ms for row in found if row.p50_ms is not None]
    rates = [_all(row)[0] or 0.0 for row in found]
    front = pareto(times, rates)
    label = _placements(times, rates)
    points = []
    for place, (row, ms) in enumerate(zip(found, times, strict=True)):
        value, low, high = (100 * (v or 0.0) for v in _all(row))
        points.append(
            {
                "ms": ms,
                "rate": value,
                "low": low,
                "high": high,
                "name": names[row.name],
                "colour": _colour(row, SERIES[0]),
                "where": label[place] if len(found) <= NAMED or place in front else "",
                "tip": f"{names[row.name]}\n{words} {value:.2f} % [{low:.1f}, {high:.1f}]\n"
                + milliseconds(ms, 2),
            }
        )
    x = number(
        "ms",
        "median of one inference on its board, ms (log)",
        axis=AXIS_MS,
        type="log",
        nice=False,
        padding=40,
    )
    y = number("rate", f"{words}, %", padding=16)
    bars = points if len(found) <= NAMED else [points[i] for i in front]
    layers = [
        *_bands(rows),
        *_front([points[i] for i in front], x, y),
        layer({"type": "rule"}, bars, x=x, y=number("low"), y2={"field": "high"}, color=own()),
        layer(
            {"type": "point", "filled": True, "size": 80, "opacity": 1},
            points,
            x=x,
            y=y,
            color=own(),
            tooltip=tip(),
        ),
        *_labels(points, x, y),
    ]
    best = [names[found[i].name] for i in front]
    barred = f"Bars: the interval of {words}"
    if len(found) > NAMED:
        barred += ", of the rows on the line"
    return Chart(
        ident="accuracy-time",
        title=f"{words} against time",
        alt=f"{words} of {len(found)} rows against their median time; no other row is both faster "
        f"and more accurate than {', '.join(best)}.",
        caption=f"The line joins rows that no other row beats in both (Pareto). {barred}; "
        "grey band: float32's. Red and green differ significantly from "
        "float32. Rows without a valid time are not here.",
        spec=layered(layers, height=340),
        head=("Row", "Median", f"{words}, %", "Interval", "On the Pareto line"),
        body=[
            (
                names[row.name],
                milliseconds(ms, 3),
                f"{100 * rate:.2f}",
                _interval(row),
                "yes" if place in front else "no",
            )
            for place, (row, ms, rate) in enumerate(zip(found, times, rates, strict=True))
        ],
    )


def _front(points: Sequence[Mapping[str, object]], x: Spec, y: Spec) -> list[Spec]:
    """The Pareto line; a single row needs none."""
    mark = {"type": "line", "interpolate": "step-after", "color": FAINT, "strokeWidth": 1.5}
    return [layer(mark, points, x=x, y=y)] if len(points) > 1 else []


def _all(row: CellResult) -> tuple[float | None, float | None, float | None]:
    rate = judged([row]).main.of(row)
    value = rate.value
    return value, value if rate.low is None else rate.low, value if rate.high is None else rate.high


def _interval(row: CellResult) -> str:
    _, low, high = _all(row)
    return f"{100 * (low or 0.0):.2f} to {100 * (high or 0.0):.2f}"


def _bands(rows: Sequence[CellResult]) -> list[Spec]:
    """float32's main rate and its interval, one for each model."""
    references = {
        row.model: row
        for row in reversed(rows)
        if row.dtype == "float32" and row.difference is None and _all(row)[0] is not None
    }
    layers = []
    for row in references.values():
        value, low, high = (100 * (v or 0.0) for v in _all(row))
        band = [{"low": low, "high": high}]
        layers.append(
            layer(
                {"type": "rect", "color": NEUTRAL, "opacity": 0.18},
                band,
                y=number("low"),
                y2={"field": "high"},
            )
        )
        layers.append(rule_at("y", value, NEUTRAL, strokeDash=[4, 3]))
    return layers


def _placements(times: Sequence[float], rates: Sequence[float]) -> list[str]:
    """Where each name stands, so that few cover another: greedy, on a plot of usual size."""
    xs, ys = [log(ms) for ms in times], list(rates)
    wide, high = (max(v) - min(v) or 1.0 for v in (xs, ys))
    spots = [(760 * (x - min(xs)) / wide, 250 * (max(ys) - y) / high) for x, y in zip(xs, ys)]  # noqa: B905
    boxes: list[tuple[float, float]] = []
    chosen = []
    for x, y in spots:
        sides = ("right", "above", "below", "left")
        if x > 380:
            sides = ("left", "above", "below", "right")
        centres = {
            "right": (x + 75, y),
            "left": (x - 75, y),
            "above": (x, y - 16),
            "below": (x, y + 16),
        }
        free = [
            side
            for side in sides
            if all(
                abs(centres[side][0] - bx) > 130 or abs(centres[side][1] - by) > 14
                for bx, by in boxes
            )
        ]
        side = (free or list(sides))[0]
        boxes.append(centres[side])
        chosen.append(side)
    return chosen


def _labels(points: Sequence[Mapping[str, object]], x: Spec, y: Spec) -> list[Spec]:
    how: dict[str, Spec] = {
        "right": {"align": "left", "dx": 9},
        "left": {"align": "right", "dx": -9},
        "above": {"align": "center", "dy": -13},
        "below": {"align": "center", "dy": 14},
    }
    return [
        layer(
            {"type": "text", "color": INK, "fontSize": 12, **mark},
            shown,
            x=x,
            y=y,
            text={"field": "name", "type": "nominal"},
        )
        for side, mark in how.items()
        if (shown := [point for point in points if point["where"] == side])
    ]


def _colour(row: CellResult, usual: str) -> str:
    if row.difference is None or not row.difference.real:
        return usual
    return BAD if change(row) < 0 else GOOD


def change(row: CellResult) -> float:
    """Its main rate minus float32's, as a fraction; 0 where nothing was compared."""
    if row.difference is None:
        return 0.0
    return judged([row]).main.change(row.difference).value or 0.0


def differences(rows: Sequence[CellResult], names: Mapping[str, str]) -> Chart | None:
    """The main rate against float32's with intervals and p; coloured where it is significant."""
    by = judged(rows)
    compared = [row for row in rows if row.difference is not None]
    shown = compared
    if len(compared) > MANY:
        largest = sorted(compared, key=lambda row: -abs(change(row)))[:MANY]
        shown = [row for row in compared if row in largest]
    if not shown:
        return None
    points, body = [], []
    for row in shown:
        found = row.difference
        assert found is not None
        value = 100 * change(row)
        low, high = (100 * (v if v is not None else change(row)) for v in _ends(row))
        p = "not adjusted" if found.p_holm is None else f"{found.p_holm:.2g}"
        kind = "significant" if found.real else "not significant"
        points.append(
            {
                "row": names[row.name],
                "value": value,
                "low": low,
                "high": high,
                "colour": _colour(row, NEUTRAL),
                "p": "" if found.p_holm is None else p_text(found.p_holm),
                "tip": f"{names[row.name]}\n{value:+.2f} points [{low:+.2f}, {high:+.2f}]\n"
                f"p (Holm) {p}: {kind}",
            }
        )
        body.append(
            (
                names[row.name],
                f"{value:+.2f}",
                f"{low:+.2f} to {high:+.2f}",
                str(found.only_reference),
                str(found.only_cell),
                f"{found.p:.3g}",
                p,
                kind,
            )
        )
    return Chart(
        ident="differences-chart",
        title=f"{by.main.words} minus float32's",
        alt=f"Each row's difference of {by.main.words} from float32 with its interval and p value.",
        caption=f"Bars: 95 % intervals, paired over {by.over}. p: {by.test}, adjusted "
        "after Holm. Red and green: significant; grey: not significant."
        + (
            f" The {len(shown)} largest of {len(compared)} differences."
            if len(shown) < len(compared)
            else ""
        ),
        spec=forest(points, [names[row.name] for row in shown]),
        head=(
            "Row",
            "Points",
            "Interval",
            "Only float32 finds",
            "Only this row finds",
            "p",
            "p (Holm)",
            "Significance",
        ),
        body=body,
    )


def _ends(row: CellResult) -> tuple[float | None, float | None]:
    assert row.difference is not None
    found = judged([row]).main.change(row.difference)
    return found.low, found.high


def forest(points: Sequence[Mapping[str, object]], names: Sequence[str]) -> Spec:
    """Differences with intervals, a line each, around 0.

    Args:
        points: `row`, `value`, `low` and `high` in points, `colour`, `p` and `tip` in words.
        names: the rows, from above.
    """
    ends = [float(str(point[end])) for point in points for end in ("low", "high")]
    low, high = min(0.0, *ends), max(0.0, *ends)
    wide = (high - low) or 1.0
    domain = [low - 0.05 * wide, high + 0.3 * wide]  # room for p at the right
    x = number("value", "points (0 is float32)", domain=domain, nice=False)
    y = lines(names)
    return layered(
        [
            rule_at("x", 0.0),
            layer(
                {"type": "rule", "strokeWidth": 2},
                points,
                x=number("low", x["title"], domain=domain, nice=False),
                x2={"field": "high"},
                y=y,
                color=own(),
            ),
            layer(
                {"type": "point", "filled": True, "size": 90, "opacity": 1},
                points,
                x=x,
                y=y,
                color=own(),
                tooltip=tip(),
            ),
            layer(
                {"type": "text", "align": "right", "dx": -2, "color": INK, "fontSize": 12},
                points,
                x={"value": "width"},
                y=y,
                text={"field": "p", "type": "nominal"},
            ),
        ],
        height=STEP * len(names),
    )
