"""What of that which others have sent may go: no bundle of a run whose folder is there."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from pathlib import Path

from orchestrator.store.collecting import Item
from orchestrator.store.run_folder import REQUEST

STAGE = "uploads"


def bundles_of_runs(runs: Path, root: Path) -> set[str]:
    """Names of the bundles that runs were begun with.

    Args:
        runs: where runs are.
        root: the folder of `Uploads`.
    """
    trees = (root / "trees").resolve()
    found = set()
    for request in runs.glob(f"*/{REQUEST}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            matrix = Path(json.loads(request.read_text())["matrix"])
            if matrix.parent.parent.resolve() == trees:
                found.add(matrix.parent.name)
    return found


def items(root: Path) -> list[Item]:
    """Bundles with the contents that no other has, contents of no bundle, and old jobs.

    What was used within a week counts as begun: it may be of a run that is not there yet.
    """
    named = {path.stem: _contents(path) for path in sorted((root / "bundles").glob("*.json"))}
    shared = Counter(sha256 for contents in named.values() for sha256 in contents)
    found = [_bundle(root, name, contents, shared) for name, contents in named.items()]
    loose = [path for path in (root / "blobs").glob("*/*") if path.name not in shared]
    for path in sorted((*loose, *(root / "parts").glob("*"))):
        with contextlib.suppress(OSError):
            used, count = path.stat().st_mtime, _bytes(path)
            found.append(Item(STAGE, path.name, path, count, used, "", True, (path,)))
    for job in sorted((root / "jobs").glob("*")):
        files = tuple(path for path in job.iterdir() if path.is_file()) if job.is_dir() else ()
        used = max((path.stat().st_mtime for path in files), default=0.0)
        found.append(Item(STAGE, job.name, job, sum(map(_bytes, files)), used, "", True, files))
    return found


def remove(item: Item) -> None:
    """Remove an item: first what names it."""
    for path in item.files:
        path.unlink(missing_ok=True)
    shutil.rmtree(item.folder, ignore_errors=True)


def _bundle(root: Path, name: str, contents: set[str], shared: Counter[str]) -> Item:
    manifest, tree = root / "bundles" / f"{name}.json", root / "trees" / name
    own = (root / "blobs" / sha[:2] / sha for sha in sorted(contents) if shared[sha] == 1)
    files = (manifest, *(path for path in own if path.is_file()))
    used = max(path.stat().st_mtime for path in (manifest, tree) if path.exists())
    return Item(STAGE, name, tree, sum(map(_bytes, files)), used, "", True, files)


def _contents(manifest: Path) -> set[str]:
    try:
        return {str(sha256) for _, sha256, _ in json.loads(manifest.read_bytes())["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


def is_of(found: Item) -> bool:
    """Whether an item is one of these."""
    return found.stage == STAGE


def of(state: Path, runs: Path) -> tuple[list[Item], set[str]]:
    """All items, and the names of those that runs need."""
    root = state / "uploads"
    return items(root), bundles_of_runs(runs, root)
