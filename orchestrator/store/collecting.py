"""What of the store may go: nothing that a kept run needs, the longest unused first.

A run needs what its rows were made from (their keys stand in its events), the images behind its
features, and, as long as it has not ended complete, all that it has finished or begun.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from orchestrator.errors import UserError
from orchestrator.store.artifacts import MANIFEST

USERS = ".users.lock"
NO_ATIME = getattr(os, "O_NOATIME", 0)
BEGUN_S = 7 * 86400.0
"""How long what was begun and not finished is kept for `farm resume`."""


@dataclass(frozen=True)
class Item:
    """Something in the store.

    Attributes:
        stage, key: its name.
        folder: where it is.
        used_at: Unix time of the last use that left a trace.
        begun: whether it was begun and not finished.
        files: what it is, where the folder is not its own.
    """

    stage: str
    key: str
    folder: Path
    bytes: int
    used_at: float
    content: str = ""
    begun: bool = False
    files: tuple[Path, ...] = ()


@contextlib.contextmanager
def using(root: Path) -> Iterator[None]:
    """While a run uses the store, nothing is collected."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(root / USERS, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hold the store against runs.

    Raises:
        UserError: a run is going on.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(root / USERS, "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"a run is using {root}", "wait until it has ended, or stop it; then again"
            ) from None
        yield


def items(root: Path) -> list[Item]:
    """All that the store holds."""
    found: list[Item] = []
    for folder in sorted(root.glob("*/*")):
        if folder.is_dir():
            found.append(_item(folder))
    return found


def _item(folder: Path) -> Item:
    sizes, times = [], []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            info = path.stat()
            sizes.append(info.st_blocks * 512)
            times.append(max(info.st_mtime, info.st_atime))
    try:
        content = _json(folder / MANIFEST)["content"]
    except (OSError, ValueError, KeyError):
        content = ""
    begun = not content
    key = folder.name.removesuffix(".part")
    used = max(times, default=folder.stat().st_mtime)
    return Item(folder.parent.name, key, folder, sum(sizes), used, content, begun)


def _unnoticed(path: Path) -> BinaryIO:
    """A file, open to be read without counting as used."""
    try:
        return open(path, "rb", opener=lambda name, flags: os.open(name, flags | NO_ATIME))
    except PermissionError:  # only its owner may
        return open(path, "rb")


def _json(path: Path) -> Any:
    with _unnoticed(path) as file:
        return json.load(file)


def models(folder: Path) -> list[Item]:
    """Normal forms of models, each with the records that name it; see `preflight/model.py`.

    A plan that finds one gone makes it again of the user's file, so what was used within a week
    counts as begun: it may be of a plan that was not run yet.
    """
    files: dict[str, list[Path]] = {}
    for record in folder.glob("*.json"):
        try:
            normal = str(_json(record)["normal"])
        except (OSError, ValueError, KeyError, TypeError):
            normal = record.stem
        files.setdefault(normal, []).append(record)  # goes first: no record names what is gone
    for path in (*folder.glob("*.onnx"), *folder.glob(".*.part")):
        files.setdefault(path.stem.lstrip("."), []).append(path)
    found = []
    for normal, each in sorted(files.items()):
        with contextlib.suppress(OSError):
            sizes = [path.stat() for path in each]
            used = max(info.st_mtime for info in sizes)  # a plan that uses them touches them
            count = sum(info.st_blocks * 512 for info in sizes)
            found.append(Item("models", normal, folder, count, used, "", True, tuple(each)))
    return found


def images_of(item: Item) -> str:
    """Content of the images that features were made of, empty where that is not reported."""
    try:
        with _unnoticed(item.folder / "journal.jsonl") as journal:
            head = json.loads(journal.readline().partition(b" ")[2] or b"null")
        return str(head["header"]["images"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def removable(
    held: Iterable[Item], needed: Iterable[str], *, most_bytes: int, now: float
) -> list[Item]:
    """What to remove so that at most `most_bytes` are left, as far as kept runs allow.

    Args:
        held: all that the store holds.
        needed: keys, and contents of images, that kept runs need.
        most_bytes: the size to come down to.
        now: Unix time.
    """
    everything = list(held)
    wanted = set(needed)
    total = sum(item.bytes for item in everything)
    chosen: list[Item] = []
    for item in sorted(everything, key=lambda item: (item.used_at, item.stage, item.key)):
        if total <= most_bytes:
            break
        if item.key in wanted or (item.content and item.content in wanted):
            continue
        if item.begun and now - item.used_at < BEGUN_S:
            continue
        chosen.append(item)
        total -= item.bytes
    return chosen


def remove(item: Item) -> int:
    """Remove an item at once for all readers; bytes that are free now."""
    if item.files:
        for path in item.files:
            path.unlink(missing_ok=True)
        return item.bytes
    gone = item.folder.with_name(f".gone-{os.getpid()}-{item.folder.name}")
    try:
        item.folder.rename(gone)
    except OSError:
        return 0
    shutil.rmtree(gone, ignore_errors=True)
    with contextlib.suppress(OSError):
        (item.folder.parent / f"{item.key}.lock").unlink()
    return item.bytes


def clock() -> float:
    """Unix time."""
    return time.time()
