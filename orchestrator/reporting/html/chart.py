"""A chart of the report: a Vega-Lite specification, its words, and its figures as a table.

Colours are names of the page's style sheet: one specification serves light, dark and paper.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.reporting.text import plain

Spec = dict[str, Any]

INK, FAINT, GRID, PAPER = "var(--ink)", "var(--faint)", "var(--grid)", "var(--paper)"
GOOD, BAD, WARN, NEUTRAL = "var(--good)", "var(--bad)", "var(--warn)", "var(--neutral)"
SERIES = tuple(f"var(--series-{number})" for number in range(8))
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
MANY = 40  # rows of a chart with a line of text for each
STEP = 24  # pixels of such a line
LINES = 400  # of a data table


@dataclass(frozen=True)
class Chart:
    """What one figure of the page shows.

    Attributes:
        ident: unique within the page; letters, digits, `-`.
        title: its heading.
        alt: what the drawing shows, in a sentence, for those who cannot see it.
        caption: how to read it.
        spec: Vega-Lite, with its data.
        head, body: the same figures as a table, at most `LINES` lines.
        series: names of what can be shown and hidden; datum field `s` is the place in it.
        dashes: whether they are told apart by dashes too.
        tall: whether it scrolls in a box of its own.
    """

    ident: str
    title: str
    alt: str
    caption: str
    spec: Spec
    head: Sequence[str]
    body: Sequence[Sequence[str]]
    series: Sequence[str] = ()
    dashes: bool = True
    tall: bool = False


def layered(layers: Iterable[Spec], *, height: int, toggles: bool = False) -> Spec:
    """Layers over each other, as wide as the page; `toggles`: field `s` can be hidden."""
    drawn = [each for each in layers if each["data"]["values"]]  # nothing has no extent
    spec: Spec = {
        "width": "container",
        "height": height,
        "datasets": _shared(drawn),
        "layer": drawn,
    }
    if toggles:
        spec["params"] = [{"name": "off", "value": []}]
    return spec


def _shared(layers: Iterable[Spec]) -> dict[str, list[Any]]:
    """Takes the layers' data out of them, each once, by names that they then refer to."""
    names: dict[str, str] = {}
    found: dict[str, list[Any]] = {}
    for each in layers:
        values = each["data"]["values"]
        name = names.setdefault(json.dumps(values), f"d{len(names)}")
        found[name] = values
        each["data"] = {"name": name}
    return found


def layer(
    mark: Spec, rows: Sequence[Mapping[str, Any]], *, toggles: bool = False, **encoding: Any
) -> Spec:
    """One layer and its data, with the texts of tools in it made plain; `encoding`: channels."""
    spec: Spec = {
        "mark": mark,
        "data": {"values": [{k: _plain(v) for k, v in row.items()} for row in rows]},
        "encoding": encoding,
    }
    if toggles:
        spec["transform"] = [{"filter": "indexof(off, datum.s) < 0"}]
    return spec


def _plain(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return plain(value) if isinstance(value, str) else value


def number(field: str, title: str | None = None, *, axis: Spec | None = None, **scale: Any) -> Spec:
    """A channel of numbers; `scale` is Vega-Lite's, without a zero unless asked for."""
    spec: Spec = {
        "field": field,
        "type": "quantitative",
        "title": title,
        "scale": scale if scale.get("type") == "log" else {"zero": False, **scale},
    }
    if axis is not None:
        spec["axis"] = axis
    return spec


def lines(names: Sequence[str], field: str = "row") -> Spec:
    """The channel of a chart with a line of text for each row, in the order of `names`."""
    return {
        "field": field,
        "type": "nominal",
        "title": None,
        "sort": list(names),
        "axis": {"labelLimit": 260, "grid": False, "ticks": False, "domain": False},
    }


def coloured(count: int) -> Spec:
    """The channel of colours by place in the series."""
    return {
        "field": "s",
        "type": "nominal",
        "legend": None,
        "scale": {"domain": list(range(count)), "range": list(SERIES[:count])},
    }


def dashed(count: int) -> Spec:
    """The channel of dashes by place in the series, so that colour is not all there is."""
    return {
        "field": "s",
        "type": "nominal",
        "legend": None,
        "scale": {
            "domain": list(range(count)),
            "range": [list(DASHES[place % len(DASHES)]) for place in range(count)],
        },
    }


def own(field: str = "colour") -> Spec:
    """The channel of a colour that stands in the data itself."""
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def tip() -> Spec:
    """The channel of the text shown where the pointer rests."""
    return {"field": "tip", "type": "nominal"}


def rule_at(axis: str, value: float, colour: str = FAINT, **mark: Any) -> Spec:
    """A line across the chart."""
    return {
        "mark": {"type": "rule", "color": colour, **mark},
        "data": {"values": [{"at": value}]},
        "encoding": {axis: {"field": "at", "type": "quantitative"}},
    }


def short(text: str, most: int = 60) -> str:
    """The text, or its beginning."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
