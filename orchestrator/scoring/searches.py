"""What a search leaves behind: two scores a probe, enough for every metric, interval and test."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.errors import ScoringError
from orchestrator.scoring.exact import Float32

FORMAT = 1


@dataclass(frozen=True)
class PairThreshold:
    """Threshold of one all-pairs FAR target (definition ``tar_pairs``).

    Attributes:
        far_target: false accepts allowed per impostor pair.
        trials: impostor pairs.
        k: false accepts allowed, ``floor(far_target * trials + 1e-9)``.
        false_accepts: pairs accepted at ``threshold``.
        threshold: accept iff score >= threshold.
    """

    far_target: float
    trials: int
    k: int
    false_accepts: int
    threshold: float


@dataclass(frozen=True, eq=False)
class Searches:
    """Every probe's search of one gallery.

    Attributes:
        mate: score of the probe's own identity, float32 ``(P,)``; NaN for an unknown probe, a
            failed probe, or a mate all of whose gallery images failed.
        impostor: best score of any other identity, float32 ``(P,)``; NaN for a failed probe, -inf
            when the gallery holds nobody else.
        mated: whether the probe's identity is in the gallery list, bool ``(P,)``.
        failed: whether the probe's image failed, bool ``(P,)``.
        identity: number of the probe's identity, int64 ``(P,)``, for resampling.
        rank: place of the mate among all identities, ties against it, int64 ``(P,)``, 0 where
            there is no mate score; None when ranks were not asked for.
        gallery_size: identities in the gallery list (N).
        gallery_failed: identities without a usable image.
        pairs: all-pairs thresholds, when asked for.
        fusion: how several images of an identity were joined.
        method: what ruled pairs out, ``float32`` or ``int8``: for the record; the scores are equal.
    """

    mate: Float32
    impostor: Float32
    mated: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    identity: NDArray[np.int64]
    rank: NDArray[np.int64] | None
    gallery_size: int
    gallery_failed: int = 0
    pairs: tuple[PairThreshold, ...] = ()
    fusion: str = "mean"
    method: str = "float32"

    @property
    def hit(self) -> NDArray[np.bool_]:
        """Whether the mate is alone at rank 1, bool ``(P,)``; a failed image never is."""
        result: NDArray[np.bool_] = self.mated & (self.mate > self.impostor)
        return result

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an uncompressed npz, atomically."""
        head = {
            "format": FORMAT,
            "gallery_size": self.gallery_size,
            "gallery_failed": self.gallery_failed,
            "fusion": self.fusion,
            "method": self.method,
            "pairs": [vars(pair) for pair in self.pairs],
        }
        arrays: dict[str, NDArray[Any]] = {
            name: getattr(self, name)
            for name in ("mate", "impostor", "mated", "failed", "identity", "rank")
            if getattr(self, name) is not None
        }
        arrays["head"] = np.array(json.dumps(head, sort_keys=True))
        target = Path(path)
        partial = target.with_name(target.name + f".{os.getpid()}.tmp")
        try:
            with partial.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Searches:
        """Read what ``save`` wrote.

        Raises:
            ScoringError: the file is none of these, or of another format version.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                head = json.loads(str(file["head"]))
                if head.pop("format") != FORMAT:
                    raise ScoringError(f"{path}: searches of another format version")
                arrays = {name: file[name] for name in file.files if name != "head"}
            pairs = tuple(PairThreshold(**pair) for pair in head.pop("pairs"))
            return cls(**{"rank": None, **arrays, **head, "pairs": pairs})
        except OSError:
            raise
        except ScoringError:
            raise
        except Exception as error:  # npz and JSON fail in many ways on a damaged file
            raise ScoringError(f"{path}: not a file of saved searches ({error})") from error
