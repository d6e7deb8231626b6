"""Brings the site's source together: docs/, pages of the project elsewhere, generated pages."""

from __future__ import annotations

import shutil
from pathlib import Path

from docs.builder.contents import tree, trees
from docs.builder.generated import PAGES
from docs.builder.links import LINK, place, rewritten
from docs.builder.pictures import PICTURES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
# Pages that link to pages of their own folder only for themselves.
HEADS = ("explanation/decisions/README.md",)


def assemble(target: Path) -> list[str]:
    """Write all pages below `target`; returns their site paths.

    A page outside docs/ is taken when a page links to it, and so is a file that is no page.
    """
    shutil.copytree(DOCS / "builder" / "static", target / "builder" / "static")
    shutil.copytree(DOCS / "images", target / "images", ignore=shutil.ignore_patterns("*.py"))
    for name, page in PAGES.items():
        _write(target / name, page())
    for name, draw in PICTURES.items():
        draw(target / name)
    waiting = [path.relative_to(ROOT).as_posix() for path in sorted(DOCS.rglob("*.md"))]
    done: list[str] = []
    while waiting:
        name = waiting.pop()
        if name in done or place(name) in (*PAGES, *PICTURES) or name == "README.md":
            continue
        done.append(name)
        source = ROOT / name
        if source.suffix != ".md":
            if source.is_file():
                _write(target / place(name), source.read_text())
            continue
        text = rewritten(source.read_text(), name, waiting.append)
        if name == "docs/index.md":
            text += trees(text)
        elif place(name) in HEADS:
            text += tree([goal.removesuffix(".md") for goal, _ in LINK.findall(text) if goal])
        _write(target / place(name), text)
    return [place(name) for name in done if name.endswith(".md")] + list(PAGES)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
