"""Images that stay on a board between extractions: what the head offers, and what it then sends."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.agents.protocol.wire import Frame, WireError
from orchestrator.agents.storage.image_cache import DAMAGED, NEVER, spans
from orchestrator.errors import TransientError
from orchestrator.fleet.session.types import ImageSource

__all__ = ["DAMAGED", "Damaged", "Offer", "Rest", "missing", "offer"]

BLOCK_BYTES = 4 << 20


class Damaged(TransientError):
    """Images that the board had kept were damaged; it has removed them."""


@dataclass(frozen=True)
class Offer:
    """The images of an extraction by content.

    Attributes:
        first: the place in its set of the extraction's first image.
        block: images a block.
        hashes: the sha256 of each block of `agents.kept.spans`, or `NEVER`.
    """

    first: int
    block: int
    hashes: tuple[bytes, ...]

    @property
    def meta(self) -> dict[str, Any]:
        """What goes into the EXTRACT frame."""
        return {"first": self.first, "block": self.block}

    @property
    def payload(self) -> bytes:
        """The EXTRACT frame's payload."""
        return b"".join(self.hashes)

    def after(self, done: int, count: int) -> Offer:
        """The offer for what is left of `count` images; a block that was begun is not kept."""
        left = []
        for (start, _), each in zip(spans(self.first, count, self.block), self.hashes, strict=True):
            if start >= done:
                left.append(each)
        if len(left) < len(spans(self.first + done, count - done, self.block)):
            left.insert(0, NEVER)
        return replace(self, first=self.first + done, hashes=tuple(left))


def offer(images: ImageSource, first: int, image_bytes: int) -> Offer:
    """Read and hash images that are to stay on the board.

    Args:
        first: where in their set they begin, so that parts of a set share its blocks.
        image_bytes: size of an image.
    """
    block = max(1, BLOCK_BYTES // image_bytes)
    hashes = [
        hashlib.sha256(np.ascontiguousarray(images.read(start, stop - start)).data).digest()
        for start, stop in spans(first, len(images), block)
    ]
    return Offer(first, block, tuple(hashes))


def missing(ready: Frame, offered: Offer | None, count: int) -> list[tuple[int, int]]:
    """The runs of images that the board, as its READY says, does not have.

    Raises:
        WireError: READY speaks of other blocks than were offered.
    """
    held = bytes(ready.payload)
    if offered is None:
        if held:
            raise WireError("READY with blocks that nobody offered")
        return [(0, count)]
    blocks = spans(offered.first, count, offered.block)
    if len(held) != len(blocks) or any(
        flag > 1 or (flag and each == NEVER)
        for flag, each in zip(held, offered.hashes, strict=False)
    ):
        raise WireError(f"READY has {len(held)} blocks, expected {len(blocks)} of 0 or 1")
    runs: list[tuple[int, int]] = []
    for (start, stop), here in zip(blocks, held, strict=True):
        if here:
            continue
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], stop)
        else:
            runs.append((start, stop))
    return runs


class Rest:
    """What is left of a source, numbered from 0."""

    def __init__(self, images: ImageSource, done: int) -> None:
        self._images, self._done = images, done

    def __len__(self) -> int:
        return len(self._images) - self._done

    def read(self, start: int, n: int) -> NDArray[np.uint8]:
        return self._images.read(self._done + start, n)
