"""Which lines of the fleet log still count, kept in the index so that old ones are not read again.

A board that worked a thousand times has a thousand lines, of which its standing needs the last.
`counting` says which lines a later one makes superfluous; the fold over the others is the fold over
all, for every identity of the board's entry and at every time.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from orchestrator.store import index
from orchestrator.store.fleet_entries import Entry
from orchestrator.store.reservations import reservations

_TAIL = 512


class Log(Protocol):
    """The log as far as its index reads it; see `FleetLog`."""

    @property
    def path(self) -> Path:
        """Its file."""

    def since(self, offset: int) -> tuple[list[Entry], int]:
        """Entries after a byte, and the byte after the last whole line."""

    @staticmethod
    def parsed(lines: Iterable[bytes]) -> Iterator[Entry]:
        """Lines as entries."""


def counting(entries: Iterable[Entry]) -> list[Entry]:
    """One board's lines, in order, without those that say nothing of its standing any more."""
    counted: list[Entry] = []
    for entry in entries:
        match entry.event:
            case "added" | "removed":
                counted = [entry]
            case "drained" | "undrained":
                counted = [each for each in counted if each.event not in ("drained", "undrained")]
                counted.append(entry)
            case "reserved" | "unreserved":
                counted = _reserving(counted, entry)
            case "worked":
                while (place := _replaced(counted, entry)) is not None:
                    del counted[place]
                counted.append(entry)
            case "checked":
                if entry.state == "ready" and entry.proofs:
                    counted = _before_proof(counted, entry.identity)
                counted.append(entry)
            case "quarantined":
                counted.append(entry)
    return counted


def _reserving(entries: list[Entry], entry: Entry) -> list[Entry]:
    """Lines that reserve count from the last moment on at which the board was nobody's."""
    rest = [each for each in entries if each.event not in ("reserved", "unreserved")]
    if entry.event == "reserved":
        return [*(entries if reservations(entries, entry.at) else rest), entry]
    return [*entries, entry] if reservations([*entries, entry], entry.at) else rest


def _before_proof(entries: list[Entry], identity: str) -> list[Entry]:
    """What still counts once `identity` was proved: nothing else of it, as a rule.

    A line of it also says that any other entry under this name is unproved. The proof says so
    again, but not to an entry that was quarantined in between: the line before that still counts.
    """
    others = [
        place
        for place, each in enumerate(entries)
        if _quarantines(each) and _identity(each) != identity
    ]
    last = max(others, default=-1)
    left = [
        each for place, each in enumerate(entries) if place < last or _identity(each) != identity
    ]
    # What stood between two lines may be gone, so that the second makes the first superfluous.
    return left if len(left) == len(entries) else counting(left)


def _quarantines(entry: Entry) -> bool:
    """Whether a line puts an entry of the inventory into quarantine."""
    return entry.event == "quarantined" or (
        entry.event == "checked" and entry.state == "quarantined"
    )


def _identity(entry: Entry) -> str | None:
    """Of which entry of the inventory a line tells the state; None when of none."""
    if entry.event == "checked" or entry.event == "worked" or entry.event == "quarantined":
        return entry.identity
    return None


def _replaced(entries: list[Entry], entry: Entry) -> int | None:
    """The place of work of which everything is read again."""
    assert entry.event == "worked"
    for place in reversed(range(len(entries))):
        before = entries[place]
        if _identity(before) is None:
            continue
        if before.event != "worked" or before.identity != entry.identity:
            return None
        runtimes = {proof.runtime for proof in entry.proofs}
        if not {proof.runtime for proof in before.proofs} <= runtimes:
            return None
        as_complete = entry.temperature_c is not None or before.temperature_c is None
        return place if as_complete else None
    return None


def standing_lines(log: Log) -> tuple[dict[str, list[Entry]], int]:
    """The lines that count by board, and the log's size in bytes up to which that holds.

    Raises:
        TransientError: the log is there and cannot be read.
    """

    def plain() -> tuple[dict[str, list[Entry]], int]:
        entries, end = log.since(0)
        return {name: counting(lines) for name, lines in _by_board(entries).items()}, end

    def indexed(database: sqlite3.Connection) -> tuple[dict[str, list[Entry]], int]:
        end = _update(database, log)
        found = database.execute("SELECT line FROM fleet WHERE counts ORDER BY number")
        return _by_board(log.parsed(line.encode() for (line,) in found)), end

    return index.ask(log.path.parent, indexed, plain)


def history(log: Log, board: str, most: int) -> list[Entry]:
    """A board's last lines, oldest first, and before them its last `added` if that is not there.

    Raises:
        TransientError: the log is there and cannot be read.
    """

    def plain() -> list[Entry]:
        entries = [each for each in log.since(0)[0] if each.board == board]
        added = [each for each in entries[:-most] if each.event == "added"][-1:]
        return [*added, *entries[-most:]]

    def indexed(database: sqlite3.Connection) -> list[Entry]:
        _update(database, log)
        what = "SELECT number, line FROM fleet WHERE board = ?"
        newest = "ORDER BY number DESC LIMIT"
        last = database.execute(f"{what} {newest} ?", (board, most)).fetchall()
        added = database.execute(f"{what} AND event = 'added' {newest} 1", (board,)).fetchall()
        found = sorted({*last, *added})
        return list(log.parsed(line.encode() for _, line in found))

    return index.ask(log.path.parent, indexed, plain)


def _by_board(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.board, []).append(entry)
    return found


def _update(database: sqlite3.Connection, log: Log) -> int:
    """Take in what has been written since."""
    known = database.execute("SELECT bytes, tail FROM fleet_read").fetchone()
    if known is not None and _tail(log, known[0]) != known[1]:
        database.execute("DELETE FROM fleet")
        known = None
    begin = known[0] if known else 0
    entries, end = log.since(begin)
    if known is None or end != begin:
        database.execute("DELETE FROM fleet_read")
        database.execute("INSERT INTO fleet_read VALUES (?, ?)", (end, _tail(log, end)))
    for board, new in _by_board(entries).items():
        _take_in(database, log, board, new)
    return end


def _take_in(database: sqlite3.Connection, log: Log, board: str, new: list[Entry]) -> None:
    of_board = "FROM fleet WHERE board = ? AND counts ORDER BY number"
    rows = database.execute(f"SELECT number, line {of_board}", (board,)).fetchall()
    old = list(log.parsed(line.encode() for _, line in rows))
    counts = {id(each) for each in counting([*old, *new])}
    past = [
        (number,) for (number, _), each in zip(rows, old, strict=True) if id(each) not in counts
    ]
    database.executemany("UPDATE fleet SET counts = 0 WHERE number = ?", past)
    database.executemany(
        "INSERT INTO fleet (board, event, counts, line) VALUES (?, ?, ?, ?)",
        [(board, each.event, id(each) in counts, each.model_dump_json()) for each in new],
    )


def _tail(log: Log, end: int) -> str:
    """What tells that the log is still the one that was read up to `end`."""
    try:
        with open(log.path, "rb") as file:
            file.seek(max(0, end - _TAIL))
            return hashlib.sha256(file.read(min(end, _TAIL))).hexdigest()
    except OSError:
        return ""
