"""Pairs of hashes that differ in few bits, every one of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

NEAR_BITS = 20
"""Of 256 bits. A JPEG of quality 75 or a copy at half the scale stays below; of 64 million pairs
of different rendered faces none did, and the closest photographs of different faces differed
in 78."""

MOST_PAIRS = 200_000


def near_pairs(
    hashes: npt.NDArray[np.uint64], bits: int = NEAR_BITS, most: int = MOST_PAIRS
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.int64], bool]:
    """Every pair whose hashes differ in at most `bits`.

    All pairs are compared: 64 bits of each, then the rest where these differ little. Faces that are
    aligned alike share many bits of a hash, so the 64 are those that tell most apart.

    Args:
        hashes: uint64 (n, words).
        bits: how many may differ.
        most: stop after about so many pairs.

    Returns:
        Pairs (m, 2) with the smaller index first, in ascending order; how many bits differ, (m,);
        and whether these are all.
    """
    column = np.ascontiguousarray(hashes[:, _most_different_word(hashes)])
    firsts: list[npt.NDArray[np.intp]] = []
    seconds: list[npt.NDArray[np.intp]] = []
    counts: list[npt.NDArray[np.int64]] = []
    found, whole = 0, True
    for i in range(len(hashes) - 1):
        if found >= most:
            whole = False
            break
        others = np.flatnonzero(np.bitwise_count(column[i + 1 :] ^ column[i]) <= bits)
        if not others.size:
            continue
        others += i + 1
        differ = np.bitwise_count(hashes[others] ^ hashes[i]).sum(axis=1, dtype=np.int64)
        near = differ <= bits
        if near.any():
            seconds.append(others[near])
            firsts.append(np.full(seconds[-1].size, i, np.intp))
            counts.append(differ[near])
            found += seconds[-1].size
    if not firsts:
        return np.empty((0, 2), np.intp), np.empty(0, np.int64), whole
    pairs = np.stack([np.concatenate(firsts), np.concatenate(seconds)], axis=1)
    return pairs, np.concatenate(counts), whole


def _most_different_word(hashes: npt.NDArray[np.uint64]) -> int:
    """The word in which hashes differ most, of a sample of neighbours and far ones."""
    step = max(1, len(hashes) // 512)
    some = hashes[::step]
    differ = np.bitwise_count(some ^ np.roll(some, len(some) // 2, axis=0))
    return int(differ.mean(axis=0, dtype=np.float64).argmax()) if len(some) else 0
