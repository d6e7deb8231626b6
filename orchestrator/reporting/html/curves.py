"""DET and CMC: curves with confidence bands, and a mark at the table's FAR."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from orchestrator.columns.texts import far_text
from orchestrator.reporting.analysis.figures import Curve
from orchestrator.reporting.html.chart import (
    FAINT,
    LINES,
    MANY,
    Chart,
    Spec,
    coloured,
    dashed,
    layer,
    layered,
    number,
    rule_at,
    short,
    tip,
)
from orchestrator.results import CellResult
from orchestrator.scoring import wilson

CURVES = 8  # with a colour each
POINTS = 60
PERCENTS = (0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80, 90, 95, 98, 99, 99.5, 99.9)
RANKS = (1, 2, 5, 10, 20, 50, 100)
CONFIDENCE = 0.95
CURVE: Spec = {"field": "curve", "type": "nominal"}


@dataclass(frozen=True)
class Drawn:
    """A curve as it is drawn: its place in the legend, its name, and the row it is read from."""

    series: int
    name: str
    curve: Curve
    row: CellResult


def probit(rate: float) -> float:
    """The standard normal's quantile of a rate within 0 and 1."""
    return NormalDist().inv_cdf(rate)


def det(
    curves: Sequence[Curve], rows: Sequence[CellResult], names: Mapping[str, str]
) -> Chart | None:
    """Detection error trade-off: share of mated probes missed over false alarms a search."""
    cut = [Curve(c.names, c.x[c.x > 0], c.y[c.x > 0]) for c in curves if (c.x > 0).any()]
    drawn, series, left = drawn_curves(cut, rows, names)
    if not drawn:
        return None
    far = drawn[0].row.tar.far_target
    points = [point for one in drawn for point in _det_points(one)]
    x = number("x", "false alarms per search (FPIR, log)", type="log", nice=False)
    decades = [10.0**e for e in range(-6, 1)]
    x["axis"] = {"values": decades, "format": ".0e", "labelOverlap": True}
    y = number("y", "miss rate (FNIR), % (probit)", padding=8)
    y["axis"] = {
        "values": [probit(percent / 100) for percent in PERCENTS],
        "labelExpr": "format(100 * cumulativeNormal(datum.value), '.3~r')",
        "labelOverlap": True,
    }
    marks = [mark for one in drawn if (mark := _mark(one, names)) is not None]
    y_mark = {**y, "field": "y"}
    extra = [
        rule_at("x", far, FAINT, strokeDash=[4, 3]),
        layer(
            {"type": "rule", "strokeWidth": 2},
            marks,
            toggles=True,
            x=x,
            y={**y, "field": "low"},
            y2={"field": "high"},
            color=_colour(series),
        ),
        layer(
            {"type": "point", "filled": True, "size": 70, "opacity": 1},
            marks,
            toggles=True,
            x=x,
            y=y_mark,
            color=_colour(series),
            tooltip=tip(),
        ),
    ]
    return Chart(
        ident="det",
        title="DET: misses against false alarms",
        alt=f"Detection error trade-off of {len(drawn)} curves; the miss rate falls as more "
        "false alarms are allowed.",
        caption="Lower is better. FAR is per search, with the rank condition, as in the table's "
        f"TAR; dashed line and dots: the table's FAR of {far_text(far)}, with the interval of its "
        "TAR. Bands: 95 % interval of the miss rate at a fixed threshold. Rows with equal scores "
        f"share a curve.{left}",
        spec=_curves(points, extra, x, y, series),
        head=("Rows", *(f"miss rate at {far_text(10.0**e)}, %" for e in (-4, -3, -2, -1))),
        body=[
            (one.name, *(_at_far(one.curve, 10.0**e) for e in (-4, -3, -2, -1)))
            for one in drawn[:LINES]
        ],
        series=series,
    )


def cmc(
    curves: Sequence[Curve], rows: Sequence[CellResult], names: Mapping[str, str]
) -> Chart | None:
    """Cumulative match characteristic: share of mated probes found among the first r."""
    drawn, series, left = drawn_curves(curves, rows, names)
    if not drawn:
        return None
    points = [point for one in drawn for point in _cmc_points(one)]
    least = min(point["low"] for point in points)
    start = max(0, 5 * math.floor((least - 0.5) / 5))
    x = number("x", "rank (log)", type="log", nice=False)
    x["axis"] = {"values": list(RANKS), "format": "d"}
    said = f"axis starts at {start}" if start else "from 0"
    y = number("y", f"identification rate, % ({said})", domain=[start, 100], nice=False)
    return Chart(
        ident="cmc",
        title="CMC: found among the first r",
        alt=f"Cumulative match characteristic of {len(drawn)} curves, rank 1 to "
        f"{int(max(point['x'] for point in points))}; the rate's axis starts at {start} %.",
        caption="Higher is better. Ties count against the mate; failed images count as misses. "
        f"Bands: 95 % intervals.{left}",
        spec=_curves(points, [], x, y, series),
        head=("Rows", *(f"rank {rank}, %" for rank in RANKS)),
        body=[(one.name, *(_at_rank(one.curve, rank) for rank in RANKS)) for one in drawn[:LINES]],
        series=series,
    )


