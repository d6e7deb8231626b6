"""HTTP to a server: each failure is either a cut link, which is tried again, or a `UserError`."""

from __future__ import annotations

import contextlib
import json
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.response import BaseHTTPResponse

from orchestrator.bundle.wire import ALIVE_S, PROTOCOL, ROOT
from orchestrator.errors import TransientError, UserError
from orchestrator.fleet.transport.untrusted import printable
from orchestrator.remote.address import VARIABLE, Server

CONNECT_S = 10.0
READ_S = 3 * ALIVE_S
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
MOST_ANSWER = 64 << 20
MOST_WORDS = 2000
BATCH_MIB = 32
"""Of contents in one request."""
AGAIN = (502, 503, 504)
"""Statuses of a server, or a proxy before it, that is busy or starting."""
T = TypeVar("T")


class LinkCut(TransientError):
    """The server was not reached, or the link to it was cut."""


class Conflict(TransientError):
    """The server is not in the state that was taken for granted: look again."""


class NotFound(TransientError):
    """The server has no such thing."""


class Link:
    """Asks a server.

    Args:
        server: where, and with what token.
        say: tells the person who waits.
    """

    def __init__(self, server: Server, say: Callable[[str, str], None]) -> None:
        self.server = server
        self._say = say
        self._pool = urllib3.PoolManager(
            maxsize=2,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            headers={"Authorization": f"Bearer {server.token}", "User-Agent": "farm"},
        )

    def about(self) -> dict[str, Any]:
        """What the server is; the first thing that is asked.

        Raises:
            UserError: there is no server, no farm's, one of another protocol, or the token is
                wrong.
        """
        try:
            found = self.get("")
        except NotFound:
            raise _other(self.server, "it has no addresses for programs") from None
        if found.get("protocol") != PROTOCOL:
            words = f"farm {found.get('farm', '?')} (protocol {found.get('protocol', '?')})"
            theirs = printable(words, MOST_WORDS)
            raise UserError(
                f"{self.server.url} is {theirs}; this farm speaks protocol {PROTOCOL}",
                "install the same version of farm on both",
            )
        return found

    def get(self, path: str) -> dict[str, Any]:
        """A JSON object.

        Raises:
            LinkCut, Conflict, NotFound: see there.
            UserError: the server refuses.
        """
        return self._json("GET", path)

    def post(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        """As `get`, with a JSON object that is sent."""
        return self._json("POST", path, json.dumps(fields).encode())

    def put(self, path: str, data: bytes) -> dict[str, Any]:
        """As `get`, with bytes that are sent."""
        return self._json("PUT", path, data)

    def send(self, path: str, body: Iterable[bytes], length: int) -> dict[str, Any]:
        """As `get`, with `length` bytes that are made while they are sent."""
        return self._json("POST", path, body, {"Content-Length": str(length)})

    def file(self, path: str) -> bytes:
        """A file of the server's."""
        return self._whole("GET", path)

    @contextlib.contextmanager
    def stream(self, path: str, last: int) -> Iterator[Iterator[bytes]]:
        """The lines of server-sent events after the one with the number `last`.

        Raises:
            LinkCut, Conflict, NotFound, UserError: as `get`; the first while lines are read too.
        """
        with self._asking():
            headers = {**self._pool.headers, "Last-Event-ID": str(last)}
            answer = self._open("GET", path, None, headers)
            try:
                yield _lines(answer)
            finally:
                answer.close()

    def patiently(self, ask: Callable[[], T], end: float = math.inf) -> T:
        """Ask until the server answers, with growing pauses; not after `end`, a monotonic time."""
        pauses = Pauses(self.server.url, self._say)
        while True:
            try:
                return ask()
            except LinkCut as error:
                if time.monotonic() > end:
                    raise
                pauses.wait(error)

    def _json(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        data = self._whole(method, path, body, headers)
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise _other(self.server, "its answer is no JSON object")
        return found

    def _whole(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        with self._asking():
            answer = self._open(method, path, body, {**self._pool.headers, **(headers or {})})
            try:
                data = answer.read(MOST_ANSWER + 1)
            finally:
                answer.release_conn()
        if len(data) > MOST_ANSWER:
            raise _other(self.server, f"its answer has more than {MOST_ANSWER:,} bytes")
        return bytes(data)

    def _open(self, method: str, path: str, body: Any, headers: dict[str, str]) -> BaseHTTPResponse:
        answer = self._pool.request(
            method,
            f"{self.server.url}{ROOT}{path}",
            body=body,
            headers=headers,
            redirect=False,  # the token is for this server only
            preload_content=False,
        )
        if answer.status != 200:
            try:
                self._refuse(answer.status, answer.read(MOST_ANSWER))
            finally:
                answer.close()
        return answer

    def _refuse(self, status: int, data: bytes) -> None:
        try:
            found = json.loads(data)
            error = printable(str(found["error"]), MOST_WORDS)
            hint = printable(str(found.get("hint", "")), MOST_WORDS)
        except (ValueError, KeyError, TypeError):
            error, hint = "", ""
        if status in AGAIN:
            raise LinkCut(f"the server is busy ({status})")
        if status == 401 or status == 429:
            raise UserError(
                f"{self.server.url} does not know this token"
                + (": too many wrong ones" if status == 429 else ""),
                f"the link that `farm serve` prints has it: --token-file FILE, or {VARIABLE}=TOKEN",
            )
        if status == 421:
            raise UserError(
                f"{self.server.url}: the server is not called so",
                "use the address that it prints, or that of its proxy (--behind-proxy)",
            )
        if not error and status == 413:
            raise UserError(
                f"a proxy before {self.server.url} takes no request of {BATCH_MIB} MiB",
                f"in nginx: client_max_body_size {BATCH_MIB + 8}m; proxy_request_buffering off",
            )
        if not error:
            raise _other(self.server, f"it answers with status {status}")
        if status == 404:
            raise NotFound(error)
        if status == 409:
            raise Conflict(error)
        raise UserError(f"{self.server.url} refuses: {error}", hint)

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except SSLError as error:
            raise _untrusted(self.server, error) from None
        except MaxRetryError as error:
            if isinstance(error.reason, SSLError):
                raise _untrusted(self.server, error.reason) from None
            raise LinkCut(_words(error.reason)) from None
        except (HTTPError, OSError) as error:
            raise LinkCut(_words(error)) from None


class Pauses:
    """Growing pauses between attempts; the person who waits is told of each."""

    def __init__(self, url: str, say: Callable[[str, str], None]) -> None:
        self._url, self._say, self._next = url, say, FIRST_PAUSE_S

    def wait(self, error: TransientError) -> None:
        """Wait after a failed attempt."""
        pause = self._next * random.uniform(0.75, 1.25)  # many clients of one server, cut at once
        self._say(f"{self._url}: {error.message}; again in {pause:.1f} s", "yellow")
        time.sleep(pause)
        self._next = min(LONGEST_PAUSE_S, 2 * self._next)

    def reset(self) -> None:
        """The server has answered."""
        if self._next > FIRST_PAUSE_S:
            self._say(f"{self._url}: taken up again", "dim")
        self._next = FIRST_PAUSE_S


def _lines(answer: BaseHTTPResponse) -> Iterator[bytes]:
    pending = b""
    for data in answer.stream(64 * 1024):
        *lines, pending = (pending + data).split(b"\n")
        yield from lines
    raise ProtocolError("the link was cut")


def _words(error: BaseException | None) -> str:
    if isinstance(error, NewConnectionError):
        text = str(error).rpartition(": ")[2]
        return f"no server answers ({text.rpartition('] ')[2]})"
    if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
        return "no answer within the time for one"
    return "the link was cut"


def _untrusted(server: Server, error: SSLError) -> UserError:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" not in text and "certificate" not in text:
        return UserError(
            f"{server.url}: no TLS connection: {text[:200]}",
            "is it https? `farm serve` without --tls-cert is http://127.0.0.1:8765",
        )
    return UserError(
        f"{server.url}: this computer does not trust its certificate: {text[:200]}",
        "name the certificate, or that of whoever signed it: SSL_CERT_FILE=cert.pem farm run ...",
    )


def _other(server: Server, what: str) -> UserError:
    return UserError(
        f"{server.url} is no farm server that takes runs: {what}",
        "is the address right, and its farm as new as this one? `farm serve --allow-actions`",
    )
