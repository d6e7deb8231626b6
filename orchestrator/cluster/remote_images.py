"""Images on their way to a host actor on another node: parts of a set as objects of Ray's.

They are fetched one after the other, the next while the board works at one, so that neither a
whole set is held there nor a board waits for the network.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import TransientError
from orchestrator.fleet.boards.deadlines import FETCH_S

if TYPE_CHECKING:
    from orchestrator.cluster.interfaces import ImageFile

PART_BYTES = 4 << 20
AHEAD = 2


@dataclass(frozen=True)
class Sent:
    """Images of a file of the driver's.

    Attributes:
        name: tells the file and its state from others.
        ranges: the rows, as (start, stop).
        parts: the rows in order, each as (start, stop, reference to uint8 (n, height, width, 3)).
    """

    name: str
    ranges: tuple[tuple[int, int], ...]
    parts: tuple[tuple[int, int, Any], ...]


def file_name(path: str) -> str:
    """A file and its state in one word."""
    found = os.stat(path)
    return f"{path} {found.st_mtime_ns} {found.st_size}"


def sent(images: ImageFile, put: Callable[[Any], Any]) -> Sent:
    """Give the rows of a file to Ray.

    Args:
        put: `ray.put`.
    """
    data = np.load(images.path, mmap_mode="r", allow_pickle=False)
    step = max(1, PART_BYTES // int(np.prod(data.shape[1:])))
    parts = tuple(
        (first, min(first + step, stop), put(np.array(data[first : min(first + step, stop)])))
        for start, stop in images.ranges
        for first in range(start, stop, step)
    )
    return Sent(file_name(images.path), images.ranges, parts)


class SentRows:
    """Rows `start` to `stop`, numbered from 0, as the session wants to read them. Thread-safe."""

    def __init__(
        self, images: Sent, start: int, stop: int, fetch: Callable[..., Any] | None = None
    ) -> None:
        self.start, self.stop = start, stop
        self._parts = [part for part in images.parts if start <= part[0] and part[1] <= stop]
        self._fetch = fetch or _fetch
        self._guard = threading.Lock()
        self._held: tuple[int, NDArray[np.uint8]] = (-1, np.empty((0, 0, 0, 0), np.uint8))

    @property
    def image_bytes(self) -> int:
        """Size of an image."""
        with self._guard:
            return int(np.prod(self._part(0).shape[1:]))

    def __len__(self) -> int:
        return self.stop - self.start

    def read(self, start: int, count: int) -> NDArray[np.uint8]:
        """Images `start` to `start + count`, contiguous.

        Raises:
            TransientError: they did not come.
        """
        first, last = self.start + start, min(self.start + start + count, self.stop)
        found = []
        with self._guard:
            for number, (begin, end, _) in enumerate(self._parts):
                if begin < last and first < end:
                    rows = self._part(number)
                    found.append(rows[max(first - begin, 0) : last - begin])
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _part(self, number: int) -> NDArray[np.uint8]:
        if self._held[0] != number:
            later = [part[2] for part in self._parts[number + 1 : number + 1 + AHEAD]]
            self._held = number, self._fetch(self._parts[number][2], later)
        return self._held[1]


def _fetch(wanted: Any, later: list[Any]) -> NDArray[np.uint8]:
    """An object, while the next ones are already asked for."""
    import ray

    if later:
        ray.wait(later, num_returns=len(later), timeout=0, fetch_local=True)
    try:
        rows: NDArray[np.uint8] = ray.get(wanted, timeout=FETCH_S)
    except ray.exceptions.RayError as error:
        raise TransientError(
            f"images did not come from the driver within {FETCH_S:.0f} s ({type(error).__name__})",
            "do Ray's object managers reach each other? docs/how-to/clusters.md names the ports",
        ) from error
    return rows
