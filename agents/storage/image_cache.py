"""Test images that stay on the board, when the head asks for that, for the next extraction.

They lie in blocks of some megabytes, each a file named by the sha256 of its bytes. A block gets
its name when it has come whole and has that hash, and is hashed again each time before it is used:
what was half received or has been damaged since is sent again and never used.
"""

import hashlib
import os
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..protocol.errors import TRANSIENT, AgentError
from ..protocol.link import say
from ..protocol.wire import Buffer, WireError, number
from .cleanup import touch

DAMAGED = "kept-damaged"
HASH = 32  # bytes of a sha256
NEVER = bytes(HASH)  # stands for a block that is not to be kept
LIMIT = 4 << 30
_AT_ONCE = 16  # images of a block after which their features are sent


def spans(first: int, count: int, block: int) -> List[Tuple[int, int]]:
    """The blocks of `count` images, from image `first` of their set on, as (start, stop).

    Blocks end at multiples of `block` within the set, so that a part of it shares its blocks with
    the whole. `start` and `stop` count from `first`.
    """
    found = []
    start = 0
    while start < count:
        stop = min(count, start + block - (first + start) % block)
        found.append((start, stop))
        start = stop
    return found


class ImageCache(object):
    """The blocks of one extraction: which are here, and the others as they come.

    Args:
        folder: where blocks lie; made when missing.
        meta: of the EXTRACT frame: `first` and `block` as for `spans`.
        hashes: its payload: a sha256 a block, or `NEVER`.
        count, image_bytes: of the extraction.

    Attributes:
        held: a byte a block, 1 where it is here.

    Raises:
        WireError: not one hash a block.
    """

    def __init__(
        self, folder: str, meta: Mapping[str, Any], hashes: Buffer, count: int, image_bytes: int
    ) -> None:
        first, block = number(meta, "first", 0, 1 << 40), number(meta, "block", 1, 1 << 24)
        if len(hashes) // HASH > count or block * image_bytes > 1 << 26:
            raise WireError("%d hashes of blocks of %d images" % (len(hashes) // HASH, block))
        self._spans = spans(first, count, block)
        if not count or len(hashes) != HASH * len(self._spans):
            raise WireError("%d bytes of hashes for %d blocks" % (len(hashes), len(self._spans)))
        self._folder, self._image_bytes = folder, image_bytes
        raw = bytes(hashes)
        parts = [raw[at : at + HASH] for at in range(0, len(raw), HASH)]
        self._names = ["" if part == NEVER else part.hex() for part in parts]
        self._block_of = block
        self._first = first
        self._writer: Optional[_Writer] = None
        self._loaded = (-1, b"")
        self._room = _Room(folder, set(self._names))
        self.held = bytes(bytearray(self._is_here(each) for each in range(len(parts))))

    def _is_here(self, block: int) -> bool:
        name = self._names[block]
        return bool(name) and self._room.sizes.get(name) == self._size(block)

    def _size(self, block: int) -> int:
        start, stop = self._spans[block]
        return (stop - start) * self._image_bytes

    def _block(self, index: int) -> int:
        return (self._first + index) // self._block_of - self._first // self._block_of

    def next_missing(self, index: int) -> int:
        """The first image from `index` on that has to come over the link."""
        while index < self._spans[-1][1]:
            block = self._block(index)
            if not self.held[block]:
                return index
            index = self._spans[block][1]
        return index

    def next_held(self, index: int) -> int:
        """The first image from `index` on that is here; `index` itself belongs to a block."""
        while index < self._spans[-1][1] and not self.held[self._block(index)]:
            index = self._spans[self._block(index)][1]
        return index

    def holds(self, index: int) -> bool:
        """Whether an image is here."""
        return index < self._spans[-1][1] and bool(self.held[self._block(index)])

    def ends_run(self, index: int) -> bool:
        """Whether features are sent after this image that is here."""
        start, stop = self._spans[self._block(index)]
        return index + 1 == stop or (index - start) % _AT_ONCE == _AT_ONCE - 1

    def image(self, index: int) -> bytes:
        """An image that is here.

        Raises:
            AgentError: its block has been damaged, and is gone now.
        """
        block = self._block(index)
        if self._loaded[0] != block:
            self._loaded = (-1, b"")
            self._loaded = (block, self._load(block))
        at = (index - self._spans[block][0]) * self._image_bytes
        return self._loaded[1][at : at + self._image_bytes]

    def _load(self, block: int) -> bytes:
        path = os.path.join(self._folder, self._names[block])
        try:
            with open(path, "rb") as file:
                data = file.read(self._size(block) + 1)
        except (IOError, OSError):
            data = b""
        if hashlib.sha256(data).hexdigest() == self._names[block]:
            touch(path)
            return data
        try:
            os.unlink(path)
        except OSError:
            pass
        raise AgentError(TRANSIENT, "%s is damaged; it has to be sent again" % path, DAMAGED)

    def add(self, index: int, data: bytes) -> None:
        """An image that came over the link. What cannot be kept is used all the same."""
        block = self._block(index)
        start, stop = self._spans[block]
        if index == start:
            self.close()
            name = self._names[block]
            if name and self._room.make(self._size(block), name):
                self._writer = _Writer(self._folder, name)
        if self._writer is not None:
            self._writer.write(data)
            if index + 1 == stop:
                if self._writer.finish():
                    self._room.sizes[self._names[block]] = self._size(block)
                self._writer = None

    def close(self) -> None:
        """Drop a block that did not come whole."""
        if self._writer is not None:
            self._writer.drop()
            self._writer = None


class _Writer(object):
    """A block on its way to its file."""

    def __init__(self, folder: str, name: str) -> None:
        self._path, self._name = os.path.join(folder, name), name
        self._part = self._path + ".part"
        self._digest = hashlib.sha256()
        self._fd = -1
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(self._part, flags, 0o600)
        except OSError as error:
            say("agent: images are not kept: %s" % error)

    def write(self, data: bytes) -> None:
        """Append an image."""
        if self._fd < 0:
            return
        self._digest.update(data)
        view = memoryview(data)
        try:
            while len(view):
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            say("agent: images are not kept: %s" % error)
            self.drop()

    def finish(self) -> bool:
        """Give the block its name; False when it is not what was announced."""
        if self._fd < 0 or self._digest.hexdigest() != self._name:
            self.drop()
            return False
        os.close(self._fd)
        self._fd = -1
        try:
            os.rename(self._part, self._path)
        except OSError:
            return False
        return True

    def drop(self) -> None:
        """Forget it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            try:
                os.unlink(self._part)
            except OSError:
                pass


class _Room(object):
    """How much may be kept: half of what is or could be free, and `LIMIT`; the oldest go first."""

    def __init__(self, folder: str, wanted: Any) -> None:
        self._folder, self._wanted = folder, wanted
        self._oldest: List[Tuple[float, str]] = []
        self.sizes: Dict[str, int] = {}
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            for name in os.listdir(folder):
                found = os.lstat(os.path.join(folder, name))
                self.sizes[name] = found.st_size
                self._oldest.append((found.st_mtime, name))
            room = os.statvfs(folder)
            free = room.f_bavail * room.f_frsize
        except OSError as error:
            say("agent: images are not kept: %s" % error)
            free = 0
        self._oldest.sort(reverse=True)
        self._limit = min(LIMIT, (free + sum(self.sizes.values())) // 2)

    def make(self, size: int, name: str) -> bool:
        """Make room for a block of the running extraction by removing blocks of others."""
        self.sizes.pop(name, None)
        total = sum(self.sizes.values())
        while total + size > self._limit and self._oldest:
            old = self._oldest.pop()[1]
            if old in self._wanted or old not in self.sizes:
                continue
            try:
                os.unlink(os.path.join(self._folder, old))
            except OSError:
                continue
            total -= self.sizes.pop(old)
        return total + size <= self._limit
