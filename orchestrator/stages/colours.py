"""Whether a test set's images fit a model better with red and blue exchanged.

OpenCV reads and writes BGR: images that were saved without turning them look wrong to everybody,
but a program that never shows them does not notice, and the figures are merely worse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from orchestrator.calibration.preprocess import preprocess
from orchestrator.results import AuditFinding
from orchestrator.specs.model import ModelSpec
from orchestrator.stages.variants import FEW, Embed, embedder, judge

VERSION = 1
"""Counted up when a finding changes; part of the key under which it is kept."""

MOST = 32
"""Identities that are looked at, with one gallery and one probe image each."""

CLEAR = 0.1
"""By how much of its separation the other order must be better, at the least."""

_TAIL = 0.0005  # three other orders are compared
_RESAMPLES = 8000


Side = Literal["", "all", "gallery", "probe"]

_Features = dict[tuple[str, bool], NDArray[np.float64]]
"""(gallery or probe, whether red and blue were exchanged) to (identities, dimensions)."""


@dataclass(frozen=True)
class Colours:
    """How the images fit as they are, and with red and blue exchanged.

    Attributes:
        identities: how many this rests on.
        exchanged: the side whose red and blue seem to be exchanged; empty when nothing is clear.
        rank1: (as they are, with that side exchanged), fractions.
        separation: the same of own scores above strangers', in strangers' standard deviations.
    """

    identities: int
    exchanged: Side
    rank1: tuple[float, float]
    separation: tuple[float, float]


def chosen_rows(
    gallery: Sequence[str], probes: Sequence[str], most: int = MOST
) -> tuple[list[int], list[int]]:
    """Rows of gallery and probes of up to `most` identities that have both, spread over all."""
    enrolled: dict[str, int] = {}
    for row, name in enumerate(gallery):
        enrolled.setdefault(name, row)
    searched: dict[str, int] = {}
    for row, name in enumerate(probes):
        if name in enrolled:
            searched.setdefault(name, row)
    names = list(searched)
    places = np.unique(np.linspace(0, len(names) - 1, min(most, len(names))).astype(int))
    some = [names[place] for place in places.tolist()] if names else []
    return [enrolled[name] for name in some], [searched[name] for name in some]


class Faces(Protocol):
    """Images of people; `orchestrator.images.Rows` is one."""

    @property
    def identities(self) -> Sequence[str]:
        """One a row."""

    def images(self, start: int, stop: int) -> NDArray[np.uint8]:
        """uint8 (stop - start, height, width, 3), RGB."""


def colour_finding(
    model: ModelSpec, data: bytes, gallery: Faces, probes: Faces
) -> list[AuditFinding]:
    """What the float32 model says of the images' colour order; empty when nothing is clear.

    Args:
        model: its manifest.
        data: the model in the normal form.
        gallery, probes: of the size that it wants; the same object when images have no role, of
            which the first of each identity is enrolled and the second searched for.
    """
    identities = gallery.identities
    if probes is gallery:
        seen: dict[str, int] = {}
        order = [seen.setdefault(name, row) == row for row, name in enumerate(identities)]
        sides = (np.flatnonzero(order).tolist(), np.flatnonzero(~np.array(order, bool)).tolist())
    else:
        sides = (list(range(len(identities))), list(range(len(probes.identities))))
    enrolled, searched = chosen_rows(
        [identities[row] for row in sides[0]], [probes.identities[row] for row in sides[1]]
    )
    if len(enrolled) < FEW:
        return []
    asks = model.input
    found = compare_colours(
        embedder(data),
        _read(gallery, [sides[0][row] for row in enrolled]),
        _read(probes, [sides[1][row] for row in searched]),
        colour=asks.colour,
        mean=asks.mean,
        std=asks.std,
    )
    if found is None or not found.exchanged:
        return []
    whose = {"all": "the images", "gallery": "the gallery's images", "probe": "the probes"}
    before, after = found.rank1
    return [
        AuditFinding(
            kind="colour-order",
            severity="warning",
            count=found.identities,
            sentence=f"{model.name} fits {whose[found.exchanged]} better with red and blue "
            f"exchanged: Rank-1 among {found.identities} identities {100 * before:.1f} % as they "
            f"are, {100 * after:.1f} % exchanged, separation {found.separation[0]:.2f} and "
            f"{found.separation[1]:.2f}; were they saved as BGR (OpenCV's order), or is colour: "
            "of the manifest wrong? Nothing is exchanged by itself",
        )
    ]


def _read(faces: Faces, rows: Sequence[int]) -> NDArray[np.uint8]:
    return np.concatenate([faces.images(row, row + 1) for row in rows])


def compare_colours(
    embed: Embed,
    gallery: NDArray[np.uint8],
    probes: NDArray[np.uint8],
    *,
    colour: Literal["RGB", "BGR"],
    mean: Sequence[float],
    std: Sequence[float],
    progress: Callable[[int, int], None] | None = None,
) -> Colours | None:
    """Embed the images in both orders and compare.

    Args:
        embed: the float32 model, from `variants.embedder`.
        gallery, probes: uint8 (n, height, width, 3), RGB; row i of both shows the same identity.
        colour, mean, std: of the model's manifest.
        progress: called with (images embedded, images in all).

    Returns:
        None with fewer than eight identities whose features are finite, of which nothing can be
        said.
    """
    if len(gallery) < FEW:
        return None
    done, total = 0, 4 * len(gallery)

    def embedded(image: NDArray[np.uint8], exchanged: bool) -> NDArray[np.float32]:
        nonlocal done
        turned = image[..., ::-1] if exchanged else image
        found = embed(preprocess(turned[None], colour_order=colour, mean=mean, std=std))
        done += 1
        if progress is not None:
            progress(done, total)
        return found

    features: _Features = {}
    for exchanged in (False, True):
        for side, images in (("gallery", gallery), ("probe", probes)):
            embeddings = [embedded(image, exchanged) for image in images]
            features[side, exchanged] = np.stack(embeddings).astype(np.float64)
    finite = np.logical_and.reduce([np.isfinite(f).all(axis=1) for f in features.values()])
    if int(finite.sum()) < FEW:
        return None
    return _judged({which: found[finite] for which, found in features.items()})


def _judged(features: _Features) -> Colours:
    """What features that are finite say, each image's with its red and blue as they are and not."""
    count = len(features["gallery", False])
    judged: dict[Side, tuple[NDArray[np.bool_], NDArray[np.float64]]] = {
        which: judge(
            features["gallery", which in ("all", "gallery")],
            features["probe", which in ("all", "probe")],
            np.arange(count),
        )
        for which in _SIDES
    }
    (hits, scores), others = judged[""], _SIDES[1:]
    best = max(others, key=lambda which: float(judged[which][1].mean()))
    best_hits, best_scores = judged[best]
    clear = _clearly(scores, best_scores) and best_hits.sum() >= hits.sum()
    return Colours(
        count,
        best if clear else "",
        (float(hits.mean()), float(best_hits.mean())),
        (float(scores.mean()), float(best_scores.mean())),
    )


_SIDES: tuple[Side, ...] = ("", "all", "gallery", "probe")


def _clearly(scores: NDArray[np.float64], others: NDArray[np.float64]) -> bool:
    """Whether the others are ahead by more than chance, and by enough to matter."""
    ahead = others - scores
    if not np.isfinite(ahead).all() or others.mean() <= 0:
        return False
    draws = np.random.default_rng(0).integers(0, len(ahead), (_RESAMPLES, len(ahead)))
    least = float(np.quantile(ahead[draws].mean(axis=1), _TAIL))
    return least > 0 and float(ahead.mean()) > CLEAR * float(others.mean())
