"""Raw times: what a measurement leaves of each inference."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Int64 = NDArray[np.int64]

TIMES = "times.npz"
"""Their file in the store."""


@dataclass(frozen=True, eq=False, kw_only=True)
class RawTimes:
    """Times of inferences in order, int64 nanoseconds (n,) each; fields in the order of TIMES.

    Attributes:
        begin_ns: when each inference began, since the first block did; never falling.
        pre_ns: preprocessing alone.
        device_ns: inside the native run call.
        end_to_end_ns: from the raw image on the board to the float32 feature there.
        block: the number of the block in which each was timed, int64 (n,).
    """

    begin_ns: Int64
    pre_ns: Int64
    device_ns: Int64
    end_to_end_ns: Int64
    block: Int64

    @classmethod
    def of(cls, device_ns: Int64, end_to_end_ns: Int64) -> RawTimes:
        """Times of which nothing else is known: one block, one inference after the other."""
        nothing = np.zeros(len(device_ns), np.int64)
        return cls(
            begin_ns=np.concatenate([nothing[:1], np.cumsum(end_to_end_ns)[:-1]]),
            pre_ns=nothing,
            device_ns=device_ns,
            end_to_end_ns=end_to_end_ns,
            block=nothing,
        )

    @classmethod
    def joined(cls, parts: Iterable[RawTimes]) -> RawTimes:
        """Times that came one part after the other."""
        blocks = list(parts)
        return cls(
            **{
                name: np.concatenate([getattr(part, name) for part in blocks])
                for name in _FILE_ORDER
            }
        )

    def later(self, by_ns: int, by_blocks: int) -> RawTimes:
        """The same inferences in a measurement that began earlier, with blocks before these."""
        return replace(
            self, begin_ns=self.begin_ns + np.int64(by_ns), block=self.block + np.int64(by_blocks)
        )

    @property
    def post_ns(self) -> Int64:
        """End to end without preprocessing and the native call: copies in and out, dequantizing."""
        rest: Int64 = self.end_to_end_ns - self.pre_ns - self.device_ns
        return np.maximum(rest, np.int64(0), dtype=np.int64)

    @property
    def blocks(self) -> list[Int64]:
        """Positions of each block's inferences."""
        return [np.flatnonzero(self.block == number) for number in np.unique(self.block)]

    @property
    def seconds(self) -> float:
        """How long inferences ran, without the pauses between blocks."""
        return float(self.end_to_end_ns.sum()) / 1e9

    def to_bytes(self) -> bytes:
        """The arrays as an .npz file."""
        buffer = io.BytesIO()
        np.savez(buffer, **{name: getattr(self, name) for name in _FILE_ORDER})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> RawTimes:
        """The inverse of `to_bytes`; the files of earlier recipes have two of the arrays.

        Raises:
            ValueError, KeyError: it is no such file.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            found = {n: np.asarray(file[n], np.int64) for n in _FILE_ORDER if n in file}
        if len(found) == len(_FILE_ORDER):
            return cls(**found)
        return cls.of(found["device_ns"], found["end_to_end_ns"])


# The order in the store's files, whose bytes are their content.
_FILE_ORDER = ("device_ns", "end_to_end_ns", "pre_ns", "begin_ns", "block")
