"""A run's page in parts that are drawn again one by one: summary, boards, table, log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.counting import counted, share
from orchestrator.reporting.analysis.conclusion import conclusion
from orchestrator.reporting.durations import between, duration
from orchestrator.reporting.export.files import failures_of
from orchestrator.reporting.html.rows import columns as columns_of
from orchestrator.reporting.html.rows import table_rows, verdicts
from orchestrator.reporting.live.idle import idle
from orchestrator.reporting.live.state import BoardLine, Running, RunState
from orchestrator.reporting.tables.causes import NOT_FINISHED
from orchestrator.reporting.tables.table import NAMED, footnotes
from orchestrator.reporting.text import plain
from orchestrator.reporting.waiting import waiting_text
from orchestrator.serving.following import Follower
from orchestrator.serving.templates import page, segment

LOG_LINES = 60
COLOURS = {
    **dict.fromkeys(("ready", "at work", "complete", "VALID"), "good"),
    **dict.fromkeys(
        ("busy", "connecting", "recovering", "waiting", "draining", "reserved"), "warn"
    ),
    **dict.fromkeys(("SUSPECT", "unproved", "interrupted", "incomplete", "going on"), "warn"),
    **dict.fromkeys(("unreachable", "unfit", "quarantined", "lost", "bug", "wrong input"), "bad"),
}


@dataclass(frozen=True)
class Tile:
    """A board, or a step of this host, as a page shows it.

    Attributes:
        since: Unix seconds from which on the page counts; None where it does not.
        done, total: of the step, in its unit; `total` is 0 while unknown.
        facts: name and value of what else is known.
    """

    name: str
    state: str
    what: str
    since: float | None = None
    note: str = ""
    done: int = 0
    total: int = 0
    pace: str = ""
    facts: tuple[tuple[str, str], ...] = ()

    @property
    def colour(self) -> str:
        """The class of its state."""
        return COLOURS.get(self.state, "neutral")


def board_tile(state: RunState, board: BoardLine) -> Tile:
    """What a board does, or why it does nothing."""
    facts = []
    if board.temperature_c is not None:
        facts.append(("°C", f"{board.temperature_c:.0f}"))
    if board.clock_mhz is not None:
        facts.append(("MHz", f"{board.clock_mhz:.0f}"))
    if board.verdict:
        facts.append(("verdict", board.verdict))
    if board.executed_by:
        facts.append(("executed by", board.executed_by))
    if board.steps_left and board.running is not None:
        facts.append(("to do", counted(board.steps_left, "step")))
    running = board.running if state.finished is None else None
    if running is not None:
        return _running(board.name, "at work", running, tuple(facts))
    why, since = idle(state, board) if state.finished is None else ("", None)
    waits = board.waiting is not None and state.finished is None
    return Tile(board.name, "waiting" if waits else board.state, why, since, facts=tuple(facts))


def _running(
    name: str, state: str, running: Running, facts: tuple[tuple[str, str], ...] = ()
) -> Tile:
    words = [word for word in running.step.split("/") if word != name]
    pace, left = running.rate, running.seconds_left
    said = [f"{running.done:,} of {running.total:,} {running.unit}"] if running.total else []
    if pace is not None and running.unit != "bytes":
        said.append(f"{pace:.0f}/s")
    if left is not None:
        said.append(f"{duration(left)} left")
    return Tile(
        name,
        state,
        " ".join(words),
        running.since,
        running.note,
        min(running.done, running.total) if running.total else 0,
        running.total,
        ", ".join(said),
        facts,
    )


def run_parts(follower: Follower, after: int = 0) -> dict[str, str]:
    """The parts that changed after an event's number, as HTML by their element's id.

    Args:
        follower: held by the caller.
        after: 0 for all parts.
    """
    state, changed = follower.state, follower.changed
    drawn: dict[str, Callable[[], str]] = {}
    if follower.events > after or not after:
        drawn["summary"] = lambda: _summary(follower)
    everything = not after or changed.plan > after
    for number, board in enumerate(state.boards.values()):
        if everything or changed.boards.get(board.name, 0) > after:
            drawn[f"tile-{number}"] = lambda board=board: _tile(state, board)  # type: ignore[misc]
    if everything or max(changed.head, changed.plan) > after:
        drawn["host"] = lambda: _host(state)
    if everything or changed.results > after:
        drawn["table"] = lambda: _table(follower)
        drawn["notes"] = lambda: _notes(follower)
    if not after or changed.log > after:
        drawn["log"] = lambda: _log(state)
    return {name: draw() for name, draw in drawn.items()}


def _tile(state: RunState, board: BoardLine) -> str:
    return page("tile.html.j2", tile=board_tile(state, board), link=True)


def _host(state: RunState) -> str:
    tiles = [_running("this host", "at work", each) for each in state.head.values()]
    waits = waiting_text(state.host_waits) if state.host_waits and not tiles else ""
    return page("host.html.j2", tiles=tiles if state.finished is None else [], waits=waits)


def _summary(follower: Follower) -> str:
    state, now = follower.state, time.time()
    left = state.left_s(now)
    total = len(state.cells)
    said = [share(state.done, state.total, "step"), share(len(state.results), total, "row")]
    if state.finished is not None:
        said.append(f"took {duration(follower.seconds)}")
    if left is not None:
        said.append(f"{between(*left)} left")
    return page(
        "summary.html.j2",
        percent=round(100 * state.share(now)) if state.started else 0,
        said=", ".join(said),
        since=state.began if state.finished is None else None,
        ended=state.finished is not None,
        conclusion=conclusion(follower.results(), total) if state.finished else "",
        message=plain(state.finished.message) if state.finished else "",
    )


def _table(follower: Follower) -> str:
    """Finished rows as the report has them, then those that have no result yet, or never will."""
    state, rows = follower.state, follower.results()
    columns = state.started.columns if state.started else ()
    numbered = {row["name"]: row for row in table_rows(rows, columns)}
    return page(
        "table.html.j2",
        columns=columns_of(rows, columns),
        finished=[(numbered[row.name], row_address(follower, row.name)) for row in rows],
        others=_without(state),
        verdicts=verdicts(rows) if rows else "",
    )


def row_address(follower: Follower, row: str) -> str:
    """Where a row's figures come from; an id of the page follows."""
    return f"/runs/{segment(follower.folder.name)}/row?name={segment(row)}#"


