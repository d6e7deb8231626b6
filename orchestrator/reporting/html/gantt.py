"""The fleet's timeline as a chart: who did what when, what failed, how warm it was."""

from __future__ import annotations

from typing import Any

from orchestrator.reporting.analysis.timeline import HEAD, Timeline
from orchestrator.reporting.html import svg
from orchestrator.reporting.html.charts import WIDTH

STAGES = {
    "images": 0,
    "calibrate": 1,
    "quantize": 2,
    "convert": 3,
    "deploy": 4,
    "measure": 5,
    "extract": 6,
    "parity": 7,
    "score": 7,
    "compare": 7,
}
THIN = 6  # steps at a time on the head that are drawn in lines of their own


def gantt(time: Timeline) -> str:
    """Lanes by board, steps by stage; failed attempts are marked x, lost boards hatched."""
    lanes = time.lanes
    if not lanes:
        return ""
    places = _places(time)
    tips = svg.Tips()
    with svg.style():
        from matplotlib.patches import Patch, Rectangle

        figure = svg.new_figure(WIDTH, 1.1 + 0.36 * len(lanes))
        ax: Any = figure.subplots()
        for lane, start, end, reason in time.down:
            band = Rectangle(
                (start - time.began, lanes.index(lane) - 0.45),
                max(end - start, 1e-3),
                0.9,
                facecolor="none",
                edgecolor=svg.BAD,
                hatch="////",
                linewidth=0,
            )
            ax.add_patch(band)
            tips.add(band, f"{lane} out of the run: {reason}")
        for span in time.spans:
            row, rows = places[id(span)]
            height = 0.8 / rows
            failed = span.outcome in ("failed", "retried")
            bar = Rectangle(
                (span.start - time.began, lanes.index(span.lane) - 0.4 + row * height),
                max(span.end - span.start, (time.ended - time.began) / 2000),
                height,
                facecolor=svg.SERIES[STAGES.get(span.stage, 7)],
                edgecolor=svg.BAD if failed else svg.PAPER,
                linewidth=1.2 if failed else 0.3,
            )
            ax.add_patch(bar)
            again = f", attempt {span.attempt}" if span.attempt > 1 else ""
            what = f": {span.message}" if span.message else ""
            spent = span.end - span.start
            tips.add(bar, f"{span.step}{again} {span.outcome} in {spent:.1f} s{what}")
            if failed:
                (cross,) = ax.plot(
                    [span.end - time.began],
                    [lanes.index(span.lane)],
                    marker="x" if span.outcome == "failed" else "+",
                    color=svg.BAD,
                    markersize=8,
                    markeredgewidth=2,
                    linestyle="none",
                )
                tips.add(cross, f"{span.step} {span.outcome}{what}")
        for mark in time.marks:
            if mark.lane in lanes:
                (dot,) = ax.plot(
                    [mark.at - time.began],
                    [lanes.index(mark.lane) - 0.45],
                    marker="v",
                    color=svg.WARN,
                    markersize=6,
                    linestyle="none",
                )
                tips.add(dot, f"{mark.lane}: {mark.message}")
        ax.set_xlim(0, max(time.ended - time.began, 1e-3) * 1.01)
        ax.set_ylim(len(lanes) - 0.4, -0.6)
        ax.set_yticks(range(len(lanes)), lanes)
        ax.grid(axis="y", visible=False)
        ax.set_xlabel("seconds since the run began")
        seen = {span.stage for span in time.spans}
        names: dict[int, list[str]] = {}
        for stage, number in STAGES.items():
            if stage in seen:
                names.setdefault(number, []).append(stage)
        handles = [
            Patch(facecolor=svg.SERIES[number], label=", ".join(stages))
            for number, stages in names.items()
        ]
        if handles:
            figure.legend(
                handles=handles,
                loc="outside upper left",
                ncols=4 if len(handles) > 6 else 6,
                fontsize=8.5,
            )
    failures = sum(span.outcome == "failed" for span in time.spans)
    label = f"Timeline of {len(time.spans)} steps on {len(lanes)} lanes; {failures} failed."
    return svg.inline(figure, "gantt", label, tips)


def telemetry(time: Timeline) -> str:
    """Temperature and clock of every board that tells them, over the run."""
    hot = {b: [(at, t) for at, t, _ in s if t is not None] for b, s in time.telemetry.items()}
    fast = {b: [(at, c) for at, _, c in s if c is not None] for b, s in time.telemetry.items()}
    panels = [
        (series, name) for series, name in ((hot, "°C"), (fast, "MHz")) if any(series.values())
    ]
    if not panels:
        return ""
    tips = svg.Tips()
    with svg.style():
        figure = svg.new_figure(WIDTH, 1.0 + 1.5 * len(panels))
        axes: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for ax, (series, name) in zip(axes, panels, strict=True):
            for place, (board, points) in enumerate(series.items()):
                if not points:
                    continue
                step = max(1, len(points) // 400)
                xs = [at - time.began for at, _ in points[::step]]
                ys = [value for _, value in points[::step]]
                colour = svg.SERIES[place % len(svg.SERIES)]
                (line,) = ax.plot(xs, ys, color=colour, linewidth=1.3, label=board)
                tips.add(line, f"{board}: {min(ys):.0f} to {max(ys):.0f} {name}")
            ax.set_ylabel(name)
        axes[0].legend(fontsize=8.5, ncols=4, loc="upper left")
        axes[-1].set_xlabel("seconds since the run began")
    return svg.inline(figure, "tele", "Temperatures and clocks of the boards.", tips)


def _places(time: Timeline) -> dict[int, tuple[int, int]]:
    """(line within its lane, lines of that lane) for each span, so that none hides another."""
    lines: dict[int, int] = {}
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
        lines[id(span)] = row
        used[span.lane] = max(used.get(span.lane, 1), row + 1)
    return {id(span): (lines[id(span)], used[span.lane]) for span in time.spans}
