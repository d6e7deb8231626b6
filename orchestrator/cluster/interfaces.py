"""Interfaces that the stages and the executor depend on, and what boards say through them.

A run has Ray, boards and an event log behind them; a prediction has this process alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from orchestrator.data.features import Features
from orchestrator.data.progress import Progress
from orchestrator.data.times import RawTimes
from orchestrator.events import Event
from orchestrator.fleet.boards.board import Artifact
from orchestrator.fleet.session.types import Building, MeasureFacts, ModelFacts, SensorSample

T = TypeVar("T")


@dataclass(frozen=True)
class ImageFile:
    """Images on the driver's machine.

    Attributes:
        path: `.npy`, uint8 (n, height, width, 3), RGB.
        ranges: the rows that are meant, as (start, stop).
    """

    path: str
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Deployed:
    """An artifact is on its board, verified by its sha256."""

    already_there: bool


BoardMessage = (
    Progress | Building | ModelFacts | SensorSample | RawTimes | MeasureFacts | Features | Deployed
)
"""What a call on a board yields, as it comes."""


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


class BoardCalls(Protocol):
    """What is done on boards; `Boards` of a run, `HostBoards` of a prediction."""

    def deploy(self, board: str, artifact: Artifact, data: bytes) -> Iterator[BoardMessage]:
        """Bring an artifact, and have the board build what it runs where that is its part.

        Yields:
            Progress in bytes, Building, ModelFacts, last Deployed.
        """

    def measure(
        self,
        board: str,
        artifact: Artifact,
        images: ImageFile,
        policy: Mapping[str, Any],
        sensors: Mapping[str, Sequence[str]],
    ) -> Iterator[BoardMessage]:
        """Time single inferences.

        Args:
            policy: the fields of `MeasurePolicy`.
            sensors: `zones` that count as the board's temperature, files with more `clocks`.

        Yields:
            Building, ModelFacts, Progress in inferences, SensorSample, RawTimes, last MeasureFacts.
        """

    def extract(
        self,
        board: str,
        artifact: Artifact,
        images: ImageFile,
        chunk: int,
        works_s: float = 0.0,
    ) -> Iterator[BoardMessage]:
        """Make features of images.

        Args:
            chunk: images at once.
            works_s: how long the board may work without a word, beyond the deadlines of a call.

        Yields:
            Building, ModelFacts, Progress in images, SensorSample, Features.
        """


class Emits(Protocol):
    """Who is told; see `Reporter`."""

    def emit(self, event: Event) -> None:
        """Take an event."""
