"""How pages are written: everything is escaped, and nothing of a board's acts upon a screen."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from orchestrator.fleet.transport.untrusted import printable
from orchestrator.reporting.html.report import ROOM as REPORT
from orchestrator.reporting.html.report import embedded, source_of

ROOM = "orchestrator.serving"
# Files of the pages, by the name they are served under, with their type.
OWN = {
    "serve.css": "text/css",
    "live.js": "text/javascript",
    "own.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
OF_REPORT = {
    "report.css": "text/css",
    "report.js": "text/javascript",
    "charts.js": "text/javascript",
    "vendor/vega.min.js": "text/javascript",
    "vendor/vega-lite.min.js": "text/javascript",
    "vendor/vega-interpreter.min.js": "text/javascript",
}


def harmless(value: Any) -> Any:
    """What a template prints: text without control characters and what reorders text."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    if value.isascii() and value.isprintable():
        return value
    return printable(value, len(value) + 1)


def segment(text: str) -> str:
    """A text as one part of an address."""
    return quote(text, safe="", errors="surrogateescape")


@cache
def static(name: str) -> tuple[bytes, str] | None:
    """Bytes and type of a file of the pages; None where there is none of this name."""
    if name in OWN:
        return resources.files(ROOM).joinpath("static", name).read_bytes(), OWN[name]
    if name in OF_REPORT:
        return source_of(name).encode(), OF_REPORT[name]
    return None


@cache
def static_address(name: str) -> str:
    """Where a file of the pages is; changes with its content, so that browsers may keep it."""
    found = static(name)
    assert found is not None, name
    return f"/static/{name}?v={hashlib.sha256(found[0]).hexdigest()[:12]}"


@cache
def environment() -> Environment:
    """Where the templates come from, and what they may call."""
    pages = Environment(
        loader=ChoiceLoader([PackageLoader(ROOM), PackageLoader(REPORT, ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {"segment": segment, "spec": embedded}
    pages.globals["static"] = static_address
    return pages


def page(template: str, **values: Any) -> Markup:
    """A page, or a part of one that another page takes in as it is."""
    return Markup(environment().get_template(template).render(**values))
