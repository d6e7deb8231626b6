"""The commands of README and of the pages that say so are run, in a copy of the project with a
small test set."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docs.builder.blocks import RUN_BY, blocks_of

from .project import ROOT, Project

PAGES = [page for (page, language), file in RUN_BY.items() if file == "tests/run/test_readme.py"]
# `make test` runs this very test; `farm serve` serves until Ctrl-C (tests/serving starts it), and
# no run goes on that could be stopped (tests/run/test_remote_run.py stops one).
NOT_HERE = ("make test", "farm serve", "farm cancel RUN")
MAY_END_WITH = {"farm gate": (0, 3)}


def commands() -> list[str]:
    """Each line of each block once, without its comment; several on a line stand apart."""
    found = []
    for page in PAGES:
        blocks = [block for block in blocks_of(page) if block.language == "sh"]
        for block in (block for block in blocks if block.how == "run"):
            for line in block.text.splitlines():
                found += [part.strip() for part in line.split("#")[0].split(";") if part.strip()]
    return list(dict.fromkeys(found))


@pytest.fixture
def copy(tmp_path: Path) -> Project:
    folder = tmp_path / "farm"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in listed.stdout.split("\0")[:-1]:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target, follow_symlinks=False)
    matrix = folder / "matrix.yaml"
    text = matrix.read_text()
    for key, value in {
        "identities: 3000": "identities: 60",
        "unknown: 1000": "unknown: 20",
        "images: 200": "images: 16",
        "min_duration_s: 3.0": "min_duration_s: 0.3",
        "min_count: 200": "min_count: 20",
        "bootstrap: 1000": "bootstrap: 100",
    }.items():
        assert key in text
        text = text.replace(key, value)
    matrix.write_text(text)
    # The environment that runs this test, as if it had been set up for the copy.
    environment = folder / ".venv"
    environment.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (environment / name).symlink_to(Path(sys.prefix) / name)
    for name in (".installed", ".installed-dev"):
        (environment / name).touch()
    return Project(folder)


@pytest.mark.slow
@pytest.mark.needs("make", "git")
@pytest.mark.timeout(400)
def test_the_readmes_commands(copy: Project) -> None:
    environment = copy.environment
    environment["PATH"] = f"{copy.folder}/.venv/bin:{environment['PATH']}"
    asked = commands()
    assert "make run" in asked
    assert len(asked) > 10
    for command in asked:
        if command in NOT_HERE:
            continue
        names = sorted(p.name for p in (copy.folder / "runs").glob("2*"))
        for word, name in zip(("RUN_A", "RUN_B"), (names * 2)[:2], strict=False):
            command = command.replace(word, name)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=copy.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
        )
        allowed = MAY_END_WITH.get(" ".join(command.split()[:2]), (0,))
        assert done.returncode in allowed, f"{command}\n{done.stdout}\n{done.stderr}"
