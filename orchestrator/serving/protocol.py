"""HTTP with patience: a client that sends or reads too slowly is cut off."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_HEAD = 16 * 1024  # bytes of a request's line and headers
UPLOADS = "farm.uploads"
"""Of a request's scope: it comes with a token, and its body may take its time."""


class PatientProtocol(H11Protocol):
    """uvicorn's, which waits forever for a request's end and for a reader of its answer.

    Attributes:
        patience_s: within which a request must be whole, head and body, and an answer be read on.
    """

    patience_s = 10.0
    least_bytes = 16 * 1024
    """Of an upload, whose length takes its time, so many must come within `patience_s`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received = self._counted = 0
        self._sending: asyncio.TimerHandle | None = None
        self._reading: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The client has so long for its first request."""
        super().connection_made(transport)
        self._look()

    def data_received(self, data: bytes) -> None:
        """Some of a request has come."""
        self._received += len(data)
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """An answer is written; the next request may come."""
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        super().connection_lost(exc)
        self._stop_sending()
        self._stop_reading()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        if self._reading is None:
            self._reading = self.loop.call_later(self.patience_s, self._cut)

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        self._stop_reading()

    def _look(self) -> None:
        """Patience begins when something is awaited from the client, and ends when it is there."""
        cycle = self.cycle
        awaited = cycle is None or cycle.response_complete or cycle.more_body
        if not awaited:
            self._stop_sending()
        elif self._sending is None:
            self._counted = self._received
            self._sending = self.loop.call_later(self.patience_s, self._end_patience)

    def _end_patience(self) -> None:
        cycle, self._sending = self.cycle, None
        uploads = cycle is not None and cycle.scope.get(UPLOADS, False) and cycle.more_body
        came = self._received - self._counted
        if uploads and (came >= self.least_bytes or self.flow.read_paused):
            self._look()
        else:
            self._cut()

    def _stop_sending(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _cut(self) -> None:
        self.transport.abort()
