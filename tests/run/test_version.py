"""The version comes from git tags, wherever farm is built: a clone, an archive, an sdist."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

import orchestrator

from .project import ROOT

# What the build reads; the package itself is as small as it can be.
FILES = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "models/LICENSE")
GIT_FILES = (".gitattributes", ".git_archival.txt")
BUILD = """\
import json, os, pathlib, sys
from setuptools import build_meta
found, (root, *names) = {}, sys.argv[1:]  # setuptools changes sys.argv
for name in names:
    os.chdir(os.path.join(root, name))
    made = pathlib.Path(build_meta.prepare_metadata_for_build_wheel("."))
    text = (made / "METADATA").read_text()
    found[name] = next(l.split()[1] for l in text.splitlines() if l.startswith("Version: "))
print("found", json.dumps(found))
"""
SDIST = "from setuptools import build_meta; build_meta.build_sdist('dist')"


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.slow
@pytest.mark.needs("git")
def test_the_version_is_the_tag_in_a_clone_an_archive_and_an_sdist(tmp_path: Path) -> None:
    tagged = tmp_path / "tagged"
    (tagged / "orchestrator").mkdir(parents=True)
    (tagged / "models").mkdir()
    (tagged / "agents").mkdir()
    for package in ("orchestrator", "agents"):
        (tagged / package / "__init__.py").touch()
    (tagged / "orchestrator" / "agents").symlink_to("../agents")
    for name in (*FILES, *GIT_FILES):
        shutil.copy(ROOT / name, tagged / name)
    git(tagged, "init", "-q")
    git(tagged, "add", "-A")
    git(tagged, "commit", "-qm", "all")
    git(tagged, "tag", "v7.8.9")
    git(tmp_path, "clone", "-q", "--no-tags", str(tagged), "untagged")
    for name, words in {
        "archive": ["git", "archive", "--prefix=archive/", "HEAD"],
        "sdist": [sys.executable, "-c", SDIST],
    }.items():
        file = tmp_path / f"{name}.tar"
        done = subprocess.run(words, cwd=tagged, check=True, capture_output=True)
        if name == "archive":
            file.write_bytes(done.stdout)
        else:
            next((tagged / "dist").glob("*.tar.gz")).rename(file)
        with tarfile.open(file) as packed:
            packed.extractall(tmp_path, filter="data")
    (tmp_path / "facefarm-7.8.9").rename(tmp_path / "sdist")
    assert (tmp_path / "sdist" / "orchestrator" / "agents" / "__init__.py").is_file()
    # What somebody copied without git: the archive's file was never filled in.
    built = shutil.ignore_patterns(".git", "dist", "*.egg-info")
    shutil.copytree(tagged, tmp_path / "copied", ignore=built)
    names = ("tagged", "untagged", "archive", "sdist", "copied")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(tmp_path), *names], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    line = next(each for each in done.stdout.splitlines() if each.startswith("found "))
    found = json.loads(line.removeprefix("found "))
    assert found["tagged"] == found["archive"] == found["sdist"] == "7.8.9"
    commit = git(tmp_path / "untagged", "rev-parse", "--short=7", "HEAD")
    assert f"+g{commit}" in found["untagged"]
    assert found["copied"] == "0.0"


def test_farm_says_the_version_that_was_installed() -> None:
    assert orchestrator.__version__ == version("facefarm")
