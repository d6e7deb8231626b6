"""The live view: a line a board, what the head does, overall progress, the last words.

Drawn on standard output when that is a terminal or a notebook; plain lines otherwise. The run
itself is another process, so nothing else prints here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.events import Event
from orchestrator.reporting.state import BoardLine, Running, RunState
from orchestrator.reporting.table import footnotes, headings, row
from orchestrator.results import CellResult

TAIL = 6
FULL_TABLE = 132
LEFT_OUT = ("Provider", "Type", "Granularity", "Symmetry")
STYLES = {"info": "dim", "warning": "yellow", "error": "red"}
STATE_STYLES = {
    "ready": "green",
    "busy": "cyan",
    "unreachable": "red",
    "unfit": "red",
    "connecting": "yellow",
}


class View:
    """Shows a run while its events arrive. Use as a context manager.

    Args:
        console: where to.
        clock: the time of the run, Unix seconds; a replay has its own.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.time) -> None:
        self._console = console
        self._clock = clock
        self._state = RunState()
        self._live: Live | None = None
        self._began: float | None = None

    @property
    def state(self) -> RunState:
        """The fold over what has been shown."""
        return self._state

    def __enter__(self) -> View:
        if self._console.is_terminal or _in_notebook(self._console):
            self._live = Live(
                console=self._console,
                refresh_per_second=4,
                get_renderable=self._draw,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, event: Event) -> None:
        """Take an event in."""
        self._began = self._began or event.at
        lines = self._state.apply(event)
        if self._live is None:
            clock = time.strftime("%H:%M:%S", time.localtime(event.at))
            for line in lines:
                self._console.print(f"{clock}  {escape(line)}", highlight=False, soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        """A line that stays, above the live view."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def _draw(self) -> RenderableType:
        state = self._state
        if state.started is None:
            return Text("starting …", style="dim")
        parts: list[RenderableType] = [self._boards(), self._overall()]
        if state.log:
            parts.append(self._tail())
        return Group(*parts)

    def _boards(self) -> Table:
        wide = self._console.width >= 110
        table = Table(box=None, pad_edge=False, expand=not wide, header_style="bold")
        table.add_column("Board", no_wrap=True, max_width=22)
        table.add_column("State", no_wrap=True, width=11)
        table.add_column("Step", no_wrap=True, ratio=2, min_width=40 if wide else None)
        table.add_column("", width=14)
        table.add_column("Rate", justify="right", no_wrap=True, width=8)
        table.add_column("Left", justify="right", no_wrap=True, width=6)
        if wide:
            table.add_column("°C", justify="right", no_wrap=True, width=5)
            table.add_column("MHz", justify="right", no_wrap=True, width=6)
        for board in self._state.boards.values():
            table.add_row(*self._board_row(board, wide))
        for running in list(self._state.head.values()):
            cells = [Text("this head", style="dim"), Text(""), *self._step(running)]
            table.add_row(*cells, *([Text("")] * 2 if wide else []))
        return table

    def _board_row(self, board: BoardLine, wide: bool) -> list[RenderableType]:
        name = Text(board.name)
        state = Text(board.state, style=STATE_STYLES.get(board.state, "dim"))
        if board.running is not None:
            step = self._step(board.running, board.name)
        else:
            idle = board.reason.splitlines()[0] if board.reason else ""
            if not idle and board.state in ("ready", "waiting"):
                idle = f"{board.steps_left} steps to go" if board.steps_left else "nothing to do"
            step = [Text(idle, style="dim"), Text(""), Text(""), Text("")]
        cells: list[RenderableType] = [name, state, *step]
        if wide:
            hot = "" if board.temperature_c is None else f"{board.temperature_c:.0f}"
            clock = "" if board.clock_mhz is None else f"{board.clock_mhz:.0f}"
            cells += [Text(hot), Text(clock)]
        return cells

    def _step(self, running: Running, board: str = "") -> list[RenderableType]:
        words = [word for word in running.step.split("/") if word != board]
        bar: RenderableType = (
            ProgressBar(total=running.total, completed=running.done, width=14)
            if running.total
            else Text(f"{max(0.0, self._clock() - running.since):.0f} s", style="dim")
        )
        rate = running.rate
        return [
            Text(" ".join(words)),
            bar,
            Text("" if rate is None else _rate(rate, running.unit)),
            Text(_duration(running.seconds_left)),
        ]

    def _overall(self) -> RenderableType:
        state = self._state
        done, total = state.done, state.total
        rows = f"{len(state.results)} of {len(state.cells)} rows"
        spent = _duration(max(0.0, self._clock() - (self._began or self._clock())))
        table = Table.grid(padding=(0, 1), expand=False)
        table.add_row(
            Text("Plan", style="bold"),
            ProgressBar(total=max(total, 1), completed=done, width=24),
            Text(f"{done} of {total} steps, {rows}, {spent}"),
        )
        return table

    def _tail(self) -> RenderableType:
        lines = []
        for at, level, text in list(self._state.log)[-TAIL:]:
            clock = time.strftime("%H:%M:%S", time.localtime(at))
            line = Text(f"{clock} {text}", style=STYLES[level], no_wrap=True, overflow="ellipsis")
            lines.append(line)
        return Group(*lines)


def print_table(console: Console, results: Sequence[CellResult], failures: dict[str, str]) -> None:
    """The finished table and its footnotes."""
    if results:
        names = headings(results)
        # Where the whole table does not fit, table.md has what is left out here.
        narrow = console.width < FULL_TABLE
        shown = [i for i, name in enumerate(names) if not (narrow and name in LEFT_OUT)]
        table = Table(box=None, pad_edge=False, header_style="bold")
        for i in shown:
            right = names[i] in ("Time", "Rank1") or names[i].startswith("TAR")
            table.add_column(names[i], justify="right" if right else "left", overflow="fold")
        for result in results:
            texts = row(result, with_interval=not narrow)
            table.add_row(*(escape(texts[i]) for i in shown))
        console.print(table)
        console.print()
    for note in footnotes(results, failures):
        console.print(Text(note, style="dim"), soft_wrap=False)


def _in_notebook(console: Console) -> bool:
    """Whether a live view can be drawn in a notebook: rich needs ipywidgets for it."""
    return console.is_jupyter and find_spec("ipywidgets") is not None


def _rate(rate: float, unit: str) -> str:
    if unit == "bytes":
        return f"{rate / 1e6:.1f}MB/s"
    return f"{rate:.0f}/s"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
