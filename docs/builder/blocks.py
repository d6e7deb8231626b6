"""The code blocks of the project's pages, and how each is proved to work.

A comment on the line before a fence says more about it:

    <!-- file: matrix.yaml -->      the block is that file
    <!-- add to: matrix.yaml -->    the block is its end from now on
    <!-- output -->                 what the block before prints; `...` stands for anything
    <!-- output within 0.05 -->     the same, numbers may differ by so much
                                    (before a table: that the output has this table)
    <!-- not run: why -->           nobody runs it

`python -m docs.builder.blocks` counts them.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```"
    r"|^<!-- (?P<about>output[^\n]*?) -->\n(?P<table>(?:\|[^\n]*\n)+)",
    re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
# Pages whose commands (or files) a test runs; tests/test_tutorials.py runs the tutorials.
RUN_BY = {
    ("README.md", "sh"): "tests/run/test_readme.py",
    ("docs/reference/commands.md", "sh"): "tests/run/test_readme.py",
    ("docs/tutorials/first-table.md", "sh"): "tests/run/test_readme.py",
    ("docs/how-to/own-model.md", "sh"): "tests/run/test_readme.py",
    ("docs/how-to/accuracy-dropped.md", "sh"): "tests/run/test_readme.py",
    ("CONTRIBUTING.md", "yaml"): "tests/test_recipes.py",
    ("CONTRIBUTING.md", "python"): "tests/test_recipes.py",
    ("CONTRIBUTING.md", "diff"): "tests/test_recipes.py",
}
TUTORIALS = ("docs/tutorials/quantization.md",)
DRAWINGS = ("", "text")
CHECKED = ("yaml", "json")


@dataclass(frozen=True)
class Block:
    """One fenced block, or a table that is an output.

    Attributes:
        page: its page's path in the repository.
        line: of the opening fence, from 1 on.
        language: as the fence says; empty without.
        text: what is inside.
        mark: what the comment before it says; empty without.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str = ""

    @property
    def where(self) -> str:
        """`page:line`."""
        return f"{self.page}:{self.line}"

    @property
    def how(self) -> str:
        """run, written, compared, checked, drawing, not run; empty when nothing says it."""
        if self.mark.startswith("not run: "):
            return "not run"
        if self.mark.startswith("output"):
            return "compared"
        if self.mark.startswith(("file: ", "add to: ")):
            return "written"
        if self.language in DRAWINGS:
            return "drawing"
        if self.page in TUTORIALS or (self.page, self.language) in RUN_BY:
            return "run"
        return "checked" if self.language in CHECKED else ""


def blocks_of(page: str) -> list[Block]:
    """The blocks of a page, in order."""
    text = (ROOT / page).read_text()
    return [_block(page, text, found) for found in BLOCK.finditer(text)]


def _block(page: str, text: str, found: re.Match[str]) -> Block:
    if found["table"]:
        line = text.count("\n", 0, found.start("table")) + 1
        return Block(page, line, "table", found["table"], found["about"])
    line = text.count("\n", 0, found.start("indent")) + 1
    inside = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
    return Block(page, line, found["language"], inside, found["mark"] or "")


def difference(wanted: str, mark: str, got: str) -> str:
    """Where an output is not as its page shows it; empty when it is."""
    if wanted.startswith("|"):
        got = "\n".join(line for line in got.splitlines() if line.startswith("|"))
    tolerance = float(mark.removeprefix("output within ")) if "within" in mark else 0.0
    expected = [" ".join(line.split()) for line in wanted.strip().splitlines()]
    lines = [" ".join(line.split()) for line in got.strip().splitlines()]
    if "..." not in expected and len(expected) != len(lines):
        return f"{len(lines)} lines, expected {len(expected)}:\n{got}"
    at = 0
    for number, line in enumerate(expected):
        if line == "...":
            continue
        after_gap = number > 0 and expected[number - 1] == "..."
        while at < len(lines) and after_gap and not same(line, lines[at], tolerance):
            at += 1
        if at == len(lines) or not same(line, lines[at], tolerance):
            found = lines[at] if at < len(lines) else "nothing more"
            return f"expected {line!r}, found {found!r} in\n{got}"
        at += 1
    return ""


def same(wanted: str, got: str, tolerance: float) -> bool:
    """Whether a line is the wanted one: `...` is anything, numbers differ by the tolerance."""
    number = NUMBER if tolerance else re.compile(r"(?!)")  # which is found nowhere
    pattern, numbers, end = "", [], 0
    for found in number.finditer(wanted):
        pattern += _words(wanted[end : found.start()]) + f"({NUMBER.pattern})"
        numbers.append(float(found[0]))
        end = found.end()
    match = re.fullmatch(pattern + _words(wanted[end:]), got)
    if match is None:
        return False
    return all(abs(a - float(b)) <= tolerance for a, b in zip(numbers, match.groups(), strict=True))


def _words(text: str) -> str:
    return re.escape(text).replace(re.escape("..."), ".*")


def counts(pages: list[str]) -> Counter[str]:
    """How many blocks there are of each kind."""
    return Counter(block.how for page in pages for block in blocks_of(page))


def pages() -> list[str]:
    """All pages of the site, the README and the example pages, by their repository paths."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    found += ROOT.glob("training/**/*.md")
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


if __name__ == "__main__":
    for how, number in sorted(counts(pages()).items()):
        print(f"{number:4} {how or 'NOBODY SAYS'}")
    for page in pages():
        for block in blocks_of(page):
            if block.how in ("not run", ""):
                print(f"     {block.where}: {block.mark or block.language}")
    sys.exit(0)
