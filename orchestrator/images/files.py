"""Images that lie in files: the user's own aligned faces."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UserError
from orchestrator.images.checking import read
from orchestrator.images.unreadable import Unreadable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from orchestrator.images.decoder import Decoded


@dataclass(frozen=True)
class ImageFile:
    """A file, whom it shows, its part in the test set (gallery, probe, or none), and the sha256
    (hex) of its bytes where it was checked."""

    path: Path
    identity: str
    role: str = ""
    sha256: str = ""


class FileRows:
    """Rows that are read from files. See `orchestrator.images.testset.Rows`.

    Args:
        files: in the order of the rows.
        size: (height, width) that every image must have; None is that of the first.
        notes: what must be said beside figures that were made of them.
    """

    def __init__(
        self,
        files: Sequence[ImageFile],
        size: tuple[int, int] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self.files = tuple(files)
        self.notes = tuple(notes)
        self._size = size

    @property
    def identities(self) -> tuple[str, ...]:
        """Who is shown, row by row."""
        return tuple(item.identity for item in self.files)

    @property
    def names(self) -> tuple[str, ...]:
        """The files."""
        return tuple(str(item.path) for item in self.files)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    @cached_property
    def size(self) -> tuple[int, int]:
        """(height, width) that every image must have: as given, else that of the first image."""
        if self._size is not None:
            return self._size
        height, width = _decoded(self.files[0].path).pixels.shape[:2]
        return height, width

    def images(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.uint8]:
        """Decoded rows `start` to `stop`: uint8 (n, height, width, 3), RGB.

        Raises:
            UserError: a file is missing, no image, or of another size.
        """
        import numpy as np

        part = self.files[start:stop]
        out = np.empty((len(part), *self.size, 3), np.uint8)
        for i, item in enumerate(part):
            pixels = _decoded(item.path).pixels
            if pixels.shape != out.shape[1:]:
                (height, width), (high, wide) = self.size, pixels.shape[:2]
                raise UserError(
                    f"{item.path}: {high} x {wide} pixels (high x wide); "
                    f"{height} x {width} are expected",
                    "Give aligned faces of the size that the model's manifest names; "
                    "farm does not resize, because that changes the figures.",
                )
            out[i] = pixels
        return out

    def beside(self) -> dict[str, bytes]:
        """Nothing."""
        return {}

    def lost(self, images: npt.NDArray[np.uint8]) -> Sequence[int]:
        """None."""
        return ()

    def fingerprint(self) -> str:
        """Hash (hex) of the decoder and of the files' contents, identities and order; where they
        lie is left out.

        Raises:
            UserError: a file that was not checked cannot be read.
        """
        # Late, as below: a plan of rendered faces decodes nothing.
        from orchestrator.images.decoder import decoder_identity

        digest = hashlib.sha256(json.dumps(decoder_identity(), sort_keys=True).encode())
        for item in self.files:
            content = bytes.fromhex(item.sha256) if item.sha256 else _sha256(item.path)
            identity = item.identity.encode("utf-8", "surrogateescape")
            digest.update(len(identity).to_bytes(4, "little") + identity + content)
        return digest.hexdigest()


def _decoded(path: Path) -> Decoded:
    from orchestrator.images.decoder import decode

    try:
        return decode(read(path))
    except Unreadable as error:
        raise UserError(f"{path}: {error}") from None


def _sha256(path: Path) -> bytes:
    try:
        return hashlib.sha256(read(path)).digest()
    except Unreadable as error:
        raise UserError(f"{path}: {error}") from None
