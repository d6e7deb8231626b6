"""Images that lie in files: the user's own aligned faces."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from orchestrator.errors import UserError

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})

_MAX_SIDE = 4096


@dataclass(frozen=True)
class ImageFile:
    """A file, whom it shows, and its part in the test set (gallery, probe, or none)."""

    path: Path
    identity: str
    role: str = ""


class FileRows:
    """Rows that are read from files. See `orchestrator.images.testset.Rows`."""

    def __init__(self, files: Sequence[ImageFile], size: tuple[int, int] | None = None) -> None:
        self._files = tuple(files)
        self._size = size

    @property
    def identities(self) -> tuple[str, ...]:
        """Who is shown, row by row."""
        return tuple(item.identity for item in self._files)

    @property
    def names(self) -> tuple[str, ...]:
        """The files."""
        return tuple(str(item.path) for item in self._files)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._files)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) that every image must have: as given, else that of the first image."""
        if self._size is not None:
            return self._size
        with _opened(self._files[0].path) as image:
            return image.height, image.width

    def images(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.uint8]:
        """Decoded rows `start` to `stop`: uint8 (n, height, width, 3), RGB.

        Raises:
            UserError: a file is missing, no image, or of another size.
        """
        part = self._files[start:stop]
        out = np.empty((len(part), *self.size, 3), np.uint8)
        for i, item in enumerate(part):
            out[i] = self._decode(item.path)
        return out

    def _decode(self, path: Path) -> npt.NDArray[np.uint8]:
        with _opened(path) as image:
            if (image.height, image.width) != self.size:
                height, width = self.size
                raise UserError(
                    f"{path}: {image.height} x {image.width} pixels (high x wide); "
                    f"{height} x {width} are expected",
                    "Give aligned faces of the size that the model's manifest names; "
                    "farm does not resize, because that changes the figures.",
                )
            try:
                return np.asarray(image.convert("RGB"))
            except (OSError, ValueError, SyntaxError) as error:
                _unreadable(path, error)

    def fingerprint(self) -> str:
        """Hash (hex) of the files' contents, identities and order; where they lie is left out.

        Raises:
            UserError: a file cannot be read.
        """
        digest = hashlib.sha256()
        for item in self._files:
            try:
                with item.path.open("rb") as stream:
                    content = hashlib.file_digest(stream, "sha256").digest()
            except OSError as error:
                _unreadable(item.path, error)
            identity = item.identity.encode("utf-8", "surrogateescape")
            digest.update(len(identity).to_bytes(4, "little") + identity + content)
        return digest.hexdigest()


def _opened(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
    except (OSError, UnidentifiedImageError, ValueError, Image.DecompressionBombError) as error:
        _unreadable(path, error)
    if max(image.size) > _MAX_SIDE:
        image.close()
        raise UserError(f"{path}: larger than {_MAX_SIDE} pixels on a side; not an aligned face")
    return image


def _unreadable(path: Path, error: Exception) -> NoReturn:
    if isinstance(error, UnidentifiedImageError):
        raise UserError(f"{path}: not an image that can be read") from None
    what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    raise UserError(f"{path}: cannot be read as an image: {what}") from None
