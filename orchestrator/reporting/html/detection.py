"""A detector's part of the report: precision and recall, AP by height, the worst pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.columns.tasks import judged
from orchestrator.columns.texts import interval
from orchestrator.reporting.analysis.figures import Curve, detections_of, truth_of
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.analysis.worst_images import ErringImage, worst_images
from orchestrator.reporting.html.chart import (
    LINES,
    SERIES,
    Chart,
    coloured,
    dashed,
    layer,
    layered,
    number,
    tip,
)
from orchestrator.reporting.html.curves import drawn_curves, lines_of
from orchestrator.reporting.text import plain
from orchestrator.results import CellResult

WORST = 6
RECALLS = (0.5, 0.8, 0.9, 0.95)


@dataclass(frozen=True)
class Drawing:
    """Boxes of a picture, and of nothing else: a report holds nobody's face.

    Attributes:
        title: the picture and its errors.
        alt: what the drawing shows.
        size: (height, width) in pixels.
        boxes: class of the style sheet, x, y, width, height in pixels.
    """

    title: str
    alt: str
    size: tuple[int, int]
    boxes: tuple[tuple[str, float, float, float, float], ...]


def precision_recall(
    curves: Sequence[Curve], rows: Sequence[CellResult], names: Mapping[str, str]
) -> Chart | None:
    """Precision over recall of the subset that rows are compared by."""
    drawn, series, left = drawn_curves(curves, rows, names)
    if not drawn:
        return None
    points = [
        {
            "s": one.series,
            "curve": one.name,
            "x": 100 * float(x),
            "y": 100 * float(y),
            "tip": f"{one.name}\nrecall {100 * x:.1f} %: precision {100 * y:.1f} %",
        }
        for one in drawn
        for x, y in zip(one.curve.x, one.curve.y, strict=True)
    ]
    x = number("x", "recall, %", domain=[0, 100], nice=False)
    y = number("y", "precision, %", domain=[0, 100], nice=False)
    return Chart(
        ident="precision-recall",
        title="Precision and recall",
        alt=f"Precision over recall of {len(drawn)} curves; higher and further right is better.",
        caption=f"{judged(rows).main.words}: the area below the curve, once it is made to fall. "
        f"Rows with equal boxes share a curve.{left}",
        spec=lines_of(points, x, y, series),
        head=("Rows", *(f"precision at recall {100 * r:.0f} %, %" for r in RECALLS)),
        body=[
            (one.name, *(_precision_at(one.curve, recall) for recall in RECALLS))
            for one in drawn[:LINES]
        ],
        series=series,
    )


def _precision_at(curve: Curve, recall: float) -> str:
    """The best precision at a recall or more."""
    within = curve.y[curve.x >= recall]
    return f"{100 * float(within.max()):.2f}" if within.size else "–"


def by_height(rows: Sequence[CellResult], names: Mapping[str, str]) -> Chart | None:
    """AP of the faces of each range of heights, a line a row."""
    shown = [row for row in rows if row.detection is not None and row.detection.ap_by_height]
    shown = shown[: len(SERIES)]
    if not shown:
        return None
    heights = list(shown[0].detection.ap_by_height) if shown[0].detection else []
    points, body = [], []
    for place, row in enumerate(shown):
        assert row.detection is not None
        found = row.detection.ap_by_height
        body.append((names[row.name], *(interval(found[height]) for height in heights)))
        for height in heights:
            value = found[height].value
            if value is not None:
                text = f"{names[row.name]}\n{height}: AP {interval(found[height])} %"
                points.append({"s": place, "height": height, "y": 100 * value, "tip": text})
    series = [names[row.name] for row in shown]
    x = {
        "field": "height",
        "type": "ordinal",
        "sort": heights,
        "title": "height of the face in the picture",
        "axis": {"labelAngle": 0},
    }
    y = number("y", "AP, %", domain=[0, 100], nice=False)
    colour = coloured(len(series))
    layers = [
        layer({"type": "line", "strokeWidth": 2}, points, toggles=True, x=x, y=y, color=colour,
              strokeDash=dashed(len(series))),
        layer({"type": "point", "filled": True, "size": 80, "opacity": 1}, points, toggles=True,
              x=x, y=y, color=colour, tooltip=tip()),
    ]  # fmt: skip
    left = "" if len(shown) == len(rows) else f" The first {len(shown)} of {len(rows)} rows."
    return Chart(
        ident="ap-height",
        title="AP by height of the face",
        alt=f"AP of {len(shown)} rows in {len(heights)} ranges of heights.",
        caption=f"A box of another height that is on no face does not count.{left}",
        spec=layered(layers, height=300, toggles=True),
        head=("Row", *(f"AP, {height}, %" for height in heights)),
        body=body,
        series=series,
    )


def worst(run: Run, names: Mapping[str, str]) -> tuple[str, tuple[Drawing, ...]]:
    """The worst row's pictures with the most errors, and a sentence of what is drawn."""
    main = judged(run.results).main
    known = [row for row in run.results if row.detection and main.of(row).value is not None]
    if not known:
        return "", ()
    row = min(known, key=lambda each: main.of(each).value or 0.0)
    found, truth = detections_of(run, row), truth_of(run, row)
    if found is None or truth is None or row.detection is None:
        return "", ()
    rate, threshold = next(iter(row.detection.threshold.items()), ("", None))
    if threshold is None:
        return "", ()
    images = worst_images(found, truth, row.detection.main, threshold, WORST)
    said = (
        f"The pictures with the most errors of the row with the lowest {main.words}, "
        f"{names[row.name]}, at the threshold of {rate} false positives a picture (score "
        f"{threshold:.2f}): faces found (thin), missed (thick), ignored (dashed); boxes that are "
        "hits (green) and false positives (red). Boxes only: a report holds no pictures."
    )
    return said, tuple(map(_drawing, images))


def _drawing(image: ErringImage) -> Drawing:
    errors = f"{image.missed} missed, {image.false} false"
    return Drawing(
        title=plain(f"{image.name}: {errors}"),
        alt=plain(f"Boxes of {image.name}: {errors}"),
        size=image.size,
        boxes=tuple(
            (box.kind, x1, y1, round(x2 - x1, 1), round(y2 - y1, 1))
            for box in image.boxes
            for x1, y1, x2, y2 in (box.corners,)
        ),
    )
