"""Rows of rendered faces.

What makes images unpickles them, in processes of its own: nothing else of farm is loaded for that.
"""

from __future__ import annotations

import hashlib
import json
import struct
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.images.rendered import RENDERER_VERSION

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class RenderedRows:
    """Rows that the renderer makes, with it and numpy loaded only where pixels are made.

    Args:
        ids: identity numbers, int64.
        shot: what tells pictures of one identity apart.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, ids: array[int], shot: int, seed: int, difficulty: float) -> None:
        self._ids, self._shots = ids, array("q", [shot]) * len(ids)
        self._seed, self._difficulty = seed, difficulty

    @property
    def identities(self) -> tuple[str, ...]:
        """Identity numbers as text."""
        return tuple(map(str, self._ids.tolist()))

    @property
    def names(self) -> tuple[str, ...]:
        """Identity and shot."""
        pairs = zip(self._ids.tolist(), self._shots.tolist(), strict=True)
        return tuple(f"rendered {i} shot {s}" for i, s in pairs)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._ids)

    def images(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.uint8]:
        """Rendered rows `start` to `stop`: uint8 (n, 112, 112, 3), RGB."""
        from orchestrator.images.renderer import render

        part = slice(start, stop)
        return render(self._ids[part], self._shots[part], self._seed, self._difficulty)

    def beside(self) -> dict[str, bytes]:
        """Nothing."""
        return {}

    def lost(self, images: npt.NDArray[np.uint8]) -> Sequence[int]:
        """None."""
        return ()

    def fingerprint(self) -> str:
        """Hash (hex) of the numbers and the renderer's version."""
        head = {
            "renderer": RENDERER_VERSION,
            "seed": self._seed,
            "difficulty": float(self._difficulty),
        }
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        for numbers in (self._ids, self._shots):
            digest.update(struct.pack(f"<{len(numbers)}q", *numbers))
        return digest.hexdigest()
