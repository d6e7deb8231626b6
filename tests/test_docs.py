"""Every link between the project's own pages leads somewhere, headings included; the site builds
strictly from them and fetches nothing."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from docs.builder.__main__ import build
from docs.builder.contents import sections
from docs.builder.generated import PAGES
from docs.builder.outside import fetched

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
PARTS = {
    "Tutorials": "tutorials",
    "How-to": "how-to",
    "Reference": "reference",
    "Explanation": "explanation",
}


def pages() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.md"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def anchors(page: Path) -> set[str]:
    """The names that a page's headings get where Markdown is shown."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in found}


@pytest.mark.needs("git")
def test_every_link_between_pages_leads_somewhere() -> None:
    broken, seen = [], 0
    generated = {ROOT / "docs" / name for name in PAGES}
    for page in pages():
        for target, anchor in LINK.findall(page.read_text()):
            if "://" in target or target.startswith("mailto:"):
                continue
            seen += 1
            goal = (page.parent / target).resolve() if target else page
            if goal in generated:
                continue  # the strict build looks at these
            if not goal.exists() or (anchor and anchor not in anchors(goal)):
                broken.append(f"{page.relative_to(ROOT)}: {target}#{anchor}")
    assert not broken
    assert seen > 20


def test_each_page_stands_in_one_of_the_four_parts() -> None:
    listed = dict(sections((ROOT / "docs/index.md").read_text()))
    for title, folder in PARTS.items():
        own = [name for name in listed[title] if not name.startswith("..")]
        assert all(name.startswith(f"{folder}/") for name in own), title
    docs = ROOT / "docs"
    written = {path.relative_to(docs).as_posix() for path in pages() if path.is_relative_to(docs)}
    heads = {name for name in written if name.count("/") == 1}
    missing = (heads | set(PAGES)) - {name for names in listed.values() for name in names}
    assert not missing, f"give them a line in docs/index.md: {missing}"
    loose = {name for name in written if "/" not in name} - {"index.md"}
    assert not loose, f"move them into one of {list(PARTS.values())}: {loose}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    assert build(folder) == 0
    return folder


def test_the_site_builds_strictly_and_fetches_nothing(site: Path) -> None:
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {"index.html", "search.html", "explanation/measuring.html"} <= built
    assert {name.removesuffix(".md") + ".html" for name in PAGES} <= built
    assert fetched(site) == []
    # Search is a file beside the pages.
    assert "measuring" in (site / "searchindex.js").read_text()


def test_what_a_page_would_fetch_is_found(tmp_path: Path) -> None:
    loads = (
        '<script src="https://cdn.example/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/css">',
        '<style>@import "https://fonts.example/css";</style>',
        "<p style='background: url(http://images.example/x.png)'></p>",
        '<script>fetch("https://api.example/stars")</script>',
    )
    (tmp_path / "page.html").write_text("\n".join(loads))
    assert len(fetched(tmp_path)) == len(loads)
    (tmp_path / "page.html").write_text('<a href="https://example.org">read on</a>')
    assert fetched(tmp_path) == []


def test_a_broken_heading_fails_the_build(tmp_path: Path) -> None:
    """The build is as strict as it says."""
    from sphinx.cmd.build import build_main

    (tmp_path / "index.md").write_text("# One\n[nowhere](index.md#two)\n")
    settings = str(ROOT / "docs" / "builder")
    words = ["-W", "-q", "-b", "dummy", "-c", settings, "-d", str(tmp_path / "trees")]
    assert build_main([*words, str(tmp_path), str(tmp_path / "out")]) != 0
