"""Retired words stay out of what people read: code, messages and docs."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
READ = ("orchestrator", "agents", "docs", "examples", "models", "*.md", "*.yaml")
# What is not written, and what to write in its place.
RETIRED = {
    r"in vain": "without success; failed attempts",
    r"(made|scored|read|asked|written|begins|prepared|drawn) anew": "rebuilt, rescored, again",
    r"its last words": "last lines (of stderr)",
    r"farm's own bug": "internal error",
    r"told from (?!now|error)": "significant; found in, read from",
    r"(measured|timed|encoders|again|board),? in turns": "interleaved",
    r"this head": "this machine",
    r"came of it": "the result",
    r"not as it was": "changed since",
    r"not told apart": "not recognized",
    r"(is|was|are|when) not told\b": "not reported",
    r"passed over": "skipped, ignored",
    r"stood in\b": "was the substitute",
    r"stand-ins?\b": "substitute: an emulated board, a simulator or a twin",
    r"tried in turns|was met\b|[Mm]eeting a board": "connected to",
    r"(must|can|to|may|cannot) (be mended|mend)\b": "fix",
}


def read() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "--", *READ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    return [
        ROOT / name
        for name in listed
        if name != "CHANGELOG.md" and Path(name).suffix in (".py", ".md", ".yaml", ".j2", ".js")
    ]


@pytest.mark.needs("git")
def test_retired_words_stay_retired() -> None:
    found, files = [], read()
    any_of_them = re.compile(rf"\b(?:{'|'.join(f'(?:{word})' for word in RETIRED)})")
    for path in files:
        text = path.read_text()
        for word, instead in RETIRED.items() if any_of_them.search(text) else ():
            for match in re.finditer(rf"\b(?:{word})", text):
                number = text.count("\n", 0, match.start()) + 1
                where = f"{path.relative_to(ROOT)}:{number}"
                found.append(f"{where}: {match[0]!r}; write: {instead}")
    assert not found, "\n".join(found)
    assert len(files) > 300
