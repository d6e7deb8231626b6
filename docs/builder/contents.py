"""The site's navigation: the links of docs/index.md, heading by heading, in their order."""

from __future__ import annotations

import re
from collections.abc import Iterator

from docs.builder.links import LINK

HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def sections(index: str) -> Iterator[tuple[str, list[str]]]:
    """Each heading of the first page with the pages that its section links to."""
    parts = HEADING.split(index)[1:]
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        pages = [target for target, _ in LINK.findall(text) if target.endswith(".md")]
        yield title, list(dict.fromkeys(pages))


def trees(index: str) -> str:
    """Sphinx's hidden tables of contents for the first page, whose links are the site's already."""
    found = []
    for title, pages in sections(index):
        lines = [page.removesuffix(".md") for page in pages]
        found.append(tree(lines, f":caption: {title}"))
    return "".join(found)


def tree(pages: list[str], *options: str) -> str:
    """One hidden table of contents."""
    return "\n".join(["", "```{toctree}", ":hidden:", *options, "", *pages, "```", ""])
