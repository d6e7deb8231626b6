"""The end card of a run: its table with bars, what must be said of it, and a sentence.

It fits the terminal: intervals go before columns that have figures, and rows that matter least go
where there are more than lines; what is left out is in table.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.columns.tasks import judged
from orchestrator.reporting.analysis.conclusion import conclusion
from orchestrator.reporting.live.console import first_notes
from orchestrator.reporting.tables.bars import bars, colour, full_bar, points
from orchestrator.reporting.tables.fitting import Column, fits, fitted
from orchestrator.reporting.tables.table import footnotes, parts, row, serious_notes
from orchestrator.results import CellResult, Verdict

AROUND = 7  # lines beside rows, notes and sentence: heading, rows left, bars, blank ones, prompt
LEAST = 3  # rows that are shown on the lowest terminal
VERDICTS: Mapping[str, str] = {Verdict.SUSPECT: "yellow"}
BARS = ("Δ: {} minus float32's", "full bar: {:g} point{}", "coloured: significant")
Cells = tuple[str, ...]


def print_card(
    console: Console,
    results: Sequence[CellResult],
    total: int,
    columns: Sequence[str] = (),
    *,
    below: int = 2,
) -> None:
    """The finished table, its first footnotes, and one sentence of conclusion.

    Args:
        console: where to; on a terminal the card has no more lines than it, however many rows.
        results: rows with a result.
        total: how many rows the run has.
        columns: beside the published ones.
        below: lines that will be printed below it.
    """
    if not results:
        return
    drawn = not console.options.ascii_only
    said = Text(conclusion(results, total), style="bold")
    notes = first_notes(footnotes(results, {}), console.width, len(serious_notes(results)))
    shown = list(results)
    if console.is_terminal:
        taken = len(notes) + len(said.wrap(console, console.width))
        shown = most_telling(results, console.height - AROUND - taken - below)
    console.print(card_table(shown, columns, console.width, drawn=drawn))
    if len(shown) < len(results):
        left = len(results) - len(shown)
        console.print(Text(f"and {left} more row{'s' * (left > 1)} in table.md", style="dim"))
    if drawn and (full := full_bar(shown)):
        words = judged(results).main.words
        text = "; ".join(BARS).format(words, full, "" if full == 1 else "s")
        while cell_len(text) > console.width and "; " in text:  # a part less, but no word cut
            text = text.rpartition("; ")[0]
        console.print(Text(text, "dim"), no_wrap=True, overflow="ellipsis")
    console.print()
    for line in notes:
        console.print(Text(line, style="dim"), soft_wrap=True)
    console.print()
    console.print(said)


def most_telling(results: Sequence[CellResult], room: int) -> list[CellResult]:
    """As many rows as have room, in their order: what is compared with, then the significant ones
    from the largest difference on, then the first of the others."""
    room = max(room, LEAST)
    if len(results) <= room:
        return list(results)

    def rank(place: int) -> tuple[bool, bool, float, int]:
        one = results[place]
        real = bool(colour(one))
        return (
            one.difference is not None,
            not real,
            -abs(points(one) or 0.0) if real else 0.0,
            place,
        )

    places = sorted(sorted(range(len(results)), key=rank)[:room])
    return [results[place] for place in places]


def card_table(
    results: Sequence[CellResult], columns: Sequence[str], width: int, *, drawn: bool = True
) -> Table:
    """The table for a terminal of this width, with bars unless not `drawn`.

    What goes first where it does not fit: the columns that may go, then the reasons of a verdict,
    the intervals of the other rates, that of the main one.
    """
    of = parts(columns, results)
    names = [part.heading for part in of]
    head, lines = bars(results) if drawn else ("", [])
    shape = [
        Column(part.heading, drop=part.drop, right=part.right, names=part.names) for part in of
    ]
    found = judged(results)
    main = names.index(found.main.heading)
    others = tuple(rate.heading for rate in found.rates if rate is not found.main)
    if head:
        shape.insert(main + 1, Column(head))
    if all(result.partial for result in results):  # the sentence below says it once
        results = [result.model_copy(update={"partial": False}) for result in results]
    full = [row(result, of) for result in results]
    brief = [row(result, of, False) for result in results]
    levels: list[Callable[[Cells, Cells], Cells]] = [
        lambda whole, _: whole,
        lambda whole, less: _mixed(whole, less, names, ("Time",)),
        lambda whole, less: _mixed(whole, less, names, ("Time", *others)),
        lambda _, less: less,
    ]
    cells: list[list[str | Text]] = []
    for level in levels:
        texts = [level(whole, less) for whole, less in zip(full, brief, strict=True)]
        cells = [
            _styled(result, text, names, names[main])
            for result, text in zip(results, texts, strict=True)
        ]
        if head:
            for line, bar in zip(cells, lines, strict=True):
                line.insert(main + 1, bar)
        if fits(shape, cells, width):
            break
    return fitted(shape, cells, width)


def _mixed(whole: Cells, less: Cells, names: Sequence[str], short: tuple[str, ...]) -> Cells:
    """The texts, with those of the columns `short` in their short form."""
    return tuple(
        brief if name in short else text
        for name, text, brief in zip(names, whole, less, strict=True)
    )


def _styled(result: CellResult, texts: Cells, names: Sequence[str], main: str) -> list[str | Text]:
    styles = {main: colour(result), "Time": VERDICTS.get(result.verdict, "")}
    return [
        Text(text, style=styles[name]) if styles.get(name) else text
        for name, text in zip(names, texts, strict=True)
    ]
