"""Detection: AP of each subset of faces, or AP and recall where there is one subset."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.columns.tasks.base import Judged, Rate
from orchestrator.columns.texts import rate_text
from orchestrator.counting import counted
from orchestrator.results import NO_RATE, CellResult, Estimate

KEYS = ("ap", "ap_easy", "ap_medium", "ap_hard", "recall")
"""Of all rates that a row may have."""


def judged(rows: Sequence[CellResult]) -> Judged:
    """AP by subset; compared by that of the largest."""
    first = rows[0].detection if rows else None
    subsets = tuple(first.ap) if first is not None else ("all",)
    main = first.main if first is not None else "all"
    single = len(subsets) == 1
    rates = [_ap(name, single) for name in subsets]
    chosen = rates[subsets.index(main)]
    if single and first is not None and first.recall:
        rates.append(_recall(next(iter(first.recall))))

    def basis(confidence: float) -> str:
        test = rows[0].test_set
        difficulty = (
            ""
            if test.difficulty is None
            else f", rendered scenes of difficulty {test.difficulty:g}"
        )
        faces = ", ".join(f"{count:,} {name}" for name, count in test.faces.items())
        if single:
            faces = f"{sum(test.faces.values()):,}"
        return (
            f"AP at IoU 0.5 over {counted(test.images, 'image')}, faces: {faces}{difficulty}; "
            f"[{100 * confidence:g} % interval] over resampled images"
        )

    return Judged(
        rates=tuple(rates),
        main=chosen,
        test="bootstrap over images",
        over="the same images",
        unknown="the test set has no face that counts",
        basis=basis,
    )


def _ap(subset: str, single: bool) -> Rate:
    def of(row: CellResult) -> Estimate:
        return NO_RATE if row.detection is None else row.detection.ap.get(subset, NO_RATE)

    return Rate(
        key="ap" if single else f"ap_{subset}",
        heading="AP" if single else f"AP {subset}",
        words="AP" if single else f"AP ({subset})",
        of=of,
        change=lambda difference: difference.ap.get(subset, NO_RATE),
        text=lambda row, wide: rate_text(of(row), wide),
        subset=subset,
    )


def _recall(rate: str) -> Rate:
    def of(row: CellResult) -> Estimate:
        return NO_RATE if row.detection is None else row.detection.recall.get(rate, NO_RATE)

    return Rate(
        key="recall",
        heading=f"Recall@FP<={rate}",
        words=f"recall at {rate} false positives an image",
        of=of,
        change=lambda difference: difference.recall,
        text=lambda row, wide: rate_text(of(row), wide),
    )
