"""Which preprocessing a model was trained with, found on a few faces: colour order, mean, std.

Each variant embeds the same faces. The right one tells people apart best: judged by its separation,
how far a face's own identity scores above strangers, in standard deviations of strangers' scores.
A variant counts as worse only when a paired bootstrap over identities says so; whatever is left
beside the best is undecided, unless it feeds the model the same up to 1 % (127.5 and 128).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.calibration.preprocess import preprocess
from orchestrator.errors import UserError

Colour = Literal["RGB", "BGR"]
Layout = Literal["NCHW", "NHWC"]
Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (123.675, 116.28, 103.53)
IMAGENET_STD: Triple = (58.395, 57.12, 57.375)
SCALINGS: dict[str, tuple[Triple, Triple]] = {
    "(x - 127.5) / 127.5": ((127.5,) * 3, (127.5,) * 3),
    "(x - 127.5) / 128": ((127.5,) * 3, (128.0,) * 3),
    "x / 255": ((0.0,) * 3, (255.0,) * 3),
    "ImageNet": (IMAGENET_MEAN, IMAGENET_STD),
    "x (0 to 255)": ((0.0,) * 3, (1.0,) * 3),
}
RESAMPLES = 2000
FEW = 8
"""With fewer identities nothing is decided: chance alone sets one variant apart."""

NIL = 0.02
"""Share of the best separation that makes no difference to anybody, however sure it is."""


@dataclass(frozen=True)
class Variant:
    """A way to feed a model. `mean` and `std` are in the order of `colour`."""

    colour: Colour
    scaling: str
    mean: Triple
    std: Triple

    @property
    def name(self) -> str:
        """For a table."""
        return f"{self.colour} {self.scaling}"


def variants() -> list[Variant]:
    """All that are compared, the commonest first."""
    variants_found = []
    for (scaling, (mean, std)), colour in product(SCALINGS.items(), ("RGB", "BGR")):
        turned = colour == "BGR"
        variants_found.append(
            Variant(
                "BGR" if turned else "RGB",
                scaling,
                (mean[2], mean[1], mean[0]) if turned else mean,
                (std[2], std[1], std[0]) if turned else std,
            )
        )
    return variants_found


@dataclass(frozen=True)
class Judged:
    """How a variant did.

    Attributes:
        rank1: share of probes whose identity scores above everyone else; ties lose.
        separation: mean over the probes of (own score - mean of strangers') / their deviation.
        behind: how far its separation is below the best one's; `low` and `high`: interval, 95 %
            over all variants together (Bonferroni).
        as_good: not significantly worse than the best one.
    """

    variant: Variant
    rank1: float
    separation: float
    behind: float
    low: float
    high: float
    as_good: bool


@dataclass(frozen=True)
class Verdict:
    """All variants, the best one first.

    Attributes:
        decided: nothing else is as good as the best, or only what differs by under 1 % in scale.
        identities, probes: how many faces this rests on.
    """

    ranking: tuple[Judged, ...]
    decided: bool
    identities: int
    probes: int

    @property
    def best(self) -> Judged:
        """The one to take."""
        return self.ranking[0]


Embed = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def inside_variants(mean: Triple, std: Triple) -> list[Variant]:
    """What is left to compare of a model that normalizes pixels itself: the colours' order."""
    return [Variant("RGB", "in the graph", mean, std), Variant("BGR", "in the graph", mean, std)]


def embedder(model: bytes) -> Embed:
    """A function from the model's input (one image, with its batch axis) to its embedding.

    Args:
        model: an ONNX file in the normal form.

    Raises:
        ToolchainError: onnxruntime cannot load it.
    """
    from orchestrator.graphs.sessions import faithful_session

    runs = faithful_session(model)
    name, output = runs.get_inputs()[0].name, runs.get_outputs()[0].name

    def embed(image: NDArray[np.float32]) -> NDArray[np.float32]:
        embedding: NDArray[np.float32] = np.asarray(
            runs.run([output], {name: image})[0], np.float32
        )
        return embedding.reshape(-1)

    return embed


def compare_variants(
    embed: Embed,
    images: NDArray[np.uint8],
    ids: Sequence[str],
    layout: Layout,
    progress: Callable[[int, int], None] | None = None,
    among: Sequence[Variant] | None = None,
) -> Verdict:
    """Embed the faces in every variant and rank the variants.

    Args:
        embed: the model, from `embedder`.
        images: uint8 (n, height, width, 3), RGB.
        ids: who each shows; the first image of each is enrolled, the others are searched for.
        layout: of the model's input.
        progress: called with (images embedded, images in all).
        among: the variants to compare; None for all usual ones.

    Raises:
        UserError: fewer than two identities with two images each.
    """
    rows, place = np.unique(np.array(ids), return_index=True)
    probe = np.setdiff1d(np.arange(len(ids)), place)
    owner = np.searchsorted(rows, np.array(ids)[probe])
    if rows.size < 2 or np.unique(owner).size < 2:
        raise UserError(
            f"{len(ids)} faces of {rows.size} identities: at least two identities with two images "
            "each are needed to compare",
            "give a folder of <identity>/<image>, or leave --images out to draw faces",
        )
    chosen = variants() if among is None else list(among)
    total = len(ids) * len(chosen)
    hits, scores = [], []
    for number, variant in enumerate(chosen):
        embeddings = []
        for index, image in enumerate(images):
            fed = preprocess(
                image[None],
                layout=layout,
                colour_order=variant.colour,
                mean=variant.mean,
                std=variant.std,
            )
            embeddings.append(embed(fed))
            if progress is not None:
                progress(number * len(ids) + index + 1, total)
        features = np.stack(embeddings).astype(np.float64)
        hit, score = judge(features[place], features[probe], owner)
        hits.append(hit)
        scores.append(score)
    return _ranked(chosen, np.stack(hits), np.stack(scores), owner, rows.size)


def judge(
    gallery: NDArray[np.float64], probes: NDArray[np.float64], owner: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Rank-1 hits and separations of the probes; a dead or exploding variant has none."""
    with np.errstate(all="ignore"):
        unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (gallery, probes)]
        table = unit[1] @ unit[0].T
    if not np.isfinite(table).all():
        return np.zeros(len(probes), bool), np.full(len(probes), -np.inf)
    at = np.arange(len(probes))
    own = table[at, owner]
    strangers = table.copy()
    strangers[at, owner] = np.nan
    best = np.nanmax(strangers, axis=1)
    spread = float(np.nanstd(strangers))
    if spread < 1e-9:  # all faces are one to it
        return np.zeros(len(probes), bool), np.zeros(len(probes))
    return own > best, (own - np.nanmean(strangers)) / spread


def _ranked(
    chosen: Sequence[Variant],
    hits: NDArray[np.bool_],
    scores: NDArray[np.float64],
    owner: NDArray[np.intp],
    identities: int,
) -> Verdict:
    means = scores.mean(axis=1)
    rank1 = hits.mean(axis=1)
    order = sorted(range(len(chosen)), key=lambda i: (-means[i], i))
    best = order[0]
    # Identities are drawn again, each with all its probes.
    present, group = np.unique(owner, return_inverse=True)
    counts = np.bincount(group)
    draws = np.random.default_rng(0).multinomial(
        present.size, np.full(present.size, 1 / present.size), RESAMPLES
    )
    tail = 0.025 / (len(chosen) - 1)  # the best is compared with each of the others
    judged = []
    for index in order:
        behind = scores[best] - scores[index]
        if not np.isfinite(behind).all():
            judged.append(Judged(chosen[index], 0.0, -np.inf, np.inf, np.inf, np.inf, False))
            continue
        sums = np.bincount(group, weights=behind)
        drawn = (draws @ sums) / (draws @ counts)
        low, high = np.quantile(drawn, [tail, 1 - tail])
        judged.append(
            Judged(
                chosen[index],
                float(rank1[index]),
                float(means[index]),
                float(behind.mean()),
                float(low),
                float(high),
                index == best or bool(low <= NIL * means[best]),
            )
        )
    rivals = [one for one in judged[1:] if one.as_good]
    first = _preferred(judged, chosen)
    alike = all(_nearly(one.variant, first.variant) for one in [judged[0], *rivals])
    decided = alike and identities >= FEW and first.rank1 > 0
    ranking = (first, *(one for one in judged if one is not first))
    return Verdict(ranking, decided, identities, int(owner.size))


def _preferred(judged: Sequence[Judged], order: Sequence[Variant]) -> Judged:
    """Of the best and what all but equals it, the commonest: 127.5 before 128."""
    best = judged[0]
    near = [one for one in judged if one.as_good and _nearly(one.variant, best.variant)]
    return min(near, key=lambda one: order.index(one.variant))


def _nearly(one: Variant, other: Variant) -> bool:
    """Whether two feed a model the same up to 1 % in scale."""
    ratio = np.array(one.std) / np.array(other.std)
    same = one.colour == other.colour and one.mean == other.mean
    return bool(same and np.all(np.abs(ratio - 1) < 0.01))


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Plain JSON for `--json`; what is not finite becomes null."""

    def number(value: float) -> float | None:
        return value if np.isfinite(value) else None

    return {
        "decided": verdict.decided,
        "identities": verdict.identities,
        "probes": verdict.probes,
        "ranking": [
            {
                "colour": one.variant.colour,
                "scaling": one.variant.scaling,
                "mean": list(one.variant.mean),
                "std": list(one.variant.std),
                "rank1": one.rank1,
                "separation": number(one.separation),
                "behind": number(one.behind),
                "low": number(one.low),
                "high": number(one.high),
                "as_good": one.as_good,
            }
            for one in verdict.ranking
        ],
    }
