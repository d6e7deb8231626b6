"""What is in a bundle: each file's place, hash and size. The bundle is named by the hash of this.

{"version": 1, "matrix": "matrix.yaml", "folders": [...], "files": [["PATH", "SHA256", 123], ...]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from orchestrator.errors import UserError
from orchestrator.hashing import sha256_bytes

VERSION = 1
MOST_BYTES = 64 << 20
"""Bytes of a manifest."""
MOST_PATH, MOST_PART = 1024, 255
"""Bytes of a path, and of one part of it."""
SHA256 = re.compile(r"[0-9a-f]{64}")
GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """How much somebody may send.

    Attributes:
        file: bytes of one file.
        total: bytes of all files of a bundle.
        count: files and folders of a bundle.
    """

    file: int = 2 * GIB
    total: int = 20 * GIB
    count: int = 200_000


@dataclass(frozen=True)
class Entry:
    """A file of a bundle: where it lies there, the sha256 (hex) of its bytes, how many they are."""

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """A bundle.

    Attributes:
        matrix: the entry that is the matrix; it lies in no folder.
        entries: all files.
        folders: folders without a file.
    """

    matrix: str
    entries: tuple[Entry, ...]
    folders: tuple[str, ...] = field(default=())

    def to_bytes(self) -> bytes:
        """JSON, always the same bytes for the same bundle."""
        fields = {
            "version": VERSION,
            "matrix": self.matrix,
            "folders": sorted(self.folders),
            "files": sorted([e.path, e.sha256, e.size] for e in self.entries),
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    @cached_property
    def name(self) -> str:
        """sha256 (hex) of `to_bytes`."""
        return sha256_bytes(self.to_bytes())

    @cached_property
    def blobs(self) -> Mapping[str, int]:
        """Bytes of each different content, by its sha256."""
        return {entry.sha256: entry.size for entry in self.entries}


def read_manifest(data: bytes, limits: Limits) -> Manifest:
    """A manifest that somebody sent; nothing in it is believed.

    Raises:
        UserError: it is none, leads outside of its folder, or names more than is allowed.
    """
    if len(data) > MOST_BYTES:
        raise UserError(f"the list of files has {len(data):,} bytes; {MOST_BYTES:,} are allowed")
    try:
        found = json.loads(data)
        version, matrix = found["version"], _text(found["matrix"])
        folders = [_text(name) for name in found["folders"]]
        entries = [
            Entry(_text(path), _text(sha), _count(size)) for path, sha, size in found["files"]
        ]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UserError("what was sent is no list of files") from None
    if version != VERSION:
        raise UserError(f"a list of files of version {version!r}; this farm knows {VERSION}")
    manifest = Manifest(matrix, tuple(entries), tuple(folders))
    check_limits(manifest, limits)
    _check_places(manifest)
    return manifest


def check_limits(manifest: Manifest, limits: Limits) -> None:
    """See that a bundle is not too large.

    Raises:
        UserError: it is.
    """
    count = len(manifest.entries) + len(manifest.folders)
    if count > limits.count:
        raise UserError(
            f"{count:,} files; the server takes {limits.count:,}",
            "a smaller test set, or there: farm serve --max-files N",
        )
    for entry in manifest.entries:
        if entry.size > limits.file:
            raise UserError(
                f"{entry.path} has {entry.size:,} bytes; the server takes files of {limits.file:,}",
                "a smaller file, or there: farm serve --max-file SIZE",
            )
    total = sum(entry.size for entry in manifest.entries)
    if total > limits.total:
        raise UserError(
            f"{total:,} bytes in {len(manifest.entries):,} files; the server takes "
            f"{limits.total:,} for a run",
            "a smaller test set, or there: farm serve --max-upload SIZE",
        )


def path_problem(path: str) -> str:
    """Why a text is no place within a bundle; empty when it is one."""
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if not path or len(raw) > MOST_PATH:
        return f"is empty or has more than {MOST_PATH} bytes"
    if not path.isprintable():
        return "has a character that cannot be printed"
    if path.startswith("/") or "\\" in path:
        return "is absolute or has a backslash"
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "leads outside of its folder, or has an empty part"
    if any(len(part.encode()) > MOST_PART for part in parts):
        return f"has a part of more than {MOST_PART} bytes"
    return ""


def _check_places(manifest: Manifest) -> None:
    files = [entry.path for entry in manifest.entries]
    for path in (*files, *manifest.folders, manifest.matrix):
        if problem := path_problem(path):
            raise UserError(f"the path {path[:200]!r} {problem}")
    for entry in manifest.entries:
        if not SHA256.fullmatch(entry.sha256) or entry.size < 0:
            raise UserError(f"{entry.path}: no sha256 or no size")
    sizes: dict[str, int] = {}
    for entry in manifest.entries:
        if sizes.setdefault(entry.sha256, entry.size) != entry.size:
            raise UserError(f"{entry.path}: the same content with two sizes")
    if len(set(files)) < len(files):
        raise UserError("a path is there twice")
    above = {parent for path in (*files, *manifest.folders) for parent in _above(path)}
    if doubled := (above | set(manifest.folders)) & set(files):
        raise UserError(f"{min(doubled)!r} is a file and a folder")
    if "/" in manifest.matrix or manifest.matrix not in files:
        raise UserError("the matrix is not among the files, or lies in a folder")


def _above(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    return value
