"""Features: what an encoder made of images, one row an image."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Features:
    """Features of consecutive images of one set: a block on its way from a board, or all of them.

    Attributes:
        rows: float32 (n, dim), one row an image; memory-mapped where the store keeps them so. The
            row of a failed image means nothing: NaN from a board, 0 from the store.
        failed: bool (n,), images without a feature; they count as misses.
        ids: identities, one a row; empty until the rows are read together with their images' list.
        start: position of the first row's image in the set.
        reasons: why each failed image failed, in their order; empty once read from the store.
    """

    rows: NDArray[np.float32]
    failed: NDArray[np.bool_]
    ids: Sequence[str] = ()
    start: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def stop(self) -> int:
        """Position after the last row's image in the set."""
        return self.start + len(self.rows)

    @property
    def failures(self) -> list[tuple[int, str]]:
        """Position in the set of each failed image, and why, as far as `reasons` tells."""
        positions = (self.start + np.flatnonzero(self.failed)).tolist()
        return list(zip(positions, self.reasons, strict=False))

    def moved(self, by: int) -> Features:
        """The same rows, numbered in a set that has `by` images before this one."""
        return replace(self, start=self.start + by)

    @classmethod
    def joined(cls, blocks: Iterable[Features]) -> Features:
        """Consecutive blocks, in any order, as one.

        Raises:
            ValueError: there are none, or they leave a gap.
        """
        parts = sorted(blocks, key=lambda block: block.start)
        if len(parts) == 1:
            return parts[0]
        if not parts or any(a.stop != b.start for a, b in itertools.pairwise(parts)):
            spans = [(part.start, part.stop) for part in parts]
            raise ValueError(f"blocks of features that do not follow each other: {spans}")
        return cls(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.failed for part in parts]),
            ids=tuple(name for part in parts for name in part.ids),
            start=parts[0].start,
            reasons=tuple(reason for part in parts for reason in part.reasons),
        )
