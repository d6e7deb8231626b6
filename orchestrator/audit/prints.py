"""What is kept of an image to find it again: a hash of its pixels, and one of how it looks."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

import imagehash
import numpy as np
import numpy.typing as npt
from PIL import Image

HASH_SIZE = 16
"""A side of the perceptual hash: 16 x 16 = 256 bits. The usual 8 x 8 takes aligned faces, which
are alike by nature, for one another."""

VERSION = " ".join(["1", *(f"{name} {version(name)}" for name in ("ImageHash", "pillow", "scipy"))])
"""Part of the key under which prints are kept."""

FLAT = 4
"""Grey levels between the darkest and the lightest pixel of each colour, up to which an image shows
nothing: its perceptual hash is then made of rounding errors and tells nothing."""

_BLOCK = 64


class Readable(Protocol):
    """Images that can be read; `orchestrator.images.Rows` is one."""

    def __len__(self) -> int: ...

    def images(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """uint8 (stop - start, height, width, 3), RGB."""


@dataclass(frozen=True, eq=False)
class Prints:
    """Of n images, row by row.

    Attributes:
        pixels: sha256 of the decoded pixels and their shape, uint8 (n, 32): the same picture in
            another file format has the same.
        looks: the perceptual hash, uint64 (n, 4).
        grey: whether red, green and blue are equal everywhere, bool (n,).
        flat: whether it shows one colour, bool (n,).
    """

    pixels: npt.NDArray[np.uint8]
    looks: npt.NDArray[np.uint64]
    grey: npt.NDArray[np.bool_]
    flat: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pixels)

    def to_bytes(self) -> bytes:
        """As an .npz file."""
        stream = io.BytesIO()
        np.savez(stream, **vars(self))
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Prints:
        """The inverse of `to_bytes`.

        Raises:
            ValueError: damaged.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as found:
                prints = cls(**{name: found[name] for name in cls.__dataclass_fields__})
        except (KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"damaged: {error!r}") from error
        if len({len(column) for column in vars(prints).values()}) != 1:
            raise ValueError("columns of different length")
        return prints


def prints_of(rows: Readable, progress: Callable[[int], None] | None = None) -> Prints:
    """Read every image once; threads share the work, and few images are in memory at a time.

    Args:
        rows: n images.
        progress: called in this thread with the number of images done.

    Raises:
        UserError: an image cannot be read; it is named.
    """
    pixels = np.empty((len(rows), 32), np.uint8)
    looks = np.empty((len(rows), HASH_SIZE * HASH_SIZE // 64), np.uint64)
    grey, flat = np.empty(len(rows), np.bool_), np.empty(len(rows), np.bool_)

    def work(start: int) -> int:
        stop = min(start + _BLOCK, len(rows))
        for i, image in enumerate(rows.images(start, stop), start):
            pixels[i], looks[i], grey[i], flat[i] = _print(image)
        return stop

    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="audit")
    try:
        for stop in pool.map(work, range(0, len(rows), _BLOCK)):
            if progress is not None:
                progress(stop)
    finally:
        pool.shutdown(cancel_futures=True)
    return Prints(pixels, looks, grey, flat)


def _print(
    image: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64], bool, bool]:
    digest = hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()
    picture = Image.fromarray(image)
    looks = imagehash.phash(picture, hash_size=HASH_SIZE).hash
    flat = all(high - low <= FLAT for low, high in _extrema(picture))
    return (
        np.frombuffer(digest, np.uint8),
        np.packbits(looks.reshape(-1)).view(np.uint64),
        _is_grey(image[::16]) and _is_grey(image),  # a few lines tell most coloured ones
        flat,
    )


def _is_grey(image: npt.NDArray[np.uint8]) -> bool:
    red = image[..., 0]
    return all(np.array_equal(red, image[..., colour]) for colour in (1, 2))


def _extrema(picture: Image.Image) -> Sequence[tuple[int, int]]:
    found: Any = picture.getextrema()
    return found  # type: ignore[no-any-return]


def join(parts: Sequence[Prints]) -> Prints:
    """Several sets one after the other."""
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Prints.__dataclass_fields__
    }
    return Prints(**columns)
