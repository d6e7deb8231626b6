"""The largest of billions of pair scores, kept while they stream past: exact, without a sort.

Scores above the running threshold are appended to a buffer; a full buffer is cut back to its
``keep`` largest by ``np.partition``, whose smallest is the new threshold. A threshold that one
worker has proved (it has seen ``keep`` scores at or above it) is valid for all, so it is shared.
After the warm-up about ``keep * (1 + ln(n / keep))`` scores pass, so few cuts are needed. A floor
guessed from a sample (``guessed_floor``) spares the warm-up too; it is proved afterwards by there
being ``keep`` scores at or above it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.errors import ScoringError
from orchestrator.scoring.exact import Float32

KEEP_LIMIT = 30_000_000
"""Most scores kept by one collector: a buffer of twice as many is 240 MB."""


class SharedFloor:
    """The highest threshold that any worker has proved."""

    def __init__(self, guess: np.float32 | None = None) -> None:
        # Own pairs are -inf and never pass.
        self.value = np.float32(-np.finfo(np.float32).max) if guess is None else guess

    def raise_to(self, value: np.float32) -> None:
        """Racing writers may lose an update; a lower threshold is slower, never wrong."""
        if value > self.value:
            self.value = value


def guessed_floor(sample: Float32, share: float) -> np.float32 | None:
    """A score that a little more than ``share`` of all pairs should reach; None when too uncertain.

    Half as many again, and six standard deviations more, since pairs of one probe go together.

    Args:
        sample: scores of random pairs, flat; own pairs at -inf.
        share: of all pairs that are to be kept.
    """
    expected = share * sample.size
    rank = math.ceil(1.5 * expected + 6 * math.sqrt(expected) + 50)
    if rank > sample.size // 8:
        return None
    return np.float32(np.partition(sample, sample.size - rank)[sample.size - rank])


def check_keep(keep: int) -> None:
    """Refuse to keep so many scores that memory would not hold them.

    Raises:
        ScoringError: ``keep`` is beyond ``KEEP_LIMIT``.
    """
    if keep > KEEP_LIMIT:
        raise ScoringError(
            f"the all-pairs FAR asked for needs the {keep:,} largest scores; "
            f"at most {KEEP_LIMIT:,} are kept: ask for a smaller FAR"
        )


class TopPairs:
    """One worker's collector of the ``keep`` largest scores."""

    def __init__(self, keep: int, floor: SharedFloor, tile_scores: int) -> None:
        self._keep = keep
        self._floor = floor
        self._room = 2 * keep + tile_scores
        self._values = np.empty(self._room, np.float32)
        self._used = 0

    def add(self, scores: Float32, starts: NDArray[np.intp] | None) -> None:
        """Take the scores of a tile; with ``starts``, the best of each identity's columns."""
        if starts is not None:
            scores = np.maximum.reduceat(scores, starts, axis=1)
        passed = scores[scores >= self._floor.value]
        if self._used + passed.size > self._room:
            self._cut()
            passed = passed[passed >= self._floor.value]
        self._values[self._used : self._used + passed.size] = passed
        self._used += passed.size
        if self._used > 2 * self._keep:
            self._cut()

    def _cut(self) -> None:
        if self._used <= self._keep:
            return
        used = self._values[: self._used]
        used.partition(self._used - self._keep)
        self._values[: self._keep] = used[self._used - self._keep :]
        self._used = self._keep
        self._floor.raise_to(np.float32(self._values[: self._keep].min()))

    def values(self) -> Float32:
        """What is kept, in no order; holds every score among the ``keep`` largest of all."""
        self._cut()
        return self._values[: self._used]


def largest(parts: list[Float32], keep: int) -> Float32:
    """The ``keep`` largest scores of all parts, largest first."""
    together = np.concatenate(parts)
    if together.size > keep:
        together.partition(together.size - keep)
        together = together[together.size - keep :].copy()
    together.sort()
    return together[::-1]
