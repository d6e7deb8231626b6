"""One extraction shared out over several boards: who makes which rows; faster boards make more.

A board's piece is two thirds of its share of what is left, by its own pace among all paces: pieces
grow small towards the end, so that all end together. Rows that a lost board did not bring go back.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.features import Features
from orchestrator.planning.graph import Step
from orchestrator.store.features import DATA, FeatureWriter

FIRST = 16
"""Rows of a board's first piece, before its pace is known."""
LEAST_S, LEAST = 0.4, 4
"""Pieces are no shorter, since each costs a round trip, and whole multiples of `LEAST` rows."""
LONGEST_S, LONGEST_ALONE_S = 10.0, 20.0
REST_S = 2.5
"""A board that nobody has helped takes the rest at once when it needs no longer for it."""
CANARY = 16
BEGINS_S = 10.0
"""Seconds that a board which is to help waits for the leader to begin."""

Piece = tuple[int, int]


class Shares:
    """Hands out rows: pure, on a clock it is given.

    Args:
        gaps: rows to make, as (start, stop).
        several: False when there is one board only: it gets each gap whole.
    """

    def __init__(
        self,
        gaps: Iterable[Piece],
        *,
        several: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gaps = list(gaps)
        self._several, self._clock = several, clock
        self._out: dict[str, tuple[Piece, float]] = {}
        self._rates: dict[str, float] = {}
        self.rows: Counter[str] = Counter()

    @property
    def left(self) -> int:
        """Rows that nobody has taken."""
        return sum(stop - start for start, stop in self._gaps)

    @property
    def over(self) -> bool:
        """Whether all is made."""
        return not self._gaps and not self._out

    @property
    def at_work(self) -> bool:
        """Whether a board has taken rows that it has yet to bring."""
        return bool(self._out)

    def take(self, board: str) -> Piece | None:
        """The rows that a board is to make next; None when none are left to take."""
        if not self._gaps:
            return None
        size = self._size(board) if self._several else self.left
        start, stop = self._gaps.pop(0)
        if start + size < stop:
            self._gaps.insert(0, (start + size, stop))
            stop = start + size
        self._out[board] = ((start, stop), self._clock())
        return start, stop

    def done(self, board: str) -> None:
        """A board brought all of its piece."""
        (start, stop), since = self._out.pop(board)
        self.rows[board] += stop - start
        pace = (stop - start) / max(self._clock() - since, 1e-6)
        old = self._rates.get(board)
        self._rates[board] = pace if old is None else (old + pace) / 2

    def broke(self, board: str, missing: Iterable[Piece]) -> None:
        """A board is lost; of its piece, what is among `missing` is to be made by another."""
        found = self._out.pop(board, None)
        if found is None:
            return
        (start, stop), _ = found
        rest = [(max(a, start), min(b, stop)) for a, b in missing]
        rest = [(a, b) for a, b in rest if a < b]
        self.rows[board] += (stop - start) - sum(b - a for a, b in rest)
        self._gaps = sorted([*self._gaps, *rest])

    def _size(self, board: str) -> int:
        rate = self._rates.get(board)
        if rate is None:
            return FIRST
        working = {*self._out, board}
        known = [self._rates[name] for name in working if name in self._rates]
        paces = sum(known) + (len(working) - len(known)) * rate
        if {*self._rates, *working} == {board} and self.left <= rate * REST_S:
            return self.left
        fair = self.left * rate / paces / 1.5
        size = min(fair, rate * (LONGEST_S if len(working) > 1 else LONGEST_ALONE_S))
        return max(LEAST, int(max(size, rate * LEAST_S)) // LEAST * LEAST)


class SharedExtraction:
    """An extraction under way: its writer and who works at it. Thread-safe.

    Args:
        writer: receives the rows.
        several: whether other boards may join.
    """

    def __init__(self, writer: FeatureWriter, folder: Any, rows: int, *, several: bool) -> None:
        self._writer, self._folder, self.total = writer, folder, rows
        self._guard = threading.Condition()
        self._shares = Shares(writer.missing(), several=several)
        self._helpers = 0
        self._lost = False
        self.closed = False

    @property
    def brought(self) -> dict[str, int]:
        """Rows by board."""
        return dict(self._shares.rows)

    @property
    def done(self) -> int:
        """Rows that are on the disk."""
        return self.total - sum(b - a for a, b in self._writer.missing())

    def keep(self, block: Features) -> int:
        """Keep rows; returns how many there are now."""
        with self._guard:
            self._writer.add(block)
            self._guard.notify_all()
            return self.done

    def pieces(self, board: str) -> Generator[Piece]:
        """What a board is to make, one piece after the other, until none are left."""
        while True:
            with self._guard:
                piece = None if self.closed else self._shares.take(board)
            if piece is None:
                return
            try:
                yield piece
            except BaseException:  # the one who makes it failed, and closes this
                self.broke(board)
                raise
            with self._guard:
                self._shares.done(board)
                self._guard.notify_all()

    def broke(self, board: str) -> None:
        """A board is lost in the middle of a piece."""
        with self._guard:
            self._shares.broke(board, self._writer.missing())
            self._guard.notify_all()

    @contextmanager
    def helping(self) -> Iterator[None]:
        """While a board helps, the extraction does not end without it."""
        with self._guard:
            self._helpers += 1
        try:
            yield
        finally:
            with self._guard:
                self._helpers -= 1
                self._guard.notify_all()

    def wait(self, stop: threading.Event, *, lost: bool) -> None:
        """Until all is made or nobody is left who makes it; for a leader, rows to take will do.

        Args:
            lost: whether the leader's board is lost, so that only helpers can go on.
        """
        with self._guard:
            self._lost = lost
            self._guard.notify_all()
            while not stop.is_set() and not self._shares.over and self._helpers:
                if self._shares.left and not lost:
                    break
                self._guard.wait(0.5)

    @property
    def over(self) -> bool:
        """Whether all rows are there."""
        with self._guard:
            return self._shares.over

    def canary(self, stop: threading.Event) -> tuple[Piece, NDArray[Any]] | None:
        """Rows that are there already and their features, to hold another board's against.

        Waits for them; None when the extraction ends before, or the leader's board is lost and no
        other makes any: those that wait here would wait for each other.
        """
        count = min(CANARY, self.total)
        with self._guard:
            while not stop.is_set() and not self.closed:
                if all(start >= count for start, _ in self._writer.missing()):
                    data = np.load(self._folder / DATA, mmap_mode="r", allow_pickle=False)
                    return (0, count), np.array(data[:count])
                if self._lost and not self._shares.at_work:
                    return None
                self._guard.wait(0.5)
        return None

    def rows(self) -> NDArray[Any]:
        """The file of features, memory-mapped: (rows, dim); what is not there yet is 0.

        Raises:
            OSError: it is no longer where it was made.
        """
        found: NDArray[Any] = np.load(self._folder / DATA, mmap_mode="r", allow_pickle=False)
        return found

    def failed(self) -> list[int]:
        """Rows whose image failed."""
        with self._guard:
            return self._writer.failed()

    def await_end(self, stop: threading.Event) -> bool:
        """Wait until the leader has ended; whether all rows are there."""
        with self._guard:
            while not stop.is_set() and not self.closed and not self._shares.over:
                self._guard.wait(0.5)
            return self._shares.over

    def close(self) -> None:
        """No more pieces: helpers come to their end."""
        with self._guard:
            self.closed = True
            self._guard.notify_all()


@dataclass(frozen=True)
class FirstOfSame:
    """A step under way, of several that make the same features; `ended` is set at its end."""

    step: Step
    ended: threading.Event = field(default_factory=threading.Event)


class Extractions:
    """The extractions under way that other boards may join, and who may. Thread-safe."""

    def __init__(self) -> None:
        self._guard = threading.Condition()
        self._led: dict[str, SharedExtraction] = {}
        self._ended: set[str] = set()
        self._of_same: dict[str, FirstOfSame] = {}
        self._alike: set[tuple[str, str]] = set()

    @contextmanager
    def open_to_helpers(self, step_id: str, shared: SharedExtraction) -> Iterator[None]:
        """While a board leads it."""
        with self._guard:
            self._led[step_id] = shared
            self._guard.notify_all()
        try:
            yield
        finally:
            shared.close()
            with self._guard:
                self._led.pop(step_id, None)

    @contextmanager
    def of_same(self, same: str, step: Step) -> Iterator[FirstOfSame | None]:
        """While a step makes its features: the step that makes the same ones already, or None.

        Args:
            same: what these steps have in common; empty where no other makes the same.
        """
        with self._guard:
            self._ended.discard(step.id)
            found = self._of_same.get(same)
            mine = None if found is not None or not same else FirstOfSame(step)
            if mine is not None:
                self._of_same[same] = mine
        try:
            yield found
        finally:
            with self._guard:
                self._ended.add(step.id)
                self._guard.notify_all()
                if mine is not None:
                    del self._of_same[same]
            if mine is not None:
                mine.ended.set()

    def led(self, step_id: str) -> SharedExtraction | None:
        """A step's extraction, None when no board leads it now."""
        with self._guard:
            return self._led.get(step_id)

    def await_led(self, step_id: str, stop: threading.Event) -> SharedExtraction | None:
        """The same, once its leader has begun; None when that ended or does not begin in time."""
        until = time.monotonic() + BEGINS_S
        with self._guard:
            while (found := self._led.get(step_id)) is None:
                if stop.is_set() or step_id in self._ended or time.monotonic() > until:
                    return None
                self._guard.wait(0.2)
        return found

    def alike(self, artifact: str, board: str) -> None:
        """A board has shown that it makes the same features of an artifact as the leader."""
        with self._guard:
            self._alike.add((artifact, board))

    def is_alike(self, artifact: str, board: str) -> bool:
        """Whether a board has shown that already."""
        with self._guard:
            return (artifact, board) in self._alike
