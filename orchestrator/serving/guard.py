"""Stands before every page: refuses whoever may not ask, and says what a browser may do."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.bundle.wire import ROOT
from orchestrator.serving.access import BEARER, Access, taken_out
from orchestrator.serving.protocol import UPLOADS

MOST_TARGET = 4096  # bytes of an address
MOST_BODY = 256 * 1024
ASKED_BY = "farm.key"
MOST_WRONG, WRONG_WITHIN_S, WRONG_PAUSE_S = 20, 60.0, 1.0
"""So many wrong tokens of one address are answered at once; each more, within so long, waits."""
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
NO_TOKEN = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>farm</title>
<h1>farm: a token is needed</h1>
<p>Open the link that <code>farm serve</code> printed; it ends in <code>?token=…</code></p>
<p>If that link has just brought you here from another site, <a href="/">go on</a>.</p></html>
"""


class WrongTokens:
    """Counts wrong tokens by the address that they come from."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._counts: Counter[str] = Counter()

    def too_many(self, address: str) -> bool:
        """Note another one; whether there were many within a minute."""
        now = time.monotonic()
        if now - self._since > WRONG_WITHIN_S:
            self._since, self._counts = now, Counter()
        self._counts[address] += 1
        return self._counts[address] > MOST_WRONG


class Guard:
    """Looks at every request before `app` does."""

    def __init__(self, app: ASGIApp, access: Access, most_upload: int = 0) -> None:
        self._app, self._access = app, access
        self._most_upload = most_upload
        self._wrong = WrongTokens()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = self._refused(scope)
        if refused is not None and refused.status_code == 429:
            await asyncio.sleep(WRONG_PAUSE_S)
        answer: ASGIApp = refused or self._app
        await answer(scope, receive, with_headers)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if headers.get("host", "").lower() not in self._access.hosts:
            return PlainTextResponse("this server is not called so", 421)
        origin = headers.get("origin")
        bearer = headers.get("authorization", "").lower().startswith(BEARER)
        changes = scope["method"] not in ("GET", "HEAD")
        foreign = origin is not None and origin.lower() not in self._access.origins
        if foreign or (origin is None and changes and not bearer):
            return PlainTextResponse("asked from another site", 403)
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MOST_TARGET:
            return PlainTextResponse("the address is too long", 414)
        uploads = bearer and self._most_upload > 0 and scope["path"].startswith(f"{ROOT}/bundles/")
        if _body_bytes(headers) > (self._most_upload if uploads else MOST_BODY):
            return PlainTextResponse("too much is sent", 413, {"connection": "close"})
        token, place = taken_out(scope["path"], scope["query_string"].decode("latin-1"))
        if token is not None:
            key = self._access.by_token(token)
            if key is None:
                return self._unknown(scope, token)
            stored = {"set-cookie": self._access.set_cookie(key)}
            return RedirectResponse(place, 303, headers=stored)
        key = self._access.admitted(headers.getlist("cookie"), headers.get("authorization", ""))
        if key is None:
            return self._unknown(scope, headers.get("authorization", ""))
        scope[ASKED_BY] = key
        scope[UPLOADS] = uploads
        return None

    def _unknown(self, scope: Scope, given: str) -> Response:
        """The answer to a request without a token, or with a wrong one."""
        if given and self._wrong.too_many(str((scope.get("client") or ("",))[0])):
            # The right token is let in at any time: nobody is locked out by somebody else.
            return PlainTextResponse("too many wrong tokens", 429, {"connection": "close"})
        return HTMLResponse(NO_TOKEN, 401)


def _body_bytes(headers: Headers) -> int:
    """How much a request says that it sends; more than is ever allowed where it does not say."""
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdecimal():
        return sys.maxsize
    return int(length)