def drawn_curves(
    curves: Sequence[Curve], rows: Sequence[CellResult], names: Mapping[str, str]
) -> tuple[list[Drawn], list[str], str]:
    """What is drawn, the legend, and what must be said of curves that are left out."""
    by_name = {row.name: row for row in rows}
    texts = [short(", ".join(names[name] for name in curve.names)) for curve in curves]
    if len(curves) <= CURVES:
        shown = [
            Drawn(place, text, curve, by_name[curve.names[0]])
            for place, (text, curve) in enumerate(zip(texts, curves, strict=True))
        ]
        return shown, texts, ""
    order = [0, *np.linspace(1, len(curves) - 1, min(MANY, len(curves)) - 1).astype(int)]
    shown = [
        Drawn(min(n, 1), texts[i], curves[i], by_name[curves[i].names[0]])
        for n, i in enumerate(order)
    ]
    left = f" {len(shown)} of {len(curves)} curves are drawn." if len(shown) < len(curves) else ""
    return shown, [texts[0], f"{len(shown) - 1} others"], left


def _det_points(one: Drawn) -> list[dict[str, Any]]:
    points = []
    for x, y in _thinned(one.curve):
        low, high = wilson(y * one.row.test_set.mated, one.row.test_set.mated, CONFIDENCE)
        points.append(
            _point(one, x, *(probit(_within(v, one.row)) for v in (y, low, high)))
            | {"tip": f"{one.name}\nFAR {x:.2g}: {100 * y:.2f} % missed"}
        )
    return points


def _cmc_points(one: Drawn) -> list[dict[str, Any]]:
    points = []
    for x, y in _thinned(one.curve):
        low, high = wilson(y * one.row.test_set.mated, one.row.test_set.mated, CONFIDENCE)
        points.append(
            _point(one, x, 100 * y, 100 * low, 100 * high)
            | {"tip": f"{one.name}\nrank {x:.0f}: {100 * y:.2f} % found"}
        )
    return points


def _point(one: Drawn, x: float, y: float, low: float, high: float) -> dict[str, Any]:
    return {"s": one.series, "curve": one.name, "x": x, "y": y, "low": low, "high": high}


def _within(rate: float, row: CellResult) -> float:
    """A rate that a probit has a place for: at least half a probe, at most all but that."""
    least = 0.5 / max(row.test_set.mated, 1)
    return min(max(rate, least), 1 - least)


def _thinned(curve: Curve) -> list[tuple[float, float]]:
    pick = np.unique(np.linspace(0, len(curve.x) - 1, POINTS).astype(int))
    return [(float(curve.x[i]), float(curve.y[i])) for i in pick]


def _mark(one: Drawn, names: Mapping[str, str]) -> dict[str, Any] | None:
    """The table's TAR of a curve's first row as a miss rate; None where there is none."""
    tar = one.row.tar
    if not tar.available or tar.value is None:
        return None
    ends = (tar.value if end is None else end for end in (tar.high, tar.low))
    low, high = (probit(_within(1 - end, one.row)) for end in ends)
    return _point(one, tar.far_target, probit(_within(1 - tar.value, one.row)), low, high) | {
        "tip": f"{one.name}\nTAR {100 * tar.value:.2f} % at FAR {far_text(tar.far_target)}"
    }


def _colour(series: Sequence[str]) -> Spec:
    return coloured(len(series))


def _curves(
    points: Sequence[Mapping[str, Any]],
    extra: Sequence[Spec],
    x: Spec,
    y: Spec,
    series: Sequence[str],
) -> Spec:
    few = len({point["curve"] for point in points}) <= CURVES
    first = [point for point in points if few or point["s"] == 0]
    bands = layer(
        {"type": "area", "opacity": 0.12},
        first,
        toggles=True,
        x=x,
        y={**y, "field": "low"},
        y2={"field": "high"},
        color=_colour(series),
        detail=CURVE,
    )
    others = _lines(points, x, y, series)
    hits = _touched(points, x, y)
    return layered([bands, others, *extra, hits], height=340, toggles=True)


def lines_of(points: Sequence[Mapping[str, Any]], x: Spec, y: Spec, series: Sequence[str]) -> Spec:
    """Curves without bands; points have `s`, `curve`, `tip` and the fields of `x` and `y`."""
    return layered([_lines(points, x, y, series), _touched(points, x, y)], height=340, toggles=True)


def _lines(points: Sequence[Mapping[str, Any]], x: Spec, y: Spec, series: Sequence[str]) -> Spec:
    few = len({point["curve"] for point in points}) <= CURVES
    return layer(
        {"type": "line", "strokeWidth": 2 if few else 1, "opacity": 1 if few else 0.5},
        points,
        toggles=True,
        x=x,
        y=y,
        color=_colour(series),
        detail=CURVE,
        strokeDash=dashed(len(series)),
    )


def _touched(points: Sequence[Mapping[str, Any]], x: Spec, y: Spec) -> Spec:
    """Where the pointer finds a text."""
    return layer(
        {"type": "point", "size": 120, "filled": True, "opacity": 0},
        points,
        toggles=True,
        x=x,
        y=y,
        tooltip=tip(),
    )


def _at_far(curve: Curve, far: float) -> str:
    """The miss rate at a FAR: the last point that does not go beyond it."""
    within = curve.y[curve.x <= far]
    return f"{100 * float(within.min()):.2f}" if within.size else "–"


def _at_rank(curve: Curve, rank: int) -> str:
    within = curve.y[curve.x <= rank]
    return f"{100 * float(within.max()):.2f}" if within.size and curve.x.max() >= rank else "–"
