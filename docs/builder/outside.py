"""Finds what a built page would fetch from another computer."""

from __future__ import annotations

import re
from pathlib import Path

# What a browser loads by itself; a link that a reader follows is none.
LOADS = (
    re.compile(
        r"<(?!a[\s>])[a-z]+\b[^>]*\b(?:src|srcset|href|data|poster)=[\"']?((?:https?:)?//[^\"'\s>]+)"
    ),
    re.compile(r"(?:url\(|@import)\s*[\"']?((?:https?:)?//[^\"')\s]+)"),
    re.compile(
        r"(?:fetch|import|importScripts|WebSocket|EventSource)\(\s*[\"'`]((?:https?|wss?)?:?//[^\"'`]+)"
    ),
)


def fetched(site: Path) -> list[str]:
    """`file: address` of each thing that a page, a style or a script would fetch."""
    found = []
    for path in sorted(site.rglob("*")):
        if path.suffix in (".html", ".css", ".js", ".svg"):
            text = path.read_text(errors="replace")
            for pattern in LOADS:
                found += [
                    f"{path.relative_to(site)}: {address}" for address in pattern.findall(text)
                ]
    return found
