"""Photos of any size, each of one person: what a detector is shown before a face is recognized."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from orchestrator.detection import letterbox
from orchestrator.errors import UserError
from orchestrator.images.checking import read
from orchestrator.images.decoder import decode
from orchestrator.images.files import FileRows, ImageFile
from orchestrator.images.rendered import RENDERER_VERSION
from orchestrator.images.scenes import SCENES_VERSION, portrait
from orchestrator.images.unreadable import Unreadable

LETTERBOX = 1
"""Raised whenever the same picture would give other pixels of the input's size."""

Pixels = npt.NDArray[np.uint8]
Size = tuple[int, int]


class Photos(Protocol):
    """Photos in the order of their rows. Instances can be pickled and are never changed."""

    @property
    def identities(self) -> tuple[str, ...]:
        """Who is shown, row by row."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What to call each photo in a message."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said beside figures that come from them."""
        ...

    @property
    def size(self) -> Size | None:
        """(height, width) of all photos, where it is known without reading them."""
        ...

    def __len__(self) -> int:
        """Number of photos."""
        ...

    def photo(self, number: int) -> Pixels:
        """Photo `number` (from 0): uint8 (height, width, 3), RGB, of its own size.

        Raises:
            UserError: a file is missing or no image.
        """
        ...

    def fingerprint(self) -> str:
        """Hash (hex) of what decides pixels, order and identities."""
        ...


class FilePhotos:
    """Photos that lie in files.

    Args:
        files: in the order of their rows.
        notes: what must be said beside figures that come from them.
    """

    size = None

    def __init__(self, files: Sequence[ImageFile], notes: Sequence[str] = ()) -> None:
        self._rows = FileRows(files, None, notes)

    @property
    def identities(self) -> tuple[str, ...]:
        """Who is shown, row by row."""
        return self._rows.identities

    @property
    def names(self) -> tuple[str, ...]:
        """The files."""
        return self._rows.names

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Photos`."""
        return self._rows.notes

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._rows)

    def photo(self, number: int) -> Pixels:
        """See `Photos`."""
        path = self._rows.files[number].path
        try:
            return decode(read(path)).pixels
        except Unreadable as error:
            raise UserError(f"{path}: {error}") from None

    def fingerprint(self) -> str:
        """Hash (hex) of the files' contents, their identities and order, and the decoder."""
        return self._rows.fingerprint()


class RenderedPhotos:
    """Rendered photos, one face each.

    Args:
        ids, shots: the renderer's numbers, int64 (n,).
        size: [height, width] of the photos in pixels.
        seed, difficulty: as of rendered scenes.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        ids: npt.NDArray[np.int64],
        shots: npt.NDArray[np.int64],
        size: Size,
        seed: int,
        difficulty: float,
    ) -> None:
        self._ids, self._shots = ids, shots
        self.size, self._seed, self._difficulty = size, seed, difficulty

    @property
    def identities(self) -> tuple[str, ...]:
        """Identity numbers as text."""
        return tuple(map(str, self._ids.tolist()))

    @property
    def names(self) -> tuple[str, ...]:
        """Identity and shot."""
        pairs = zip(self._ids.tolist(), self._shots.tolist(), strict=True)
        return tuple(f"rendered photo {i} shot {s}" for i, s in pairs)

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._ids)

    def photo(self, number: int) -> Pixels:
        """See `Photos`."""
        who, shot = int(self._ids[number]), int(self._shots[number])
        return portrait(self._seed, who, shot, self.size, self._difficulty)

    def fingerprint(self) -> str:
        """Hash (hex) of the numbers and of both renderers' versions."""
        head = {
            "scenes": SCENES_VERSION,
            "faces": RENDERER_VERSION,
            "size": list(self.size),
            "seed": self._seed,
            "difficulty": float(self._difficulty),
        }
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        digest.update(self._ids.astype("<i8").tobytes())
        digest.update(self._shots.astype("<i8").tobytes())
        return digest.hexdigest()


class PhotoRows:
    """Rows that come from photos, one each; see `orchestrator.images.testset.Rows`.

    Args:
        photos: in the order of the rows.
    """

    def __init__(self, photos: Photos) -> None:
        self.photos = photos

    @property
    def identities(self) -> tuple[str, ...]:
        """Who is shown, row by row."""
        return self.photos.identities

    @property
    def names(self) -> tuple[str, ...]:
        """The photos."""
        return self.photos.names

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said beside figures that come from them."""
        return self.photos.notes

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.photos)

    def beside(self) -> dict[str, bytes]:
        """Nothing."""
        return {}


class LetterboxedRows(PhotoRows):
    """Photos as a detector takes them.

    Args:
        photos: of any size.
        size: height, width of the detector's input.
    """

    def __init__(self, photos: Photos, size: Size) -> None:
        super().__init__(photos)
        self._size = size

    @property
    def whole(self) -> bool:
        """Whether the images are the photos themselves, to the pixel."""
        return self.photos.size == self._size

    def images(self, start: int = 0, stop: int | None = None) -> Pixels:
        """Photos `start` to `stop` (exclusive), letterboxed: uint8 (n, height, width, 3), RGB.

        Raises:
            UserError: a file is missing or no image.
        """
        numbers = range(len(self.photos))[start:stop]
        out = np.zeros((len(numbers), *self._size, 3), np.uint8)
        for place, number in enumerate(numbers):
            out[place] = letterbox(self.photos.photo(number), self._size)
        return out

    def lost(self, images: Pixels) -> Sequence[int]:
        """None: every photo is shown to the detector."""
        return ()

    def fingerprint(self) -> str:
        """Hash (hex) of the photos and the input's size."""
        about = (self.photos.fingerprint(), self._size, LETTERBOX)
        return hashlib.sha256(repr(about).encode()).hexdigest()
