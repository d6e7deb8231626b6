"""The live view's own lines: cut to the terminal, and rendered once where nothing changes."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.text import Text

from orchestrator.reporting.live.frozen import Frozen
from orchestrator.reporting.live.lines import GAP, LiveColumn, in_lines

COLUMNS = (
    LiveColumn("Board", 12, as_needed=True),
    LiveColumn("Step", None, least=8),
    LiveColumn("", 9),
    LiveColumn("Left", 6, right=True),
)
WORDS = st.text(st.sampled_from("abc /é漢字…"), max_size=30)
ROWS = st.lists(st.tuples(WORDS, WORDS, WORDS, WORDS), max_size=5)


def terminal(width: int, colour: bool = False) -> Console:
    system = "256" if colour else None
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=system)  # type: ignore[arg-type]


def shown(width: int, rows: list[tuple[str, ...]], *, expand: bool = True) -> list[str]:
    console = terminal(width)
    text = in_lines(console, COLUMNS, [[Text(cell) for cell in row] for row in rows], expand=expand)
    with console.capture() as capture:
        console.print(Group(text))  # as a frame does
    return capture.get().splitlines()


@given(ROWS, st.integers(10, 80), st.booleans())
def test_a_row_is_a_line_no_wider_than_the_terminal(rows, width, expand):
    lines = shown(width, rows, expand=expand)
    assert len(lines) == 1 + len(rows)
    assert all(cell_len(line) <= width for line in lines)


@given(ROWS, st.integers(45, 80))
def test_cells_of_a_column_stand_below_each_other(rows, width):
    lines = shown(width, rows)
    board = max([5, *(min(12, cell_len(row[0])) for row in rows)])
    for line, row in zip(lines[1:], rows, strict=True):
        assert cell_len(line) == width
        if cell_len(row[0]) <= board:
            assert line.startswith(row[0])
        if cell_len(row[3]) <= 6:
            assert line.endswith(row[3].rjust(6 - cell_len(row[3]) + len(row[3])))


def test_the_name_gives_way_to_the_step_and_both_say_that_they_are_cut():
    rows = [("a-long-board", "extract gallery", "", "0:01")]
    assert shown(60, rows)[1].split() == ["a-long-board", "extract", "gallery", "0:01"]
    line = shown(6 + 8 + 9 + 6 + 3 * GAP, rows)[1]
    assert line == f"a-lon…{' ' * GAP}extract…{' ' * (9 + 2 * GAP)}  0:01"
    assert cell_len(shown(80, rows, expand=False)[1]) == 12 + 15 + 9 + 6 + 3 * GAP


def test_a_bar_and_styles_are_kept():
    console = terminal(60, colour=True)
    row = [Text("x", style="red"), Text("y"), ProgressBar(total=2, completed=1, width=9), Text("")]
    with console.capture() as capture:
        console.print(Group(in_lines(console, COLUMNS, [row], expand=True)))
    heading, line = capture.get().splitlines()
    assert heading.startswith("\x1b[1mBoard")
    assert line.startswith("\x1b[31mx")
    with console.capture() as capture:
        console.print(ProgressBar(total=2, completed=1, width=9), end="")
    assert capture.get() in line


class Counted:
    """Counts how often it is rendered."""

    def __init__(self) -> None:
        self.times = 0

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.times += 1
        yield Segment("=" * options.max_width)


def test_what_does_not_change_is_rendered_once_a_width():
    content = Counted()
    frozen = Frozen(content)
    for width, times in ((20, 1), (20, 1), (30, 2), (30, 2)):
        console = terminal(width)
        with console.capture() as capture:
            console.print(frozen, end="")
        assert capture.get().strip() == "=" * width
        assert content.times == times
