"""The report's charts, each from figures to inline SVG; empty where there is nothing to draw.

A chart never drops rows in silence: where there are too many to be told apart, it says how many
it shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.reporting.analysis.figures import Curve, Float64, TimesOf
from orchestrator.reporting.html import svg
from orchestrator.reporting.tables.table import far_text
from orchestrator.results import CellResult
from orchestrator.stages.measure import Sustained
from orchestrator.stages.measure import sustained as made_sustained

MANY = 40  # rows of a chart with a line of text for each
NAMED = 40  # points that carry a number
CURVES = 8
BY = {"board": "o", "simulator": "s", "twin": "D", "emulated": "v"}
WIDTH = 8.4


def valid_time(row: CellResult) -> bool:
    """Whether a row's latency may be compared: a board made it, and the verdict is VALID."""
    return row.latency is not None and row.verdict == "VALID"


def accuracy_latency(rows: Sequence[CellResult], names: Mapping[str, str]) -> str:
    """Rank-1 against p50; rows without a valid time stand apart, in a panel without time axis."""
    known = [row for row in rows if row.rank1.value is not None]
    timed = [row for row in known if valid_time(row)]
    apart = [row for row in known if not valid_time(row)]
    if not known:
        return ""
    tips = svg.Tips()
    with svg.style():
        figure = svg.new_figure(WIDTH, 3.7)
        ratios = [3, 2] if timed and apart else [1]
        axes: list[Any] = list(
            np.atleast_1d(figure.subplots(1, len(ratios), sharey=True, width_ratios=ratios))
        )
        if timed:
            ax = axes[0]
            ax.set_xscale("log")
            ax.set_xlabel("p50 of one inference on the board, ms")
            ax.set_title("valid time", loc="left")
            xs = [row.latency.device.p50_ms for row in timed if row.latency is not None]
            _points(ax, timed, xs, names, tips)
            front = pareto(xs, [row.rank1.value or 0.0 for row in timed])
            if len(front) > 1:
                ax.step(
                    [xs[i] for i in front],
                    [100 * (timed[i].rank1.value or 0) for i in front],
                    where="post",
                    color=svg.FAINT,
                    linewidth=1,
                    zorder=1,
                )
            ax.margins(x=0.15)
            _plain_ticks(ax.xaxis)
        if apart:
            ax = axes[-1]
            ax.set_title("no valid time", loc="left")
            ax.set_xlabel("rows in the table's order")
            ax.set_xticks([])
            _points(ax, apart, list(range(len(apart))), names, tips)
            ax.margins(x=0.1)
        axes[0].set_ylabel("Rank-1, %")
    said = f"Rank-1 of {len(timed)} rows against their latency, and of {len(apart)} rows without."
    return svg.inline(figure, "acc", said, tips)


def pareto(times: Sequence[float], rates: Sequence[float]) -> list[int]:
    """Indices of the points that no other point beats in both, by rising time."""
    order = sorted(range(len(times)), key=lambda i: (times[i], -rates[i]))
    front: list[int] = []
    for i in order:
        if not front or rates[i] > rates[front[-1]]:
            front.append(i)
    return front


def _points(
    ax: Any, rows: Sequence[CellResult], xs: Sequence[float], names: Mapping[str, str], tips: Any
) -> None:
    for row, x in zip(rows, xs, strict=True):
        rate = row.rank1
        value = 100 * (rate.value or 0)
        if rate.low is not None and rate.high is not None:
            ax.plot([x, x], [100 * rate.low, 100 * rate.high], color=svg.GRID, zorder=1)
        real = row.difference is not None and bool(row.difference.real)
        colour = svg.BAD if real and _change(row) < 0 else svg.GOOD if real else svg.SERIES[0]
        (point,) = ax.plot(
            [x],
            [value],
            marker=BY.get(row.executed_by, "o"),
            color=colour,
            markerfacecolor=colour if row.latency is not None else svg.PAPER,
            markersize=6,
            linestyle="none",
            zorder=3,
        )
        time = f"{row.latency.device.p50_ms:.2f} ms" if row.latency else "no time"
        tips.add(point, f"{names[row.name]}: Rank-1 {value:.2f} %, {time}, {row.verdict}")
        if len(rows) <= NAMED:
            number = names[row.name].split(" ")[0]
            ax.annotate(number, (x, value), (6, 4), textcoords="offset points", fontsize=8.5)


def _change(row: CellResult) -> float:
    return (row.difference.rank1.value or 0.0) if row.difference is not None else 0.0


