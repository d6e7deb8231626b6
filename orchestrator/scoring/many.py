"""More than one search: galleries cut over machines, and every gallery against every probe set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.errors import ScoringError
from orchestrator.scoring.exact import Float32
from orchestrator.scoring.searches import Searches
from orchestrator.scoring.searching import search
from orchestrator.scoring.trials import TrialSet


def cut_gallery(trials: TrialSet, shards: int) -> list[NDArray[np.intp]]:
    """Gallery rows of each shard, ascending; all images of an identity stay together.

    Args:
        trials: the test set.
        shards: at least 1; fewer come back when there are fewer identities.
    """
    if shards < 1:
        raise ScoringError(f"a gallery is cut into at least 1 shard, got {shards}")
    edges = np.linspace(0, trials.gallery_names.size, shards + 1).astype(np.intp)
    codes = trials.gallery_codes
    cuts = [
        np.flatnonzero((codes >= low) & (codes < high))
        for low, high in pairwise(edges)
        if high > low
    ]
    return [cut.astype(np.intp) for cut in cuts]


def search_shard(
    gallery: Float32,
    probes: Float32,
    trials: TrialSet,
    rows: NDArray[np.intp],
    *,
    failed_gallery: NDArray[np.bool_] | None = None,
    known_mate: Float32 | None = None,
    **options: Any,
) -> Searches | None:
    """Search one shard, wherever it lies; ``merge_shards`` puts the parts together.

    Args:
        gallery: the shard's own features, float32 ``(len(rows), D)``.
        probes: all probes, float32 ``(P, D)``.
        trials: the whole test set.
        rows: the shard's rows in the whole gallery, from ``cut_gallery``.
        failed_gallery: failed rows of the shard, bool ``(len(rows),)``.
        known_mate: mate scores in the whole gallery, from ``mates``; with them each shard counts
            its part of the ranks.
        options: of ``search``, but ``tar_pairs_far``, which needs the whole gallery.

    Returns:
        None when every image of the shard failed.

    Raises:
        ScoringError: unusable input; row numbers are those within the shard.
    """
    refused = sorted({"ranks", "tar_pairs_far"} & options.keys())
    if refused:
        raise ScoringError(f"{', '.join(refused)}: a shard does not know the other shards' scores")
    ranks = known_mate is not None
    if failed_gallery is not None and failed_gallery.all():
        return None
    part = TrialSet(trials.gallery_ids[rows], trials.probe_ids)
    return search(
        gallery,
        probes,
        part,
        failed_gallery=failed_gallery,
        ranks=ranks,
        known_mate=known_mate,
        **options,
    )


def merge_shards(trials: TrialSet, parts: Sequence[Searches | None]) -> Searches:
    """The searches of the whole gallery, equal to the bit to those of one ``search``.

    Args:
        trials: the whole test set.
        parts: one for each of ``cut_gallery``'s shards.

    Raises:
        ScoringError: no usable shard, or shards of different probes.
    """
    found = [part for part in parts if part is not None]
    if not found:
        raise ScoringError("gallery: all images of all shards failed")
    size = trials.probe_ids.size
    if any(part.mate.size != size or (part.failed != found[0].failed).any() for part in found):
        raise ScoringError("the shards were searched with different probes")
    used = sum(part.gallery_size - part.gallery_failed for part in found)
    names = int(trials.gallery_names.size)
    counted = [part.rank for part in found if part.rank is not None]
    rank = None
    if len(counted) == len(found):
        # Each shard counts from 1; a probe without mate score has rank 0 in all of them.
        rank = np.add.reduce(counted) - (len(counted) - 1) * (counted[0] > 0)
    return replace(
        found[0],
        rank=rank,
        mate=np.fmax.reduce([part.mate for part in found]),
        impostor=np.maximum.reduce([part.impostor for part in found]),
        mated=trials.probe_mated,
        gallery_size=names,
        gallery_failed=names - used,
    )


def join_probes(trials: TrialSet, parts: Sequence[Searches]) -> Searches:
    """The searches of all probes from those of consecutive blocks of them, in order.

    Args:
        trials: the whole test set.
        parts: of one gallery, searched by the same method.

    Raises:
        ScoringError: not as many probes as the test set has.
    """
    size = sum(part.mate.size for part in parts)
    if size != trials.probe_ids.size:
        raise ScoringError(f"{size} searches for {trials.probe_ids.size} probes")
    ranks = [part.rank for part in parts if part.rank is not None]
    return replace(
        parts[0],
        mate=np.concatenate([part.mate for part in parts]),
        impostor=np.concatenate([part.impostor for part in parts]),
        failed=np.concatenate([part.failed for part in parts]),
        rank=np.concatenate(ranks) if len(ranks) == len(parts) else None,
        mated=trials.probe_mated,
        identity=trials.probe_codes,
    )


@dataclass(frozen=True, eq=False)
class EncoderFeatures:
    """What one encoder made of a test set.

    Attributes:
        space: name of the embedding space (the model and its preprocessing, hashed): features of
            different spaces cannot be compared.
        gallery: float32 ``(G, D)``; None when this encoder enrolled nobody.
        probes: float32 ``(P, D)``; None when nobody was searched for with it.
        failed_gallery: bool ``(G,)`` or None.
        failed_probes: bool ``(P,)`` or None.
    """

    space: str
    gallery: Float32 | None
    probes: Float32 | None
    failed_gallery: NDArray[np.bool_] | None = None
    failed_probes: NDArray[np.bool_] | None = None


def cross(
    encoders: Mapping[str, EncoderFeatures], trials: TrialSet, **options: Any
) -> dict[tuple[str, str], Searches]:
    """Every encoder's gallery searched with every encoder's probes (mixed mode and plain).

    Args:
        encoders: by name.
        trials: the test set that all of them saw.
        options: of ``search``.

    Returns:
        Searches by ``(gallery encoder, probe encoder)``; pairs of different spaces are left out.
    """
    found = {}
    for one, enrolled in encoders.items():
        for other, searched in encoders.items():
            if enrolled.gallery is None or searched.probes is None:
                continue
            if enrolled.space == searched.space:
                found[one, other] = search(
                    enrolled.gallery,
                    searched.probes,
                    trials,
                    failed_gallery=enrolled.failed_gallery,
                    failed_probes=searched.failed_probes,
                    **options,
                )
    return found
