"""Who is who: the identities of a test set's gallery and probe rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.errors import ScoringError


def _as_ids(values: Any, what: str) -> NDArray[Any]:
    ids = np.asarray(values)
    if ids.ndim != 1 or ids.dtype.kind not in "iuU":
        raise ScoringError(
            f"{what}: identities must be a one-dimensional array of integers or strings, "
            f"got {ids.dtype} of shape {ids.shape}"
        )
    if ids.size == 0:
        raise ScoringError(f"{what}: 0 rows")
    return ids


@dataclass(frozen=True, eq=False)
class TrialSet:
    """Identities of the rows of one test set, in the order of its feature files.

    A gallery identity without probes is a distractor; a probe whose identity is not in the gallery
    is an unknown probe. Several gallery rows may share an identity (they are fused), and so may
    several probes (each is a trial; the bootstrap resamples identities).

    Args:
        gallery_ids: ``(G,)`` integers or strings.
        probe_ids: ``(P,)`` of the same kind.
        closed: the set promises a mate for every probe; a probe without one is then an error.
        gallery_images: optional ``(G,)`` content hashes, to find an image on both sides.
        probe_images: optional ``(P,)`` content hashes.

    Raises:
        ScoringError: empty side, mixed kinds, a probe without mate in a closed set, or the same
            image in gallery and probes.
    """

    gallery_ids: NDArray[Any]
    probe_ids: NDArray[Any]
    closed: bool = False
    gallery_images: NDArray[Any] | None = None
    probe_images: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "gallery_ids", _as_ids(self.gallery_ids, "gallery"))
        object.__setattr__(self, "probe_ids", _as_ids(self.probe_ids, "probes"))
        if (self.gallery_ids.dtype.kind == "U") != (self.probe_ids.dtype.kind == "U"):
            raise ScoringError(
                "gallery and probes: identities are strings on one side and integers on the other, "
                "so no probe could have a mate"
            )
        if self.closed and not self.probe_mated.all():
            row = int(np.flatnonzero(~self.probe_mated)[0])
            raise ScoringError(
                f"probes: row {row} (identity {self.probe_ids[row]}) is missing from the gallery, "
                "but the set is declared closed"
            )
        self._check_images()

    def _check_images(self) -> None:
        if self.gallery_images is None or self.probe_images is None:
            return
        for name, images, ids in (
            ("gallery", self.gallery_images, self.gallery_ids),
            ("probes", self.probe_images, self.probe_ids),
        ):
            if np.shape(images) != ids.shape:
                raise ScoringError(
                    f"{name}: {np.shape(images)} image hashes for {ids.size} identities"
                )
        both = np.flatnonzero(np.isin(self.probe_images, self.gallery_images))
        if both.size:
            row = int(both[0])
            same = np.asarray(self.gallery_images) == self.probe_images[row]
            other = int(np.flatnonzero(same)[0])
            raise ScoringError(
                f"probes: row {row} (identity {self.probe_ids[row]}) is the same image as gallery "
                f"row {other} (identity {self.gallery_ids[other]}); {both.size} such probes"
            )

    @cached_property
    def _coded(self) -> tuple[NDArray[Any], NDArray[np.intp]]:
        names, codes = np.unique(self.gallery_ids, return_inverse=True)
        return names, codes.astype(np.intp)

    @property
    def gallery_names(self) -> NDArray[Any]:
        """The distinct gallery identities, sorted, ``(N,)``."""
        return self._coded[0]

    @property
    def gallery_codes(self) -> NDArray[np.intp]:
        """For each gallery row, its identity's place in ``gallery_names``, ``(G,)``."""
        return self._coded[1]

    @cached_property
    def mate_codes(self) -> NDArray[np.intp]:
        """For each probe, its mate's place in ``gallery_names``, or -1, ``(P,)``."""
        place = np.searchsorted(self.gallery_names, self.probe_ids)
        place = np.minimum(place, self.gallery_names.size - 1)
        found = self.gallery_names[place] == self.probe_ids
        return np.where(found, place, -1).astype(np.intp)

    @property
    def probe_mated(self) -> NDArray[np.bool_]:
        """Whether each probe's identity is in the gallery, ``(P,)``."""
        mated: NDArray[np.bool_] = self.mate_codes >= 0
        return mated

    @cached_property
    def probe_codes(self) -> NDArray[np.int64]:
        """For each probe, the number of its identity among the probes' own, ``(P,)``."""
        return np.unique(self.probe_ids, return_inverse=True)[1].astype(np.int64)