def differences(rows: Sequence[CellResult], names: Mapping[str, str]) -> str:
    """Rank-1 against float32's with intervals; coloured where it is real."""
    compared = [row for row in rows if row.difference is not None]
    shown = compared
    if len(compared) > MANY:
        largest = sorted(compared, key=lambda row: -abs(_change(row)))[:MANY]
        shown = [row for row in compared if row in largest]
    if not shown:
        return ""
    tips = svg.Tips()
    with svg.style():
        figure = svg.new_figure(WIDTH, 0.9 + 0.27 * len(shown))
        ax: Any = figure.subplots()
        ax.axvline(0, color=svg.FAINT, linewidth=1)
        for place, row in enumerate(shown):
            found = row.difference
            assert found is not None
            change = found.rank1
            real = bool(found.real)
            value = 100 * (change.value or 0)
            colour = svg.NEUTRAL if not real else svg.BAD if value < 0 else svg.GOOD
            if change.low is not None and change.high is not None:
                ax.plot([100 * change.low, 100 * change.high], [place, place], color=colour)
            (point,) = ax.plot(
                [value],
                [place],
                marker="o" if real else "|",
                color=colour,
                markersize=6 if real else 9,
                linestyle="none",
            )
            p = f"{found.p_holm:.3g}" if found.p_holm is not None else "not adjusted"
            kind = "significant" if real else "not significant"
            tips.add(point, f"{names[row.name]}: {value:+.2f} points, p (Holm) {p}: {kind}")
        ax.set_yticks(range(len(shown)), [names[row.name] for row in shown])
        ax.set_ylim(len(shown) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("Rank-1 minus float32's, points")
        if len(shown) < len(compared):
            ax.set_title(f"the {len(shown)} largest of {len(compared)} differences", loc="left")
    return svg.inline(figure, "dif", "Each row's Rank-1 difference from float32.", tips)


def det(curves: Sequence[Curve], names: Mapping[str, str]) -> str:
    """Detection error trade-off: share of mated probes missed over false alarms a search."""
    drawn = [Curve(c.names, c.x[c.x > 0], 100 * c.y[c.x > 0]) for c in curves if (c.x > 0).any()]
    label = "Detection error trade-off curves."
    return _lines(
        drawn, names, "det", label, "false alarms per search (FPIR)", "miss rate (FNIR), %"
    )


def cmc(curves: Sequence[Curve], names: Mapping[str, str]) -> str:
    """Cumulative match characteristic: share of mated probes found among the first r."""
    drawn = [Curve(curve.names, curve.x, 100 * curve.y) for curve in curves]
    label = "Cumulative match characteristic curves."
    return _lines(drawn, names, "cmc", label, "rank", "identification rate, %")


def _lines(
    curves: Sequence[Curve], names: Mapping[str, str], prefix: str, label: str, x: str, y: str
) -> str:
    if not curves:
        return ""
    tips = svg.Tips()
    few = len(curves) <= CURVES
    points = 80 if few else 40
    with svg.style():
        figure = svg.new_figure(WIDTH / 2, 3.5 if not few else 3.0 + 0.17 * len(curves))
        ax: Any = figure.subplots()
        ax.set_xscale("log")
        for place, curve in enumerate(curves):
            pick = np.unique(np.linspace(0, len(curve.x) - 1, points).astype(int))
            text = ", ".join(names[name] for name in curve.names)
            (line,) = ax.plot(
                curve.x[pick],
                curve.y[pick],
                color=svg.SERIES[place] if few else svg.INK if place == 0 else svg.FAINT,
                linewidth=1.6 if few or place == 0 else 0.6,
                linestyle=("-", "--", "-.", ":")[place % 4] if few else "-",
                zorder=3 if place == 0 else 2,
                label=text if len(text) < 60 else text[:57] + "…",
            )
            tips.add(line, text)
        ax.set_xlabel(x)
        ax.set_ylabel(y)
        _plain_ticks(ax.xaxis, rates=prefix == "det")
        if few:
            figure.legend(loc="outside lower left", fontsize=8.5)
        else:
            first = names[curves[0].names[0]]
            ax.set_title(f"{len(curves)} curves; the strong one: {first}", loc="left")
    return svg.inline(figure, prefix, label, tips)


def latencies(times: Sequence[TimesOf], names: Mapping[str, str]) -> str:
    """Distribution of single inferences: 1st to 99th percentile, quartiles, median, slowest."""
    ordered = sorted(times, key=lambda t: not t.on_board)
    shown = ordered[:MANY]
    if not shown:
        return ""
    tips = svg.Tips()
    with svg.style():
        figure = svg.new_figure(WIDTH, 0.9 + 0.3 * len(shown))
        ax: Any = figure.subplots()
        ax.set_xscale("log")
        labels = []
        for place, one in enumerate(shown):
            colour = svg.NEUTRAL if not one.on_board else svg.SERIES[0]
            if one.on_board and one.verdict != "VALID":
                colour = svg.WARN
            p1, p25, p50, p75, p99 = np.percentile(one.device_ms, [1, 25, 50, 75, 99])
            ax.plot([p1, p99], [place, place], color=colour, linewidth=1.2)
            (box,) = ax.plot([p25, p75], [place, place], color=colour, linewidth=8, alpha=0.55)
            box.set_solid_capstyle("butt")
            ax.plot([p50], [place], marker="|", color=svg.INK, markersize=11)
            ax.plot([one.device_ms.max()], [place], marker=".", color=colour, markersize=4)
            text = ", ".join(names[name] for name in one.names)
            ran = "" if one.on_board else " · run on this host (emulated)"
            labels.append((text if len(text) < 34 else text[:31] + "…") + ran)
            tips.add(
                box,
                f"{text}{ran}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, "
                f"{one.device_ms.size} inferences, {one.verdict}",
            )
        ax.set_yticks(range(len(shown)), labels)
        ax.set_ylim(len(shown) - 0.5, -0.5)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("one inference, ms")
        _plain_ticks(ax.xaxis)
        if len(shown) < len(ordered):
            ax.set_title(f"{len(shown)} of {len(ordered)} measurements", loc="left")
    return svg.inline(figure, "lat", "Distribution of single inference times.", tips)


def sustained(times: Sequence[TimesOf], names: Mapping[str, str]) -> str:
    """Whether boards keep their pace: median of one inference against their own, over seconds.

    Temperature and clock stand below on the same axis, where a board tells them. The boards that
    moved most come first; the title says how many are shown.
    """
    known = [one for one in times if one.on_board and one.device_ms.size > 9]
    curves = [(one, _pace(one)) for one in known]
    curves.sort(key=lambda pair: -pair[1].spread)
    shown = curves[:CURVES]
    if not shown:
        return ""
    panels = [
        (name, unit)
        for name, unit in (("temperature", "°C"), ("clock", "MHz"))
        if any(getattr(pace.curve, name) for _, pace in shown)
    ]
    tips = svg.Tips()
    with svg.style():
        height = 2.6 + 0.1 * len(shown) + 1.1 * len(panels)
        figure = svg.new_figure(WIDTH, height)
        ratios = [2.2] + [1.0] * len(panels)
        axes: Any = figure.subplots(
            len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios
        )[:, 0]
        axes[0].axhline(100, color=svg.FAINT, linewidth=0.8)
        for place, (one, pace) in enumerate(shown):
            text = ", ".join(names[name] for name in one.names)
            colour = svg.SERIES[place]
            (line,) = axes[0].plot(
                pace.curve.at_s,
                pace.percent,
                color=colour,
                linewidth=1.4,
                marker="." if len(pace.percent) < 8 else None,
                label=text if len(text) < 60 else text[:57] + "…",
            )
            middle = pace.curve.p50_ms
            told = f"{text}: first {middle[0]:.2f} ms, last {middle[-1]:.2f} ms, {one.verdict}"
            tips.add(line, told)
            for ax, (name, unit) in zip(axes[1:], panels, strict=True):
                points = getattr(pace.curve, name)
                if points:
                    at, values = zip(*points, strict=True)
                    (line,) = ax.plot(at, values, color=colour, linewidth=1.2, marker=".")
                    tips.add(line, f"{text}: {min(values):.0f} to {max(values):.0f} {unit}")
        axes[0].set_ylabel("time, % of median")
        for ax, (_, unit) in zip(axes[1:], panels, strict=True):
            ax.set_ylabel(unit)
        axes[-1].set_xlabel("seconds since the first block began")
        if len(shown) < len(times):
            axes[0].set_title(_which(len(shown), len(known), len(times)), loc="left")
        figure.legend(loc="outside lower left", ncols=2, fontsize=8.5)
    return svg.inline(figure, "sus", "Inference time, temperature and clock over seconds.", tips)


def _which(shown: int, known: int, measurements: int) -> str:
    said = f"{shown} of {known} boards, those whose pace changed most"
    if shown == known:
        said = f"all {known} boards that were timed"
    left = measurements - known
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


def _plain_ticks(axis: Any, *, rates: bool = False) -> None:
    """5, 10, 20 instead of 10 to a power; 1e-3 for rates."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1,) if rates else (1, 2, 5)))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: far_text(value) if rates else f"{value:g}")
    )
    axis.set_minor_formatter(NullFormatter())
