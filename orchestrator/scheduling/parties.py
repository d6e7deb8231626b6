"""Whom the executor works with, as far as it needs them: a run has Ray, boards and a log; a
prediction has this process alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from orchestrator.events import Event

T = TypeVar("T")


class Computes(Protocol):
    """Where computing stages run; see `Compute`."""

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function."""

    def watch(self, function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
        """Call a generator."""

    def each(
        self, function: Callable[[Any], Any], arguments: Iterable[Any], at_a_time: int
    ) -> Iterator[tuple[Any, Any]]:
        """Call a function on each argument."""


class Calls(Protocol):
    """Who does what is done on boards; see `Boards`."""

    def call(self, board: str, method: str, *arguments: Any, works_s: float = 0.0) -> Iterator[Any]:
        """Call a streaming method."""


class Emits(Protocol):
    """Who is told; see `Reporter`."""

    def emit(self, event: Event) -> None:
        """Take an event."""
