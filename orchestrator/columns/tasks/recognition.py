"""1:N identification: Rank-1, and TAR at the table's FAR."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.columns.tasks.base import Judged, Rate
from orchestrator.columns.texts import far_text, rate_text, tar_text
from orchestrator.counting import counted
from orchestrator.results import CellResult

KEYS = ("rank1", "tar")
"""Of all rates that a row may have."""

RANK1 = Rate(
    key="rank1",
    heading="Rank1",
    words="Rank-1",
    of=lambda row: row.rank1,
    change=lambda difference: difference.rank1,
    text=lambda row, wide: rate_text(row.rank1, wide),
)


def judged(rows: Sequence[CellResult]) -> Judged:
    """Rank-1 and TAR; the column's heading carries the FAR that was asked for."""
    far = rows[0].tar.far_target if rows else 1e-3
    tar = Rate(
        key="tar",
        heading=f"TAR@FAR<={far_text(far)}",
        words="TAR",
        of=lambda row: row.tar,
        change=lambda difference: difference.tar,
        text=lambda row, wide: tar_text(row.tar, wide),
    )

    def basis(confidence: float) -> str:
        test, allowed = rows[0].test_set, rows[0].tar.k
        what = "faces" if rows[0].not_acquired is None else "photos"
        difficulty = (
            ""
            if test.difficulty is None
            else f", rendered {what} of difficulty {test.difficulty:g}"
        )
        return (
            f"1:N over {counted(test.gallery, 'enrolled identity')}, {test.mated:,} mated and "
            f"{counted(test.unknown, 'unknown probe')}{difficulty}; "
            f"[{100 * confidence:g} % interval]; FAR is per search; the threshold allows "
            f"{allowed} false alarm{'s' * (allowed != 1)}"
        )

    return Judged(
        rates=(RANK1, tar),
        main=RANK1,
        test="McNemar",
        over="the same probes",
        unknown="no probe is of an enrolled person",
        basis=basis,
    )
