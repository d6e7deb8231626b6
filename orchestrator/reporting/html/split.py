"""Where Rank-1 goes in rows of two models: by the detector alone, by the recognizer alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from orchestrator.columns.texts import DASH, p_text, points
from orchestrator.reporting.html.accuracy import forest
from orchestrator.reporting.html.chart import NEUTRAL, SERIES, Chart
from orchestrator.results import CellResult, Difference

MOST = 20


def shares(rows: Sequence[CellResult], names: Mapping[str, str]) -> Chart | None:
    """Each row's change of Rank-1: whole, and with one of its models in float32."""
    split = [row for row in rows if row.split is not None][:MOST]
    drawn, lines, body = [], [], []
    for row in split:
        parts = _parts(row)
        for part, found, colour in parts:
            name = f"{names[row.name]}: {part}"
            lines.append(name)
            drawn.append(_point(name, found, colour))
        lost = row.not_acquired
        body.append(
            (
                names[row.name],
                *(points(found.rank1) for _, found, _ in parts),
                f"{lost.gallery} of the gallery, {lost.probe} of the probes" if lost else DASH,
            )
        )
    if not drawn:
        return None
    return Chart(
        ident="split-chart",
        title="Rank-1 minus float32's, by model",
        alt="Each row's difference of Rank-1 from float32: whole, by its detector, by its "
        "recognizer, with intervals.",
        caption="Bars: 95 % intervals, paired over the same probes; p: McNemar, of one comparison "
        "(not adjusted). By detector: the recognizer is in float32; by recognizer: the detector "
        "is. The two need not add up to the whole: a probe that fails for either fails once.",
        spec=forest(drawn, lines),
        head=("Row", "Whole, points", "By detector", "By recognizer", "Photos without a face"),
        body=body,
    )


def _parts(row: CellResult) -> list[tuple[str, Difference, str]]:
    assert row.split is not None
    parts = [
        ("by detector", row.split.detector, SERIES[0]),
        ("by recognizer", row.split.recognizer, SERIES[1]),
    ]
    return ([("whole", row.difference, NEUTRAL)] if row.difference else []) + parts


def _point(name: str, found: Difference, colour: str) -> dict[str, object]:
    rate = found.rank1
    value = rate.value or 0.0
    low = value if rate.low is None else rate.low
    high = value if rate.high is None else rate.high
    return {
        "row": name,
        "value": 100 * value,
        "low": 100 * low,
        "high": 100 * high,
        "colour": colour,
        "p": p_text(found.p),
        "tip": f"{name}\n{points(rate)} points, {p_text(found.p)}\n"
        f"{found.only_reference} probes lost, {found.only_cell} gained",
    }
