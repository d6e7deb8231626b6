"""A layer report as a chart: each layer's own error and what has gathered up to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.reporting.html.chart import (
    BAD,
    FAINT,
    LINES,
    SERIES,
    WARN,
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
from orchestrator.reporting.text import plain

ROW = 18
SIGNIFICANT = 0.05


def layer_chart(place: int, found: Mapping[str, Any]) -> Chart:
    """The chart of an explanation (the object of `farm explain --json`)."""
    layers = found["layers"]
    named = plain(str(found["first_bad"] or found["worst"]))
    colour = BAD if _matters(found) else WARN
    points = [
        {
            "s": 0,
            "row": f"{n} {plain(str(each['name']))}",
            "own": each["own_channel_db"],
            "reached": each["reached_db"],
            "colour": colour if plain(str(each["name"])) == named else SERIES[0],
            "tip": f"{each['name']} ({each['operator']})\nown {each['own_channel_db']:.1f} dB, "
            f"cosine {each['own_cosine']:.5f}\nreached {each['reached_db']:.1f} dB, "
            f"cosine {each['reached_cosine']:.5f}",
        }
        for n, each in enumerate(layers, 1)
    ]
    return Chart(
        ident=f"layers-{place}",
        title=plain(f"{found['cell']}: {found['scheme']}"),
        alt=f"Quantization error of {len(layers)} layers of {plain(str(found['cell']))}; the "
        f"noisiest is {named}.",
        caption=f"{_said(found)} Own error: given float32 inputs; "
        f"{'red' if colour == BAD else 'amber'}: {named}. Dashed: the median of the layers' own.",
        spec=_spec(points, found["usual_channel_db"]),
        head=("Layer", "Operator", "Own, dB", "Own cosine", "Reached, dB", "Reached cosine"),
        body=[
            (
                plain(str(each["name"])),
                plain(str(each["operator"])),
                f"{each['own_channel_db']:.1f}",
                f"{each['own_cosine']:.5f}",
                f"{each['reached_db']:.1f}",
                f"{each['reached_cosine']:.5f}",
            )
            for each in layers[:LINES]
        ],
        series=("own error", "with every error before it"),
        dashes=False,
        tall=len(layers) > 40,
    )


def _matters(found: Mapping[str, Any]) -> bool:
    """Whether keeping the layer float is known to gain accuracy."""
    effect = found["effect"]
    return bool(found["first_bad"]) and (effect is None or effect["p"] < SIGNIFICANT)


def _spec(points: list[dict[str, Any]], usual: float) -> Spec:
    reached = [point | {"s": 1} for point in points]
    unit = "signal to quantization noise, dB (higher is better)"
    y = lines([point["row"] for point in points])
    x = number("own", unit, zero=True)
    return layered(
        [
            layer(
                {"type": "bar", "height": 10},
                points,
                toggles=True,
                x=x,
                y=y,
                color=own(),
                tooltip=tip(),
            ),
            rule_at("x", usual, FAINT, strokeDash=[4, 3]),
            layer(
                {"type": "line", "color": SERIES[1], "strokeWidth": 2, "orient": "vertical"},
                reached,
                toggles=True,
                x=number("reached", unit, zero=True),
                y=y,
            ),
            layer(
                {"type": "point", "color": SERIES[1], "filled": True, "size": 30, "opacity": 1},
                reached,
                toggles=True,
                x=number("reached", unit, zero=True),
                y=y,
                tooltip=tip(),
            ),
        ],
        height=ROW * len(points),
        toggles=True,
    )


def _said(found: Mapping[str, Any]) -> str:
    worst = found["first_bad"] or found["worst"]
    text = f"Executed by {found['executed_by']}, {found['images']} probe images. " + (
        f"First bad layer: {worst}."
        if found["first_bad"]
        else f"No layer is known to cost accuracy; the noisiest is {worst}."
    )
    effect = found["effect"]
    if effect:
        text += (
            f" With {effect['layer']} kept float, Rank-1 goes from {100 * effect['quantized']:.2f} "
            f"to {100 * effect['kept']:.2f} % (float32: {100 * effect['float32']:.2f} %), "
            f"p = {effect['p']:.2g}, over {effect['mated']:,} mated probes."
        )
    return plain(text)
