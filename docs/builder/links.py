"""The place of a repository's file on the site, and its links rewritten for that place."""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable

LINK = re.compile(r"\]\(([^)#\s]*)(#[^)\s]+)?\)")
FENCE = re.compile(r"^( *```.*?^ *```) *$", re.MULTILINE | re.DOTALL)


def place(path: str) -> str:
    """The site's path of a repository path: `docs/` is the root, the README is its first page."""
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/")


def rewritten(text: str, page: str, seen: Callable[[str], None]) -> str:
    """A page's Markdown with its relative links as the site needs them.

    `page` is its path in the repository. `seen` gets the repository path of each goal. Fenced code
    stays as it is.
    """
    here = os.path.dirname(place(page))

    def link(match: re.Match[str]) -> str:
        target, anchor = match[1], match[2] or ""
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        goal = os.path.normpath(os.path.join(os.path.dirname(page), target))
        seen(goal)
        return f"]({os.path.relpath(place(goal), here or '.')}{anchor})"

    parts = FENCE.split(text)
    return "".join(part if i % 2 else LINK.sub(link, part) for i, part in enumerate(parts))
