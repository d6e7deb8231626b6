"""Every link between the project's own pages leads somewhere, headings included; the site builds
strictly from them and fetches nothing."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
from pathlib import Path

import pytest

from docs.builder.contents import sections
from docs.builder.generated import PAGES, hardware
from docs.builder.outside import fetched
from docs.builder.pictures import PICTURES
from orchestrator.plugins import built_in_toolchains
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.runtimes import inventory_runtimes
from orchestrator.toolchains.vendor_rules import VendorRule

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
    generated = {ROOT / "docs" / name for name in (*PAGES, *PICTURES)}
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
    from docs.builder.__main__ import build  # Sphinx, which the collection goes without

    folder = tmp_path_factory.mktemp("docs") / "site"
    assert build(folder) == 0
    return folder


@pytest.mark.slow
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


def test_what_never_ran_on_hardware_is_said_of_everything_there_is() -> None:
    page = hardware.page()
    for name in load_kinds():
        assert re.search(
            rf"^\| `{re.escape(name)}` \|.*\| (never|every run.*) \|$", page, re.MULTILINE
        )
    assert set(hardware.RAN) <= set(load_kinds())
    say = f"of {hardware.__file__}: say what executes each in the tests"
    assert set(hardware.SUBSTITUTES) == set(inventory_runtimes()), f"SUBSTITUTES {say}"
    assert set(hardware.TOOLS) == set(built_in_toolchains()), f"TOOLS {say}"
    for file in re.findall(r"`(tests/[^`]+)`", page):
        assert (ROOT / file).exists(), file
    import orchestrator.toolchains.vendors as vendors

    rules: set[str] = set()
    for found in pkgutil.iter_modules(vendors.__path__):
        module = importlib.import_module(f"{vendors.__name__}.{found.name}")
        rules |= {
            thing.facts[0] for thing in vars(module).values() if isinstance(thing, VendorRule)
        }
    assert rules == {rule.facts[0] for rule in hardware.RULES.values()}


def test_the_generated_reference_has_what_the_code_has() -> None:
    """The parts that a person looks up by name, found another way than the pages find them."""
    commands = PAGES["reference/command-line.md"]()
    root = ROOT / "orchestrator/cli/commands"
    for path in root.rglob("*.py"):
        if path.name.startswith("_"):
            continue
        words = " ".join((*path.relative_to(root).parts[:-1], path.stem.rstrip("_")))
        assert f"### farm {words}\n" in commands
        for option in re.findall(r'click\.option\(\s*"(--[a-z-]+)', path.read_text()):
            assert option in commands, option
    source = (ROOT / "orchestrator/results.py").read_text()
    row = PAGES["reference/results-json.md"]()
    for field in re.findall(r"^    (\w+): ", source.partition("class CellResult")[2], re.MULTILINE):
        assert f"| `{field}` |" in row, field
    events = PAGES["reference/events.md"]()
    for name in re.findall(
        r'event: Literal\["(\w+)"\]', (ROOT / "orchestrator/events.py").read_text()
    ):
        assert f"## {name}\n" in events


def test_the_readme_is_read_in_two_minutes() -> None:
    text = (ROOT / "README.md").read_text()
    prose = re.sub(r"\]\([^)]*\)", "]", text)
    assert len([word for word in prose.split() if re.search(r"\w", word)]) < 500
    assert text.count("```sh") == 2
    (five,) = re.findall(r"## Five commands\n```sh\n(.*?)```", text, re.DOTALL)
    assert five.count("\n") == 5


def test_each_reason_for_doubt_has_its_remedy() -> None:
    explained = (ROOT / "docs/explanation/measuring.md").read_text().partition("## The verdict")[2]
    words = set(re.findall(r"^\| ([a-z ]+) \|", explained.partition("## ")[0], re.MULTILINE))
    words.remove("reason")
    page = (ROOT / "docs/how-to/suspect-time.md").read_text()
    lines = re.findall(r"^\| ([a-z ,]+) \|", page, re.MULTILINE)
    assert {word for line in lines for word in line.split(", ")} - {"word"} == words
    code = "".join(path.read_text() for path in (ROOT / "orchestrator/stages").glob("*.py"))
    assert not {word for word in words if word not in code}
