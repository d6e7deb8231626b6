"""Charts of measured time: how single inferences spread, and whether boards keep their pace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.columns.texts import milliseconds
from orchestrator.reporting.analysis.figures import Float64, TimesOf
from orchestrator.reporting.html.accuracy import AXIS_MS
from orchestrator.reporting.html.chart import (
    INK,
    LINES,
    MANY,
    SERIES,
    STEP,
    WARN,
    Chart,
    Spec,
    coloured,
    dashed,
    layer,
    layered,
    lines,
    number,
    own,
    rule_at,
    short,
    tip,
)
from orchestrator.results import Verdict
from orchestrator.stages.latency import Sustained
from orchestrator.stages.latency import sustained as made_sustained

CURVES = 8
PERCENTILES = (1, 25, 50, 75, 99)


def latencies(times: Sequence[TimesOf], names: Mapping[str, str]) -> Chart | None:
    """How the single inferences of each board spread; only times that boards made."""
    ordered = [one for one in times if one.on_board]
    shown = ordered[:MANY]
    if not shown:
        return None
    points = [_spread(one, names) for one in shown]
    return Chart(
        ident="latencies",
        title="Times of single inferences",
        alt=f"Spread of the single inference times of {len(shown)} measurements.",
        caption="Line: 1st to 99th percentile; bar: middle half; tick: median; dot: slowest. "
        f"Amber: the verdict is {Verdict.SUSPECT}."
        + (f" {len(shown)} of {len(ordered)} measurements." if len(shown) < len(ordered) else ""),
        spec=_boxes(points),
        head=("Row", "Inferences", *(f"p{p}, ms" for p in PERCENTILES), "slowest, ms", "Verdict"),
        body=[
            (
                point["row"],
                point["count"],
                *(f"{point[f'p{p}']:.3f}" for p in PERCENTILES),
                f"{point['max']:.3f}",
                point["verdict"],
            )
            for point in points
        ],
    )


def _spread(one: TimesOf, names: Mapping[str, str]) -> dict[str, Any]:
    text = short(", ".join(names[name] for name in one.names), 44)
    found = dict(
        zip(PERCENTILES, map(float, np.percentile(one.device_ms, PERCENTILES)), strict=True)
    )
    return {
        "row": text,
        "colour": SERIES[0] if one.verdict == Verdict.VALID else WARN,
        "count": f"{one.device_ms.size:,}",
        "verdict": one.verdict,
        "max": float(one.device_ms.max()),
        "tip": f"{text}\nmedian {milliseconds(found[50], 2)}, p99 {milliseconds(found[99], 2)}\n"
        f"{one.device_ms.size:,} inferences, {one.verdict}",
        **{f"p{p}": value for p, value in found.items()},
    }


def _boxes(points: Sequence[Mapping[str, Any]]) -> Spec:
    y = lines([point["row"] for point in points])

    def x(field: str) -> Spec:
        title = "one inference, ms (log)"
        return number(field, title, axis=AXIS_MS, type="log", nice=False, padding=12)

    return layered(
        [
            layer(
                {"type": "rule", "strokeWidth": 1.5},
                points,
                x=x("p1"),
                x2={"field": "p99"},
                y=y,
                color=own(),
            ),
            layer(
                {"type": "bar", "height": 10, "opacity": 0.6},
                points,
                x=x("p25"),
                x2={"field": "p75"},
                y=y,
                color=own(),
                tooltip=tip(),
            ),
            layer(
                {"type": "tick", "thickness": 2, "color": INK, "size": 14},
                points,
                x=x("p50"),
                y=y,
                tooltip=tip(),
            ),
            layer(
                {"type": "point", "filled": True, "size": 30, "opacity": 1},
                points,
                x=x("max"),
                y=y,
                color=own(),
                tooltip=tip(),
            ),
        ],
        height=STEP * len(points),
    )


def sustained(times: Sequence[TimesOf], names: Mapping[str, str]) -> list[Chart]:
    """Whether boards keep their pace: median of one inference against their own, over seconds.

    Temperature and clock follow, where a board reports them. The boards that moved most are
    shown; the caption says how many.
    """
    known = [one for one in times if one.on_board and one.device_ms.size > 9]
    curves = sorted(((one, _pace(one)) for one in known), key=lambda pair: -pair[1].spread)
    shown = curves[:CURVES]
    if not shown:
        return []
    series = [short(", ".join(names[name] for name in one.names)) for one, _ in shown]
    which = _which(len(shown), len(known), len(times))
    charts = []
    for ident, title, unit, digits in (
        ("pace", "Pace over a measurement", "time, % of its median", 1),
        ("temperature", "Temperature meanwhile", "°C", 0),
        ("clock", "Clock meanwhile", "MHz", 0),
    ):
        found = [list(_points(pace, ident)) for _, pace in shown]
        if not any(found):
            continue
        charts.append(
            over_seconds(
                f"sustained-{ident}",
                title,
                unit,
                "seconds since the first block began",
                series,
                found,
                caption=(PACE + (f" {which}." if which else "")) if ident == "pace" else "",
                digits=digits,
                at=100 if ident == "pace" else None,
            )
        )
    return charts


PACE = (
    "Each board against its own median, over elapsed seconds with the pauses between blocks: a "
    "rising line is a board that slows down."
)


def over_seconds(
    ident: str,
    title: str,
    unit: str,
    axis: str,
    series: Sequence[str],
    found: Sequence[Sequence[tuple[float, float]]],
    *,
    caption: str = "",
    digits: int = 0,
    at: float | None = None,
) -> Chart:
    """Lines over seconds, one for each of `series`; `at`: a line across."""
    points = [
        {"s": place, "x": x, "y": y, "tip": f"{series[place]}\n{x:.1f} s: {y:.{digits}f} {unit}"}
        for place, line in enumerate(found)
        for x, y in line
    ]
    x, y = number("x", axis, nice=False), number("y", unit, axis={"format": ",.6~g"}, padding=6)
    values = [value for line in found for _, value in line]
    if max(values) - min(values) < 1e-6 * abs(values[0]):  # one value has no range to draw
        y["scale"] = {"zero": False, "domain": [values[0] - 1, values[0] + 1], "nice": False}
    colour, dash = coloured(len(series)), dashed(len(series))
    body = [
        (
            series[place],
            f"{line[0][1]:.{digits}f}",
            f"{min(v for _, v in line):.{digits}f}",
            f"{max(v for _, v in line):.{digits}f}",
            f"{line[-1][1]:.{digits}f}",
        )
        for place, line in enumerate(found)
        if line
    ]
    return Chart(
        ident=ident,
        title=title,
        alt=f"{title}: {len(body)} lines over seconds, in {unit}.",
        caption=caption,
        spec=layered(
            [
                *([] if at is None else [rule_at("y", at)]),
                layer(
                    {"type": "line", "strokeWidth": 2, "point": {"size": 20}},
                    points,
                    toggles=True,
                    x=x,
                    y=y,
                    color=colour,
                    strokeDash=dash,
                ),
                layer(
                    {"type": "point", "size": 120, "filled": True, "opacity": 0},
                    points,
                    toggles=True,
                    x=x,
                    y=y,
                    tooltip=tip(),
                ),
            ],
            height=200,
            toggles=True,
        ),
        head=("Row", "First", "Lowest", "Highest", f"Last ({unit})"),
        body=body[:LINES],
        series=series,
    )


def _points(pace: _Pace, ident: str) -> Iterator[tuple[float, float]]:
    if ident == "pace":
        yield from zip(map(float, pace.curve.at_s), map(float, pace.percent), strict=True)
    else:
        yield from ((float(at), float(value)) for at, value in getattr(pace.curve, ident))


def _which(shown: int, known: int, measurements: int) -> str:
    left = measurements - known
    if shown == known and not left:
        return ""
    said = f"Shown are {shown} of {known} boards, those whose pace changed most"
    if shown == known:
        said = f"Shown are all {known} boards that were timed"
    return said + (
        f"; emulated boards and boards of few times are left out ({left})" if left else ""
    )


@dataclass(frozen=True, eq=False)
class _Pace:
    """A sustained curve, and its points in percent of the median of all."""

    curve: Sustained
    percent: Float64

    @property
    def spread(self) -> float:
        return float(self.percent.max() - self.percent.min())


def _pace(one: TimesOf) -> _Pace:
    curve = made_sustained(one.raw, one.conditions)
    return _Pace(curve, 100 * curve.p50_ms / float(np.median(one.device_ms)))
