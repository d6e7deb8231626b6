"""The end card: bars, colours, the rows that matter, and a sentence, within the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from orchestrator.reporting.analysis.conclusion import conclusion
from orchestrator.reporting.live.card import card_table, most_telling, print_card
from orchestrator.reporting.tables.bars import bars
from orchestrator.results import CellResult

from .test_conclusion import LEAK, REF, row

WORSE = row("worse", -0.81, 0.3, p=0.002, rate=0.79)
NOISE = row("noise", -0.1, p=1.0)
BETTER = row("better", 0.5, 0.3, p=0.01)
ROWS = [REF, WORSE, NOISE, BETTER]
SUSPECT = row(
    "doubtful", -0.2, p=1.0, verdict="SUSPECT", verdict_reason="too noisy: 29 % of the median"
)


def card(
    results: list[CellResult],
    width: int = 80,
    height: int = 24,
    *,
    terminal: bool = True,
) -> str:
    file = io.StringIO()
    console = Console(
        width=width,
        height=height,
        file=file,
        force_terminal=terminal,
        color_system="standard" if terminal else "auto",
        highlight=False,
        _environ={},
    )
    print_card(console, results, len(results))
    return file.getvalue()


def test_bars_go_from_the_middle_to_the_side_of_the_difference() -> None:
    head, drawn = bars(ROWS)
    assert head == "Δ ±1"
    assert [bar.plain for bar in drawn] == ["", " ███│    ", "   ▐│    ", "    │██  "]
    assert [str(span.style) for bar in drawn for span in bar.spans] == [
        "not dim red",
        "not dim green",
    ]
    red = drawn[1].spans[0]
    assert drawn[1].plain[red.start : red.end] == "███"
    assert bars([REF]) == ("", [])


@pytest.mark.parametrize(
    ("points", "scale"), [(0.0, "0.1"), (0.3, "0.5"), (0.8, "1"), (1.2, "2"), (46.3, "50")]
)
def test_the_scale_of_the_bars_is_a_round_number(points: float, scale: str) -> None:
    assert bars([row("a", -points, p=1.0)])[0] == f"Δ ±{scale}"


def test_a_terminal_gets_colour_and_a_file_none() -> None:
    on_terminal, in_a_file = card(ROWS), card(ROWS, terminal=False)
    assert "\x1b[31m79.00 ↓" in on_terminal
    assert "\x1b[32m80.00 ↑" in on_terminal
    assert "\x1b" not in in_a_file
    assert "79.00 ↓" in in_a_file
    assert "███│" in in_a_file


def test_the_last_line_is_the_conclusion() -> None:
    said = card(ROWS, 200, terminal=False).splitlines()
    assert said[-1] == conclusion(ROWS)
    assert "full bar: 1 point;" in "\n".join(said)


def test_a_terminal_without_unicode_gets_no_bars() -> None:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(card_table([REF, NOISE], (), 80, drawn=False))
    assert isinstance(console.file, io.StringIO)
    assert "│" not in console.file.getvalue()
    assert "Δ" not in console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("count", [1, 7, 40])
def test_it_fits_the_terminal(width: int, count: int) -> None:
    many = [REF, *(row(f"board-{n}", -0.1 * n, p=1.0) for n in range(count)), WORSE, SUSPECT]
    lines = card(many, width).splitlines()
    assert len(lines) <= 24 - 4  # the run's last lines and the prompt stand below
    text = "\n".join(lines)
    assert "ref" in text
    assert "worse" in text
    whole = len(card(many, width, terminal=False).splitlines())
    assert whole >= len(many) + 3
    assert ("more rows in table.md" in text) == (count == 40)


def test_the_rows_that_matter_stay() -> None:
    many = [*(row(f"n{n}", -0.01 * n, p=1.0) for n in range(20)), REF, WORSE, BETTER]
    assert [each.name for each in most_telling(many, 5)] == ["n0", "n1", "ref", "worse", "better"]
    assert most_telling(ROWS, 1) == [REF, WORSE, BETTER]
    assert most_telling(ROWS, 9) == ROWS


def test_reasons_go_before_intervals_and_intervals_before_bars() -> None:
    lowest = SUSPECT.model_copy(
        update={"rank1": SUSPECT.rank1.model_copy(update={"low": 0.7, "high": 0.9})}
    )

    def shown(width: int) -> str:
        console = Console(width=width, file=io.StringIO(), color_system=None)
        console.print(card_table([REF, lowest], (), width))
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue()

    assert "(too noisy)" in shown(120)
    narrow = shown(66)
    assert "(too noisy)" not in narrow
    assert "[70.0, 90.0]" in narrow
    narrower = shown(48)
    assert "[" not in narrower
    assert "│" in narrower


def test_a_leak_is_said_first_and_in_the_sentence() -> None:
    leaking = [REF.model_copy(update={"test_set": LEAK}), NOISE]
    lines = [line for line in card(leaking, terminal=False).splitlines() if line]
    assert lines[3].startswith("Δ: ")
    assert lines[4].startswith("LEAK")
    assert "the test set leaks" in " ".join(lines[-2:])


def test_a_part_of_the_test_set_is_said_once() -> None:
    said = card([each.model_copy(update={"partial": True}) for each in ROWS], terminal=False)
    table, _, rest = said.partition("\n\n")
    assert "(partial)" not in table
    assert "on a part of the test set" in " ".join(rest.split())
