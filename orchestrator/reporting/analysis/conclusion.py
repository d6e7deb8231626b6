"""One sentence of conclusion over a run's rows: what quantization costs, and whether it matters."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.audit.sentences import leak_notes
from orchestrator.columns.tasks import judged
from orchestrator.columns.texts import p_text
from orchestrator.results import NO_RATE, CellResult, Estimate

NOTHING = "No row has a result."
TINY = 0.005  # points: less is 0.00 in the table


def conclusion(rows: Sequence[CellResult], total: int | None = None) -> str:
    """What a person should take home from a table.

    Args:
        rows: those with a result, p values adjusted over them.
        total: how many rows the run has; None: as many as `rows`.

    Returns:
        a sentence, with what limits it: a part of the test set, a leak, warnings, missing rows.
    """
    missing = max(0, (total or 0) - len(rows))
    if not rows:
        return NOTHING if missing <= 1 else f"None of {missing} rows has a result."
    compared = [row for row in rows if row.difference is not None]
    said = _costs(compared) if compared else _rates(rows)
    return f"{said}{_limits(rows, missing)}."


def _costs(compared: Sequence[CellResult]) -> str:
    known = [row for row in compared if _points(row) is not None]
    if not known:
        found = judged(compared)
        return f"{found.main.words} cannot be compared with float32's: {found.unknown}"
    return f"{_quantized(known)} {_amount(known)}; {_significance(known)}{_shares(known)}"


def _shares(rows: Sequence[CellResult]) -> str:
    """What each model of rows of two changes alone; empty where rows are of one."""
    split = [row.split for row in rows if row.split is not None]
    if not split:
        return ""
    detector = [each.detector.rank1.value for each in split]
    recognizer = [each.recognizer.rank1.value for each in split]
    return f"; alone, the detector changes it by {_span(detector)}, the recognizer by " + _span(
        recognizer
    )


def _span(values: Sequence[float | None]) -> str:
    """`−1.2 to +0.2 points` of fractions."""
    known = sorted(100 * value for value in values if value is not None)
    if not known:
        return "an unknown amount"
    ends = dict.fromkeys(f"{value:+.1f}".replace("-", "−") for value in (known[0], known[-1]))
    return f"{' to '.join(ends)} points"


def _quantized(rows: Sequence[CellResult]) -> str:
    """What the rows have in common: `INT8`, or the word for all of it."""
    types = {row.dtype for row in rows}
    if types == {"float32"}:  # on another board, or by another runtime, than the reference
        return f"float32 on {rows[0].hardware}" if len(rows) == 1 else "float32 elsewhere"
    if len(types) == 1:
        return types.pop().upper()
    return "8-bit quantization" if types <= {"int8", "uint8"} else "Quantization"


def _amount(rows: Sequence[CellResult]) -> str:
    """`costs 0.3 ± 0.4 points of Rank-1`, `costs 0.1 to 0.8 points of Rank-1`."""
    words = judged(rows).main.words
    costs = [-(_points(row) or 0.0) for row in rows]
    least, most = min(costs), max(costs)
    if most < TINY and least > -TINY:
        return f"costs no {words}" + ("" if len(rows) == 1 else " in any row")
    if f"{least:.1f}" == f"{most:.1f}":
        widest = max(rows, key=_half)
        value = -(_points(widest) or 0.0)
        verb = "costs" if value >= 0 else "gains"
        return f"{verb} {abs(value):.1f} ± {_half(widest):.1f} points of {words}"
    if least >= -TINY:
        return f"costs {abs(least):.1f} to {most:.1f} points of {words}"
    if most <= TINY:
        return f"gains {abs(most):.1f} to {-least:.1f} points of {words}"
    return f"changes {words} by −{most:.1f} to +{-least:.1f} points"


def _significance(rows: Sequence[CellResult]) -> str:
    tested = [found for row in rows if (found := row.difference) and found.real is not None]
    if not tested:
        return "whether that is significant was not tested"
    worse = [row for row in rows if _is(row, worse=True)]
    better = [row for row in rows if _is(row, worse=False)]
    if not worse and not better:
        if len(rows) == 1:
            return f"that is not significant ({_p(rows[0])})"
        return "no row differs significantly from float32"
    if len(rows) == 1:
        word = "worse" if worse else "better"
        return f"that is significantly {word} than float32 ({_p(rows[0])})"
    count = len(worse or better)
    verb = "is" if count == 1 else "are"
    word = "worse" if worse else "better"
    said = f"{count} of {len(rows)} rows {verb} significantly {word}"
    if count == len(rows):
        said = f"{'both' if count == 2 else f'all {count}'} rows are significantly {word}"
    if worse and better:
        said += f" and {len(better)} significantly better"
    return f"{said} than float32{_worst(worse)}"


def _worst(worse: Sequence[CellResult]) -> str:
    """The row that lost most."""
    if not worse:
        return ""
    row = min(worse, key=lambda each: _points(each) or 0.0)
    return f" ({row.hardware} most: −{-(_points(row) or 0.0):.1f} ± {_half(row):.1f})"


def _is(row: CellResult, *, worse: bool) -> bool:
    if row.difference is None or not row.difference.real:
        return False
    return ((_points(row) or 0.0) < 0) is worse


def _p(row: CellResult) -> str:
    assert row.difference is not None
    p = row.difference.p if row.difference.p_holm is None else row.difference.p_holm
    return p_text(p)


def _change(row: CellResult) -> Estimate:
    """The difference of its main rate from float32's."""
    return NO_RATE if row.difference is None else judged([row]).main.change(row.difference)


def _points(row: CellResult) -> float | None:
    """The same in points; None where it was not compared."""
    value = _change(row).value
    return None if value is None else 100 * value


def _half(row: CellResult) -> float:
    """Half the interval of its difference, in points."""
    change = _change(row)
    if change.low is None or change.high is None:
        return 0.0
    return 50 * (change.high - change.low)


def _rates(rows: Sequence[CellResult]) -> str:
    """Rows that nothing was compared with."""
    found = judged(rows)
    words = found.main.words
    known = {row.name: value for row in rows if (value := found.main.of(row).value) is not None}
    if not known:
        return f"{words} is not known: {found.unknown}"
    values = sorted(100 * value for value in known.values())
    span = f"{values[0]:.1f}"
    if f"{values[-1]:.1f}" != span:
        span += f" to {values[-1]:.1f}"
    if all(row.dtype == "float32" for row in rows if row.name in known):
        return f"{words} of float32 is {span} %; no quantized row is there to compare"
    return f"{words} is {span} %; no float32 row is there to compare with"


def _limits(rows: Sequence[CellResult], missing: int) -> str:
    """What the sentence must not be read without."""
    said = []
    if any(row.partial for row in rows):
        said.append("on a part of the test set")
    if missing:
        said.append(f"{missing} of {missing + len(rows)} rows {_have(missing)} no result")
    warned = sum(bool(row.warnings or row.failed_images) for row in rows)
    if warned:
        said.append(f"{warned} row{'s' * (warned > 1)} {_have(warned)} warnings")
    if leak_notes(rows):
        said.append("the test set leaks: the figures say too much")
    return "".join(f"; {each}" for each in said)


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
