"""Random numbers from a counter: the same on every machine and with every version of numpy.

The mixing function is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(seed: int, stream: int, a: npt.ArrayLike, b: npt.ArrayLike, count: int) -> Floats:
    """Uniform numbers in (0, 1), float64 (len(a), count), for the pairs of `a` and `b`."""
    with np.errstate(over="ignore"):
        start = np.asarray(np.uint64(seed) * _GOLDEN + np.uint64(stream))
        key = _mix(start)
        key = _mix(key + np.asarray(a, np.uint64) * np.uint64(0xD1342543DE82EF95))
        key = _mix(key + np.asarray(b, np.uint64) * np.uint64(0x2545F4914F6CDD1D))
        counter = (np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN)[None]
        bits = _mix(key[:, None] + counter) >> np.uint64(11)
        return (bits.astype(np.float64) + 0.5) / 2.0**53


def normal(u: Floats) -> Floats:
    """Standard normal numbers from uniform ones, cut at 3.5.

    A power-law approximation of the quantile function; its error is below 0.02 up to 3 sigma.
    """
    size = np.abs((u**0.135 - (1 - u) ** 0.135) / 0.1975)
    cut: Floats = np.clip(np.sign(u - 0.5) * size, -3.5, 3.5)
    return cut
