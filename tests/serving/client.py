"""A client of `farm run --remote`, as far as it goes without a run; and what no client sends."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.bundle.gathering import Bundle, gather
from orchestrator.remote.address import Server
from orchestrator.remote.link import Link
from orchestrator.remote.uploading import upload
from tests.bundle.made import faces, matrix

from .site import Site


def nothing(*_: object) -> None:
    """Says nothing."""


def link(site: Site, port: int = 0, token: str = "") -> Link:
    """A client's link to a server, or to a relay before it."""
    host = f"127.0.0.1:{port}" if port else site.host
    found = Link(Server(f"http://{host}", token or site.token), nothing)
    found._pool.headers["Host"] = site.host  # a relay has another port than the server
    return found


def bundle(folder: Path, images: bool = True) -> Bundle:
    """A matrix with a few images."""
    rest = "test_set: {folder: faces}\n" if images else "test_set: {rendered: {identities: 4}}\n"
    if images:
        faces(folder / "faces")
    return gather(matrix(folder, rest=rest))


def send(site: Site, found: Bundle, port: int = 0) -> int:
    """Send it; how many bytes of contents were sent."""
    return upload(link(site, port), found, nothing, nothing)


def raw(
    site: Site,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] = b"",
    **headers: str,
) -> tuple[int, Any]:
    """Ask as no client of farm's would; status and answer."""
    sent = {"Authorization": f"Bearer {site.token}"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items() if value}
    sent = {name: value for name, value in sent.items() if headers.get(name) != ""}
    asked = http.client.HTTPConnection(site.host, timeout=60)
    try:
        # A refusal may come, and the server hang up, before all is sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            asked.request(method, f"/api/v1{path}", body, sent)
        found = asked.getresponse()
        text = found.read().decode()
        kind = found.headers["content-type"] or ""
        return found.status, json.loads(text) if kind.startswith("application/json") else text
    finally:
        asked.close()
