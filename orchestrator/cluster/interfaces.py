"""Whom the executor works with, as far as it needs them: a run has Ray, boards and a log; a
prediction has this process alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, Protocol, TypeVar

from orchestrator.errors import TransientError
from orchestrator.events import Event
from orchestrator.specs.inventory import Board

T = TypeVar("T")
Level = Literal["info", "warning"]


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


class Head(Protocol):
    """The Ray that a run uses: one of its own (`LocalRay`), or one that it joined (`JoinedRay`).

    Attributes:
        cpus: how many computing tasks it runs at once.
        folder: the run's working directory on this host.
        notes: what a person should read of it.
    """

    cpus: int
    folder: str
    notes: list[tuple[Level, str]]

    @property
    def up(self) -> bool:
        """Whether tasks can be given to it."""

    def start(self) -> None:
        """Begin starting; returns at once."""

    def wait(self, timeout_s: float = 300.0) -> None:
        """Until it is up.

        Raises:
            RayDown: it does not come up.
        """

    def ended(self) -> TransientError | None:
        """What is said once it is gone, None while it is not."""

    def here(self) -> dict[str, Any]:
        """Ray options of what needs this host's files."""

    def site_of(self, board: Board) -> str:
        """The site from which a board is driven; empty for this host."""

    def node_of(self, site: str) -> str:
        """The node on which a new host actor for a site goes.

        Raises:
            TransientError: the site has none now.
        """

    def at(self, node_id: str) -> dict[str, Any]:
        """Ray options of what goes on that node."""

    def doubt(self, node_id: str) -> None:
        """A host actor died on a node."""

    def lost(self, node_id: str) -> bool:
        """Whether a node is gone."""

    def words(self, node_id: str) -> str:
        """A node for a person."""

    def stop(self) -> None:
        """End it, or leave it where it is not the run's own."""


class Calls(Protocol):
    """Who does what is done on boards; see `Boards`."""

    def call(self, board: str, method: str, *arguments: Any, works_s: float = 0.0) -> Iterator[Any]:
        """Call a streaming method."""


class Emits(Protocol):
    """Who is told; see `Reporter`."""

    def emit(self, event: Event) -> None:
        """Take an event."""
