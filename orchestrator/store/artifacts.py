"""The store of what steps made: one immutable folder a key, complete or not there at all.

    <root>/<stage>/<key>/manifest.json   what it is, what it was made from, its files' hashes
    <root>/<stage>/<key>/<file> ...
    <root>/<stage>/<key>.part/           being made (features: being received, resumable)
    <root>/<stage>/<key>.lock            held by who makes it (a kernel lock, so it dies too)

Only a run's driver writes; anybody may read.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import TransientError
from orchestrator.hashing import digest, sha256_bytes, sha256_file
from orchestrator.store.hashed_files import HashedFiles

MANIFEST = "manifest.json"
SUM = "sum"
"""Hash of the rest of a manifest, whose facts stand in tables."""

_HASHED = HashedFiles()


class CorruptArtifact(TransientError):
    """A result of the store is damaged or gone: a run makes it again.

    Attributes:
        folder: the damaged result's, None when it is gone.
    """

    folder: Path | None = None


class BuildInProgress(TransientError):
    """Another run has been making a result for longer than a run waits."""


@dataclass(frozen=True)
class Held:
    """Something the store holds.

    Attributes:
        key: its name.
        folder: where its files are.
        content: sha256 over its files' names and hashes; what depends on it is keyed by this.
        manifest: the whole manifest, `provenance` and `facts` included.
    """

    key: str
    folder: Path
    content: str
    manifest: Mapping[str, Any]

    def file(self, name: str) -> Path:
        """Path of one of its files."""
        return self.folder / name

    def read(self, name: str) -> bytes:
        """A file's bytes, checked against the manifest.

        Raises:
            CorruptArtifact: the file is damaged or gone; the message says how to make it again.
        """
        path = self.file(name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise self.damaged(name, str(error)) from error
        if sha256_bytes(data) != self.manifest["files"][name]["sha256"]:
            raise self.damaged(name, "its sha256 is not the one in its manifest")
        return data

    def verify(self, name: str) -> Path:
        """A file's path after its bytes were checked against the manifest (for memory maps).

        Raises:
            CorruptArtifact: the file is damaged or gone.
        """
        path = self.file(name)
        try:
            good = _HASHED.sha256(path) == self.manifest["files"][name]["sha256"]
        except OSError as error:
            raise self.damaged(name, str(error)) from error
        if not good:
            raise self.damaged(name, "its sha256 is not the one in its manifest")
        return path

    def damaged(self, name: str, why: str) -> CorruptArtifact:
        """The error for one of its files that cannot be used."""
        error = CorruptArtifact(
            f"{self.file(name)}: damaged in the store: {why}",
            f"remove {self.folder} and run again: only this is rebuilt",
        )
        error.folder = self.folder
        return error

    @property
    def whole(self) -> bool:
        """Whether all its files are what the manifest says."""
        try:
            for name in self.manifest["files"]:
                self.verify(name)
        except TransientError:
            return False
        return True


class Store:
    """A folder of immutable, content-checked results. Safe to share between runs on one machine."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def lookup(self, stage: str, key: str) -> Held | None:
        """What the store holds under `key`, or None; without a sound manifest it counts as none."""
        folder = self.root / stage / key
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
            if manifest.get(SUM) not in (None, _sum(manifest)):
                return None
            return Held(key, folder, manifest["content"], manifest)
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def by_content(self, stage: str, content: str) -> Held | None:
        """A result of `stage` with this content, under whatever key; None when there is none."""
        for manifest in sorted((self.root / stage).glob(f"*/{MANIFEST}")):
            held = self.lookup(stage, manifest.parent.name)
            if held is not None and held.content == content:
                return held
        return None

    def part(self, stage: str, key: str) -> Path:
        """The folder in which `key` is being made; what an earlier try left there is kept."""
        folder = self.root / stage / f"{key}.part"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def discard(self, held: Held) -> None:
        """Forget a damaged result, so that the next run rebuilds it."""
        gone = held.folder.with_name(f".gone-{os.getpid()}-{held.key}")
        with contextlib.suppress(OSError):
            held.folder.rename(gone)  # at once, for all who read
        shutil.rmtree(gone, ignore_errors=True)

    def drop_damaged(self, folder: Path) -> None:
        """Forget the result in a folder of the store, unless it has been rebuilt meanwhile."""
        held = self.lookup(folder.parent.name, folder.name)
        if held is not None and not held.whole:
            self.discard(held)

    @contextlib.contextmanager
    def making(self, stage: str, key: str, owner: str, timeout_s: float) -> Iterator[Held | None]:
        """Hold the right to make `key`, waiting for another run that makes it.

        Yields:
            What the other run made meanwhile, or None: then the caller makes it. A dead owner's
            lock is free at once, since the kernel drops it with the process.

        Raises:
            BuildInProgress: the other run did not finish it within `timeout_s` seconds.
        """
        lock = self.root / stage / f"{key}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(lock, "a+") as file:
            end = time.monotonic() + timeout_s
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        file.seek(0)
                        raise BuildInProgress(
                            f"{stage} {key[:12]}: another run has been making it for more than "
                            f"{timeout_s:.0f} s (owner: {file.read(200).strip() or 'unknown'})",
                            "wait for that run, or stop it, then `farm run` again",
                        ) from None
                    time.sleep(0.2)
            file.truncate(0)
            file.write(owner)
            file.flush()
            yield self.lookup(stage, key)

    def commit(
        self,
        stage: str,
        key: str,
        files: Mapping[str, bytes] | None = None,
        *,
        provenance: Mapping[str, Any],
        facts: Mapping[str, Any] | None = None,
        hashes: Mapping[str, str] | None = None,
        apart: tuple[str, ...] = (),
    ) -> Held:
        """Make `key` held: write `files` beside those already in its part folder, then rename.

        Args:
            files: name to bytes.
            provenance: what it was made from and by.
            facts: small results that readers want without opening a file.
            hashes: sha256 of files already in the part folder, to spare reading them again.
            apart: files that are kept but say nothing of the content (a journal's order of lines).

        Raises:
            TransientError: the disk is full or the folder cannot be written.
        """
        part = self.part(stage, key)
        try:
            for name, data in (files or {}).items():
                with open(part / name, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            table = {
                path.name: {
                    "sha256": (hashes or {}).get(path.name) or sha256_file(path),
                    "bytes": path.stat().st_size,
                }
                for path in sorted(part.iterdir())
                if path.name != MANIFEST
            }
            content = digest({n: entry["sha256"] for n, entry in table.items() if n not in apart})
            manifest = {
                "key": key,
                "stage": stage,
                "content": content,
                "files": table,
                "facts": dict(facts or {}),
                "provenance": dict(provenance),
                "made_at": time.time(),
            }
            manifest = json.loads(json.dumps(manifest))
            manifest[SUM] = _sum(manifest)
            with open(part / MANIFEST, "w") as text:
                json.dump(manifest, text, indent=1, sort_keys=True)
                text.flush()
                os.fsync(text.fileno())
            final = self.root / stage / key
            if final.exists():  # a damaged one, without a manifest
                shutil.rmtree(final)
            _sync_folder(part)
            part.rename(final)
            _sync_folder(final.parent)
        except OSError as error:
            free = shutil.disk_usage(self.root).free
            raise TransientError(
                f"{part}: cannot write to the store: {error} ({free >> 20} MiB free)",
                "free some space, then `farm resume`: what is finished is kept",
            ) from error
        return Held(key, final, content, manifest)


def _sum(manifest: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in manifest.items() if name != SUM}
    return sha256_bytes(json.dumps(rest, sort_keys=True).encode())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
