"""What others have sent: contents by their hash, in farm's own folder, read by this user alone.

<root>/blobs/<ab>/<sha256>   a whole content
<root>/parts/<sha256>        one that is being received
<root>/bundles/<name>.json   a bundle's manifest, as it was sent
<root>/trees/<name>/         the bundle laid out: hard links to the blobs
<root>/jobs/<id>/            a run that was asked for
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from orchestrator.bundle.manifest import SHA256, Limits, Manifest, read_manifest
from orchestrator.errors import TransientError, UserError
from orchestrator.hashing import sha256_file

FREE_BYTES = 1 << 30
"""What must stay free on the disk."""


class NotThere(TransientError):
    """Contents that a bundle needs are not (any more) here: they are to be sent again."""


class Busy(TransientError):
    """Somebody else sends this content at this moment."""


class Uploads:
    """The folder. Several processes may use it at once.

    Args:
        state: farm's own folder.
    """

    def __init__(self, state: Path) -> None:
        self.root = state / "uploads"
        self._read: dict[str, Manifest] = {}

    def blob(self, sha256: str) -> Path:
        """Where a content is, or would be."""
        return self.root / "blobs" / sha256[:2] / sha256

    def tree(self, name: str) -> Path:
        """Where a bundle is laid out, or would be."""
        return self.root / "trees" / name

    def job(self, number: str) -> Path:
        """The folder of a run that was asked for."""
        return self.root / "jobs" / number

    def store_manifest(self, data: bytes, limits: Limits) -> Manifest:
        """Store a bundle's manifest.

        Raises:
            UserError: it is refused.
        """
        manifest = read_manifest(data, limits)
        _write(self._bundle(manifest.name), data)
        return manifest

    def manifest(self, name: str, limits: Limits) -> Manifest | None:
        """A bundle's manifest; None where it was not sent."""
        if not SHA256.fullmatch(name):
            return None
        path = self._bundle(name)
        if name in self._read and path.is_file():
            return self._read[name]
        try:
            manifest = read_manifest(path.read_bytes(), limits)
        except OSError:
            return None
        self._read = {name: manifest}  # the last one: it is asked for again with each request
        return manifest

    def missing(self, manifest: Manifest) -> list[tuple[str, int, int]]:
        """Contents that are not here: sha256, bytes, and how many of them have come."""
        found = []
        for sha256, size in manifest.blobs.items():
            if not _is_of(self.blob(sha256), size):
                part = self._part(sha256)
                found.append((sha256, size, part.stat().st_size if part.is_file() else 0))
        return found

    def check_room(self, count: int) -> None:
        """See that so many bytes have room on the disk.

        Raises:
            UserError: they have not.
        """
        private_folder(self.root)
        free = shutil.disk_usage(self.root).free
        if count > free - FREE_BYTES:
            raise UserError(
                f"{count:,} bytes are to be stored; the server's disk has {free:,} left",
                "make room there: farm gc, or remove folders of runs",
            )

    @contextlib.contextmanager
    def receiving(self, sha256: str, size: int, offset: int) -> Iterator[BinaryIO]:
        """Take in a content's bytes from `offset` on; once they are all there they are checked.

        Raises:
            Busy: somebody else is sending it.
            NotThere: other bytes than those before `offset` are here.
            UserError: the bytes are not those of the hash; they are thrown away.
        """
        path = self._part(sha256)
        private_folder(path.parent)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy(f"{sha256}: being sent by somebody else") from None
            if not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino:
                raise Busy(f"{sha256}: just received")
            if file.seek(0, os.SEEK_END) != offset:
                raise NotThere(f"{sha256}: {file.tell()} bytes are here, not {offset}")
            yield file
            file.flush()
            if file.tell() == size:
                self._finish(path, sha256)

    def _finish(self, path: Path, sha256: str) -> None:
        if sha256_file(path) != sha256:
            path.unlink()
            raise UserError(
                f"what was sent as {sha256} has another hash",
                "the file changed while it was sent, or the link damages data; send it again",
            )
        target = self.blob(sha256)
        private_folder(target.parent)
        os.replace(path, target)

    def lay_out(self, manifest: Manifest) -> Path:
        """A folder with the bundle's files, whose bytes are checked again.

        Raises:
            NotThere: a content is not here, or was damaged on the disk and is gone now.
        """
        tree = self.tree(manifest.name)
        if tree.is_dir():
            os.utime(tree)
            return tree
        private_folder(tree.parent)
        fresh = Path(tempfile.mkdtemp(prefix=".part-", dir=tree.parent))
        try:
            for name in manifest.folders:
                private_folder(fresh / name)
            for sha256, size in manifest.blobs.items():
                self._check(sha256, size)
            for entry in manifest.entries:
                place = fresh / entry.path
                private_folder(place.parent)
                _link(self.blob(entry.sha256), place)
            with contextlib.suppress(FileExistsError, OSError):
                os.rename(fresh, tree)  # refused when another process was faster
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        if not tree.is_dir():
            raise UserError(f"{tree} cannot be made", "is its disk full?")
        return tree

    def _check(self, sha256: str, size: int) -> None:
        blob = self.blob(sha256)
        if not _is_of(blob, size):
            raise NotThere(f"{sha256} is not here")
        if sha256_file(blob) != sha256:
            blob.unlink()
            raise NotThere(f"{sha256} was damaged on the server's disk")

    def _part(self, sha256: str) -> Path:
        return self.root / "parts" / sha256

    def _bundle(self, name: str) -> Path:
        return self.root / "bundles" / f"{name}.json"


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(exist_ok=True, mode=0o700)


def _is_of(path: Path, size: int) -> bool:
    try:
        return path.stat(follow_symlinks=False).st_size == size
    except OSError:
        return False


def _link(blob: Path, place: Path) -> None:
    try:
        os.link(blob, place)
    except OSError:  # a file system without hard links, or too many of them
        shutil.copyfile(blob, place)
        place.chmod(0o600)


def _write(path: Path, data: bytes) -> None:
    private_folder(path.parent)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
