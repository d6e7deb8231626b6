"""A real server on loopback, asked over real connections."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import uvicorn

from orchestrator.bundle.manifest import Limits
from orchestrator.serving.access import Access, Key, new_token, origin
from orchestrator.serving.app import Site as Pages
from orchestrator.serving.project import Project
from orchestrator.serving.server import Place, server

ANN, BOB = "ann@lab", "bob@lab"
FORM = "application/x-www-form-urlencoded"
INVENTORY = """
boards:
  - {name: vim3, kind: khadas-vim3, transport: emulated}
  - {name: jetson, kind: jetson-orin-nx, transport: emulated}
"""


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    headers: http.client.HTTPMessage
    text: str


@dataclass(frozen=True)
class Site:
    """A server that listens, and who may ask it."""

    project: Project
    access: Access
    running: uvicorn.Server

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self.running.server_state.connections)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.access.port}"

    @property
    def cookie(self) -> dict[str, str]:
        return self.cookie_of(self.key)

    @property
    def key(self) -> Key:
        return self.access.keys[0]

    @property
    def token(self) -> str:
        return self.key.token

    def cookie_of(self, key: Key) -> dict[str, str]:
        return {"Cookie": f"{self.access.cookie_name}={key.cookie}"}

    def post(self, path: str, key: Key | None = None, **fields: str) -> Answer:
        """Send a form of a page, as its browser does."""
        key = key or self.key
        sent = {"form": key.form} | fields
        headers = {"Origin": f"http://{self.host}", "Content-Type": FORM} | self.cookie_of(key)
        asked = http.client.HTTPConnection(self.host, timeout=60)
        try:
            # A server that refuses may have closed before all was sent; its answer is there.
            with suppress(BrokenPipeError):
                asked.request("POST", path, urlencode(sent), headers)
            found = asked.getresponse()
            return Answer(found.status, found.headers, found.read().decode())
        finally:
            asked.close()

    def get(
        self, path: str, *, admitted: bool = True, method: str = "GET", **headers: str
    ) -> Answer:
        """Ask for a page; `headers` are named with `_` for `-`."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        asked = http.client.HTTPConnection(self.host, timeout=60)
        try:
            asked.request(method, path, headers=(self.cookie if admitted else {}) | sent)
            found = asked.getresponse()
            return Answer(found.status, found.headers, found.read().decode())
        finally:
            asked.close()

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[tuple[str, str]]]:
        """Server-sent events as (event, data), as they come."""
        asked = http.client.HTTPConnection(self.host, timeout=60)
        asked.request("GET", path, headers=self.cookie)
        found = asked.getresponse()
        assert found.status == 200
        assert found.headers["content-type"].startswith("text/event-stream")

        def events() -> Iterator[tuple[str, str]]:
            event, data = "message", ""
            while line := found.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name == "event":
                    event = value
                elif name == "data":
                    data = value
                elif not line.strip() and data:
                    yield event, data
                    event, data = "message", ""

        try:
            yield events()
        finally:
            asked.close()

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.access.port), timeout=60)


@contextmanager
def serving(
    root: Path,
    *,
    actions: bool = False,
    limits: Limits | None = None,
    tls: tuple[str, str] = ("", ""),
) -> Iterator[Site]:
    """Serve a folder's runs and inventory for the length of a `with`."""
    inventory = root / "device_inventory.yaml"
    if not inventory.exists():
        inventory.write_text(INVENTORY)
    (root / "runs").mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        scheme = "https" if tls[0] else "http"
        origins = frozenset(origin(scheme, name, port) for name in ("127.0.0.1", "localhost"))
        access = Access((Key(ANN, new_token()), Key(BOB, new_token())), origins, port)
        project = Project(inventory, root / "runs", root / ".farm")
        pages = Pages(project, actions=actions, limits=limits)
        running = server(pages, access, Place(certificate=tls[0], key=tls[1]))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Site(project, access, running)
        finally:
            running.should_exit = True
            thread.join()


class Page(HTMLParser):
    """What in a page acts: scripts, handlers, and where links and forms lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.inline: list[str] = []
        self.handlers: list[str] = []
        self.links: list[str] = []
        self.elements: set[str] = set()
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        given = dict(attrs)
        self._script = tag in ("script", "style") and given.get("type") != "application/json"
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.handlers.append(f"{tag} {name}")
            elif name in ("href", "action", "src", "formaction", "data", "srcdoc"):
                (self.scripts if tag == "script" else self.links).append(value or "")

    def handle_data(self, data: str) -> None:
        if self._script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._script = False
