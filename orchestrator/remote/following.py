"""A run's events as they come over the link, written into its folder here and shown.

The log here has the same bytes as the server's: how long it is says where to go on after a cut.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from orchestrator.bundle.wire import LOST, OVER
from orchestrator.errors import TransientError, UserError
from orchestrator.events import Event, read_events
from orchestrator.remote.link import Conflict, Link, LinkCut, NotFound, Pauses
from orchestrator.store.run_folder import EVENTS


class RunLost(TransientError):
    """Nobody carries the run on, and it has not ended."""


class Follower:
    """Takes a run's events in.

    Args:
        link: to the server.
        folder: the run's, here; held by whoever calls.
    """

    def __init__(self, link: Link, folder: Path, say: Callable[[str, str], None]) -> None:
        self._link, self._folder, self._say = link, folder, say
        self._path = folder / EVENTS

    def known(self) -> Iterator[tuple[Event, int]]:
        """What has come before, and where each event ends in the log.

        A line that did not come whole is taken away.
        """
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self._path, whole)
        end = 0
        for line in data[:whole].splitlines(keepends=True):
            end += len(line)
            for event in read_events([line]):
                yield event, end

    def new(self) -> Iterator[Event]:
        """Events as they come, until the run has ended; a cut link is taken up again.

        Raises:
            RunLost: nobody carries the run on.
            UserError: the server does not know the run or the token any more.
        """
        pauses = Pauses(self._link.server.url, self._say)
        while True:
            try:
                for line in self._streamed():
                    pauses.reset()
                    self._append(line)
                    yield from read_events([line])
                return
            except LinkCut as error:
                pauses.wait(error)
            except (Conflict, NotFound) as error:
                raise UserError(
                    f"{self._link.server.url}: run {self._folder.name}: {error.message}",
                    f"the run there is not the one of which {self._folder} has the beginning",
                ) from None

    def _streamed(self) -> Iterator[bytes]:
        """Lines of the log after those that are here."""
        size = self._path.stat().st_size if self._path.exists() else 0
        with self._link.stream(f"/runs/{self._folder.name}/events", size) as lines:
            kind, data = b"", b""
            for line in lines:
                field, _, value = line.partition(b": ")
                if field == b"event":
                    kind = value
                elif field == b"data":
                    data = value
                elif not line and data:
                    if kind == OVER.encode():
                        return
                    if kind == LOST.encode():
                        name = self._folder.name
                        raise RunLost(
                            f"nobody carries run {name} on, and it has not ended",
                            f"farm resume {name}",
                        )
                    if not kind:
                        yield data
                    kind, data = b"", b""

    def _append(self, line: bytes) -> None:
        with open(self._path, "ab") as file:
            file.write(line + b"\n")
