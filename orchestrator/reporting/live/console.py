"""The live view: a line a board, what the head does, the plan's progress, the table as it fills,
the last words and warnings. What does not fit the terminal is left out, the least needed first.

Drawn on standard output when that is a terminal or a notebook; plain lines otherwise. The run
itself is another process, so nothing else prints here.
"""

from __future__ import annotations

import gc
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.counting import share
from orchestrator.events import Event, StepProgress
from orchestrator.reporting.durations import between, duration
from orchestrator.reporting.live.frames import Frames
from orchestrator.reporting.live.frozen import Frozen
from orchestrator.reporting.live.idle import idle
from orchestrator.reporting.live.lines import LiveColumn, in_lines
from orchestrator.reporting.live.state import BoardLine, Running, RunState
from orchestrator.reporting.tables.fitting import Column, fits, fitted
from orchestrator.reporting.tables.table import footnotes, parts, row, serious_notes
from orchestrator.results import CellResult, Verdict

TAIL = 6
WARNINGS = 3
TELL_S = 5.0
SHORT = 30
THIN = 80
WIDE = 110
WIDEST = 150
BAR, NARROW_BAR = 14, 9
NOTE_LINES = 4
COLLECTION = (5_000, 20, 1_000)
"""When garbage is looked for while the view is live: among all that a large plan has hardly ever,
since that would keep a frame waiting. Frames leave nothing that grows old."""
Detail = Literal["quiet", "usual", "verbose"]
STYLES = {"info": "dim", "warning": "yellow", "error": "red"}
STATE_STYLES = {
    "ready": "green",
    "busy": "cyan",
    "unreachable": "red",
    "unfit": "red",
    "connecting": "yellow",
    "waiting": "yellow",
}
VERDICT_STYLES: Mapping[str, str] = {Verdict.VALID: "green", Verdict.SUSPECT: "yellow"}


