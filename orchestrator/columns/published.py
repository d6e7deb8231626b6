"""The columns of every table: those of the published one, with the task's rates at the end."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.columns.base import Part, Text
from orchestrator.columns.tasks import Rate, judged
from orchestrator.columns.texts import time_text
from orchestrator.results import CellResult

DESCRIBING = (
    Part(
        "Hardware",
        lambda result, _: result.hardware + (" (partial)" if result.partial else ""),
        drop=0,
        names=True,
    ),
    Part("Provider", lambda result, _: result.provider, drop=6, names=True),
    Part("Type", lambda result, _: result.type, drop=7, names=True),
    Part("Backend", lambda result, _: result.backend, drop=3, names=True),
    Part("Time", time_text, drop=0, right=True, wraps=True),
    Part("Granularity", lambda result, _: result.granularity or "-", drop=5, names=True),
    Part("Symmetry", lambda result, _: result.symmetry or "-", drop=4, names=True),
)


def published(rows: Sequence[CellResult]) -> tuple[Part, ...]:
    """The columns of a table of these rows."""
    found = judged(rows)
    rates = (
        Part(rate.heading, _marked(rate) if rate is found.main else rate.text, drop=0, right=True)
        for rate in found.rates
    )
    return (*DESCRIBING, *rates)


def _marked(rate: Rate) -> Text:
    """The main rate with the mark of a significant difference."""

    def text(result: CellResult, with_interval: bool) -> str:
        mark = ""
        if result.difference is not None and result.difference.real:
            mark = " ↓" if (rate.change(result.difference).value or 0) < 0 else " ↑"
        return rate.text(result, with_interval) + mark

    return text