def _without(state: RunState) -> list[tuple[str, str, str, str]]:
    """Name, hardware, state and reason of each row without a result."""
    at_work = {
        name
        for line in [*state.boards.values()]
        if line.running is not None and (info := state.steps.get(line.running.step)) is not None
        for name in info.cells
    }
    found = []
    for name, why in failures_of(state).items():
        cell = state.cells[name]
        if why != NOT_FINISHED:
            word = "cannot run" if name in state.impossible else "no result"
        elif state.finished is not None:
            word, why = "not finished", ""
        else:
            word, why = "at work" if name in at_work else "waiting", ""
        found.append((name, cell.hardware, word, why))
    return found


def _notes(follower: Follower) -> str:
    rows, state = follower.results(), follower.state
    over = state.finished is not None
    failures: Mapping[str, str] = failures_of(state) if over else {}
    notes = [plain(note) for note in footnotes(rows, failures, most=NAMED)]
    return page("notes.html.j2", notes=notes)


def _log(state: RunState) -> str:
    lines = [
        (time.strftime("%H:%M:%S", time.localtime(at)), level, text)
        for at, level, text in reversed(list(state.log)[-LOG_LINES:])
    ]
    return page("log.html.j2", lines=lines)


def run_facts(follower: Follower) -> list[tuple[str, str]]:
    """Name and value of what is known of the whole run from its beginning."""
    started = follower.state.started
    if started is None:
        return []
    began = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(follower.began))
    found: list[tuple[str, Any]] = [
        ("Began", began),
        ("Matrix", started.matrix),
        ("Matrix sha256", started.matrix_sha256[:16]),
        ("Inventory", started.inventory),
        ("farm", started.farm),
    ]
    if started.limit:
        found.append(("Part", f"--limit {started.limit}"))
    if started.only:
        found.append(("Only", ", ".join(started.only)))
    return found