class View:
    """Shows a run while its events arrive. Use as a context manager.

    Args:
        console: where to.
        clock: the time of the run, Unix seconds; a replay has its own.
        detail: `quiet` prints warnings and errors only, `verbose` every line and the progress of
            long steps; neither has the live view.
    """

    def __init__(
        self,
        console: Console,
        clock: Callable[[], float] = time.time,
        detail: Detail = "usual",
    ) -> None:
        self._console = console
        self._clock = clock
        self._detail = detail
        self._reported: dict[str, float] = {}
        self._state = RunState()
        self._lock = threading.Lock()  # of the state: frames are drawn by a thread of their own
        self._live: Live | None = None
        self._frames: Frames | None = None
        self._collection = gc.get_threshold()
        self._table: tuple[list[CellResult], int, Frozen] = ([], 0, Frozen(""))

    @property
    def state(self) -> RunState:
        """The fold over what has been shown."""
        return self._state

    def __enter__(self) -> View:
        live = self._console.is_terminal or _in_notebook(self._console)
        if live and self._detail == "usual":
            gc.set_threshold(*COLLECTION)
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                get_renderable=self._draw,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
            self._frames = Frames(self._live.refresh)
            self._frames.start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._frames, self._live):
            if each is not None:
                each.stop()
        gc.set_threshold(*self._collection)

    def show(self, event: Event) -> None:
        """Take an event in."""
        before = self._state.said
        with self._lock:
            lines = self._state.apply(event)
        if self._live is not None:
            return
        if self._detail == "quiet":
            count = self._state.said - before
            newest = list(self._state.log)[-count:] if count else []
            lines = [text for _, level, text in newest if level != "info"]
        elif self._detail == "verbose" and isinstance(event, StepProgress):
            lines = self._progress(event)
        clock = time.strftime("%H:%M:%S", time.localtime(event.at))
        for line in lines:
            self._console.print(f"{clock}  {escape(line)}", highlight=False, soft_wrap=True)

    def recall(self, event: Event) -> None:
        """Take an event in of which nothing is shown: an earlier session of the run said it."""
        with self._lock:
            self._state.apply(event)

    def _progress(self, event: StepProgress) -> list[str]:
        """A line on a long step now and then."""
        if event.at - self._reported.setdefault(event.step, event.at) < TELL_S:
            return []
        self._reported[event.step] = event.at
        share = f" ({100 * event.done / event.total:.0f} %)" if event.total else ""
        return [f"{event.step}: {event.done:,} of {event.total:,} {event.unit}{share}"]

    def say(self, text: str, style: str = "") -> None:
        """A line that stays, above the live view."""
        if self._detail == "quiet" and style == "dim":
            return
        self._console.print(Text(text, style=style), soft_wrap=True)

    def _draw(self) -> RenderableType:
        with self._lock:
            return self._frame()

    def _frame(self) -> RenderableType:
        state = self._state
        if state.started is None:
            return Text("starting …", style="dim")
        tail = self._tail()
        boards, head = list(state.boards.values()), list(state.head.values())
        # Two headings, the plan's line, and one that stays free below.
        free = self._console.height - len(tail) - len(head) - 3
        table_lines = min(len(state.results), max(2, self._console.height // 5)) + 2
        crowded = len(boards) > free
        shown = fitting(boards, free - (table_lines if crowded and state.results else 0))
        parts: list[RenderableType] = [self._boards(shown, head)]
        if len(shown) < len(boards):
            parts.append(
                Text(_others(boards, shown), style="dim", no_wrap=True, overflow="ellipsis")
            )
        parts.append(self._overall())
        room = free - len(shown) - (len(shown) < len(boards)) - 2
        if state.results and room > 0:
            parts.append(self._results(room))
        return Group(*parts, *tail)

    def _boards(self, boards: Sequence[BoardLine], head: Sequence[Running]) -> Text:
        width = self._console.width
        wide, widest, thin = width >= WIDE, width >= WIDEST, width < THIN
        rows = [self._board_row(board, wide, widest) for board in boards]
        for running in head:
            first = [Text("this machine", style="dim"), Text("")]
            rows.append(self._cells(first, self._step(running), running, wide, widest))
        if thin:
            doing = [*(board.running for board in boards), *head]
            rows = [_thinned(*each) for each in zip(rows, doing, strict=True)]
            columns = [
                LiveColumn("Board", 16, as_needed=True),
                LiveColumn("Step", None),
                LiveColumn("", 9, True),
            ]
        else:
            columns = self._columns(wide, widest)
        return in_lines(self._console, columns, rows, expand=not wide)

    def _columns(self, wide: bool, widest: bool) -> list[LiveColumn]:
        found = [LiveColumn("Board", 22, as_needed=True), LiveColumn("State", 11)]
        if widest:
            found.append(LiveColumn("Row", 28, as_needed=True))
        found.append(LiveColumn("Step", None, least=_step_width(self._console.width)))
        found.append(LiveColumn("", self._bar))
        if wide:
            found.append(LiveColumn("Rate", 8, right=True))
        found.append(LiveColumn("Left", 6, right=True))
        if widest:
            found.append(LiveColumn("ms", 7, right=True))
        if wide:
            found += [LiveColumn("°C", 3, right=True), LiveColumn("MHz", 4, right=True)]
            found.append(LiveColumn("Verdict", 7))
        return found

    def _board_row(self, board: BoardLine, wide: bool, widest: bool) -> list[RenderableType]:
        state = "waiting" if board.waiting is not None and board.running is None else board.state
        first = [
            Text(board.name),
            Text(state, style=STATE_STYLES.get(state, "dim")),
        ]
        running = board.running
        if running is not None:
            step = self._step(running, board.name)
        else:
            why, since = idle(self._state, board)
            spent = "" if since is None else _seconds(self._clock() - since)
            step = [Text(why, style="dim"), Text(spent, style="dim"), Text(""), Text("")]
        return self._cells(first, step, running, wide, widest, board)

    def _cells(
        self,
        first: Sequence[RenderableType],
        step: list[RenderableType],
        running: Running | None,
        wide: bool,
        widest: bool,
        board: BoardLine | None = None,
    ) -> list[RenderableType]:
        """A line in the order of the columns that fit: a narrow terminal has none for the rate."""
        cells = [*first, *(step if wide else [*step[:2], *step[3:]])]
        if widest:
            info = self._state.steps.get(running.step) if running else None
            rows = info.cells if info else ()
            more = f" +{len(rows) - 1}" if len(rows) > 1 else ""
            cells.insert(len(first), Text(f"{rows[0]}{more}" if rows else "", style="dim"))
            # A substitute's pace is this computer's: it never stands where a board's would.
            timed = running is not None and board is not None and board.executed_by == "board"
            rate = running.rate if running is not None and running.unit == "inferences" else None
            cells.append(Text(f"{1000 / rate:.1f}" if timed and rate else ""))
        if wide:
            heat = board.temperature_c if board else None
            clock = board.clock_mhz if board else None
            verdict = board.verdict if board else ""
            cells.append(Text("" if heat is None else f"{heat:.0f}"))
            cells.append(Text("" if clock is None else f"{clock:.0f}"))
            cells.append(Text(verdict, style=VERDICT_STYLES.get(verdict, "dim")))
        return cells

    @property
    def _bar(self) -> int:
        return BAR if self._console.width >= WIDE else NARROW_BAR

    def _step(self, running: Running, board: str = "") -> list[RenderableType]:
        names = [word for word in running.step.split("/") if word != board]
        bar: RenderableType = (
            ProgressBar(total=running.total, completed=running.done, width=self._bar)
            if running.total
            else Text(f"{max(0.0, self._clock() - running.since):.0f} s", style="dim")
        )
        rate = running.rate
        return [
            Text(" ".join([running.note or "", *names]).strip()),
            bar,
            Text("" if rate is None else _rate(rate, running.unit)),
            Text(_duration(running.seconds_left)),
        ]

    def _overall(self) -> RenderableType:
        state, now = self._state, self._clock()
        thin = self._console.width < THIN
        done, total = state.done, state.total
        reached = f"{state.share(now):.0%}" if thin else share(done, total, "step")
        text = f"{reached}, {share(len(state.results), len(state.cells), 'row')}"
        left = state.left_s(now)
        spent = f", {_duration(max(0.0, now - state.began))}"
        narrow = self._console.width < WIDE
        text += spent if narrow or left is None else f"{spent} spent"
        if left is not None:
            text += f", {between(*left)} left"
        if left is not None and not narrow:
            clocks = [time.strftime("%H:%M", time.localtime(now + each)) for each in left]
            text += f" (until {'–'.join(dict.fromkeys(clocks))})"
        plan = Text("Plan", style="bold")
        if thin:
            line = plan + Text(f" {text}", style="not bold")
            line.no_wrap, line.overflow = True, "ellipsis"
            return line
        table = Table.grid(padding=(0, 1), expand=False)
        width = 14 if narrow else 24
        bar = ProgressBar(total=1000, completed=1000 * state.share(now), width=width)
        table.add_row(plan, bar, Text(text))
        return table

    def _results(self, room: int) -> RenderableType:
        """The table as far as it is filled; the newest rows where not all fit."""
        done = [
            self._state.results[name] for name in self._state.cells if name in self._state.results
        ]
        newest, width = done[-room:], self._console.width
        if self._table[:2] != (newest, width):
            columns = self._state.started.columns if self._state.started else ()
            self._table = newest, width, Frozen(results_table(newest, columns, width))
        return self._table[2]

    def _tail(self) -> list[RenderableType]:
        """The last words; the last warnings stay until newer ones come."""
        log = list(self._state.log)
        short = self._console.height < SHORT
        count = TAIL // 2 if short else TAIL
        warnings = [entry for entry in log[:-count] if entry[1] != "info"]
        pinned = warnings[-(1 if short else WARNINGS) :]
        lines: list[RenderableType] = []
        for at, level, text in [*pinned, *log[-count:]]:
            clock = time.strftime("%H:%M:%S", time.localtime(at))
            line = Text(f"{clock} {text}", style=STYLES[level], no_wrap=True, overflow="ellipsis")
            lines.append(line)
        return lines


def fitting(boards: Sequence[BoardLine], room: int) -> list[BoardLine]:
    """The boards that have a line each, in their order: all, or those that matter most now."""
    if len(boards) <= room:
        return list(boards)
    order = sorted(range(len(boards)), key=lambda i: (_urgency(boards[i]), i))
    return [boards[i] for i in sorted(order[: max(1, room - 1)])]


def _urgency(board: BoardLine) -> int:
    if board.running is not None:
        return 0
    if board.state in ("unfit", "unreachable", "recovering"):
        return 1
    states = ("busy", "connecting", "ready", "starting", "waiting")
    return 2 + states.index(board.state) if board.state in states else 9


def _step_width(width: int) -> int:
    """The least width of a step's text: a board's name gives way to it."""
    if width < WIDE:
        return 0
    return min(36, 16 + width - (WIDEST if width >= WIDEST else WIDE))


def _others(boards: Sequence[BoardLine], shown: Sequence[BoardLine]) -> str:
    """Those without a line, counted by their state."""
    seen = {board.name for board in shown}
    states = Counter(
        "at work" if board.running is not None else board.state
        for board in boards
        if board.name not in seen
    )
    words = ", ".join(f"{count} {state}" for state, count in states.most_common())
    return f"and {states.total()} more boards: {words}"


def print_table(
    console: Console,
    results: Sequence[CellResult],
    failures: dict[str, str],
    columns: Sequence[str] = (),
) -> None:
    """The finished table, with `columns` beside the published ones, and its first footnotes.

    What does not fit the terminal is in table.md.
    """
    if results:
        console.print(results_table(results, columns, console.width))
        console.print()
    must = len(serious_notes(results))
    for line in first_notes(footnotes(results, failures), console.width, must):
        console.print(Text(line, style="dim"), soft_wrap=True)


def results_table(results: Sequence[CellResult], columns: Sequence[str], width: int) -> Table:
    """The table for a terminal of this width: columns are dropped first, intervals last."""
    of = parts(columns, results)
    shape = [
        Column(each.heading, drop=each.drop, right=each.right, wraps=each.wraps, names=each.names)
        for each in of
    ]
    with_intervals = [row(result, of) for result in results]
    if fits(shape, with_intervals, width):
        return fitted(shape, with_intervals, width)
    return fitted(shape, [row(result, of, False) for result in results], width)


def first_notes(
    notes: Sequence[str], width: int, must: int = 0, most: int = NOTE_LINES
) -> list[str]:
    """Footnotes as lines of a terminal: as many as have room whole, and how many are left out.

    Args:
        must: so many of the first notes are shown whatever the room, two lines of each.
    """
    wrapped = [textwrap.wrap(note, width, break_long_words=False) for note in notes]
    if sum(map(len, wrapped)) <= most:
        return [line for lines in wrapped for line in lines]
    shown: list[str] = []
    left = 0
    for lines in wrapped[:must]:
        shown += lines[:2]
        if len(lines) > 2:
            shown[-1] = f"{shown[-1][: width - 2]} …"
    most = max(most, len(shown) + 2)
    for lines in wrapped[must:]:
        if len(shown) + len(lines) < most:
            shown += lines
        else:
            left += 1
    if left:
        shown.append(f"{left} more note{'s' * (left > 1)} in table.md")
    return shown


def _in_notebook(console: Console) -> bool:
    """Whether a live view can be drawn in a notebook: rich needs ipywidgets for it."""
    return console.is_jupyter and find_spec("ipywidgets") is not None


def _thinned(cells: Sequence[RenderableType], running: Running | None) -> list[RenderableType]:
    """Board, state, step, bar and time left as three cells: the state only where a board does
    nothing; where the time left is unknown, the share that is done or the time spent."""
    name, state, step, bar, left = cells
    if isinstance(bar, ProgressBar):
        bar = Text(f"{bar.completed / bar.total:.0%}" if bar.total else "")
    if running is None:
        assert isinstance(state, Text)
        step = state + Text(f" {step}".rstrip(), style="dim")
    return [name, step, Text(f"{left} left") if str(left) else bar]


def _rate(rate: float, unit: str) -> str:
    if unit == "bytes":
        return f"{rate / 1e6:.1f}MB/s"
    return f"{rate:.0f}/s"


def _seconds(seconds: float) -> str:
    return duration(max(0.0, seconds))


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
