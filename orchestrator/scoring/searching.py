"""From features to searches: the one entry that touches every gallery x probe pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring import first_pass, scan
from orchestrator.scoring.blas import run_jobs
from orchestrator.scoring.errors import ScoringError
from orchestrator.scoring.exact import Float32, pair_scores
from orchestrator.scoring.first_pass import FirstPass
from orchestrator.scoring.integer_product import IntegerProduct, trusted_product
from orchestrator.scoring.pairs import SharedFloor, TopPairs, check_keep, guessed_floor, largest
from orchestrator.scoring.searches import PairThreshold, Searches
from orchestrator.scoring.templates import Fusion, Templates, check_mask, check_matrix, unit_rows
from orchestrator.scoring.threshold import budget, threshold_at
from orchestrator.scoring.trials import TrialSet

Method = Literal["auto", "float32", "int8"]

FAST_TEMPLATES, FAST_DIM, FAST_PROBES = 12_000, 256, 512
"""Below these the integer pass costs more than it saves."""

GUESSED_PAIRS = 20_000_000
"""From so many pairs on a sample of 2 million is worth its time."""

RESIDENT = 51_200
"""Probes held normalized at a time: 100 MiB at 512 dimensions. The gallery is prepared again for
each such block, which is what makes a search of 50,000 in two halves 5 to 10 % slower."""


def search(
    gallery: Float32,
    probes: Float32,
    trials: TrialSet,
    *,
    fusion: Fusion = "mean",
    failed_gallery: NDArray[np.bool_] | None = None,
    failed_probes: NDArray[np.bool_] | None = None,
    workers: int = 2,
    ranks: bool = True,
    tar_pairs_far: tuple[float, ...] = (),
    progress: Callable[[int, int], None] | None = None,
    method: Method = "auto",
    tile: int | None = None,
    block: int | None = None,
    known_mate: Float32 | None = None,
    guess: bool = True,
) -> Searches:
    """Search every probe in the gallery.

    The scores are the defined ones (see ``orchestrator.scoring.exact``): the same for every tile
    shape, worker count and order of gallery or probes. Only ``tar_pairs`` thresholds are those of
    the single-precision product, which moves within 1e-6 between tile shapes.

    Failed images: a failed gallery image is left out of its identity's template, and an identity
    without any image left can match nobody, so its probes miss. A failed probe is a miss too and
    is no impostor trial: a search that never ran cannot be falsely accepted, and counting it would
    loosen the threshold of a board that fails often.

    Args:
        gallery: features, float32 ``(G, D)``, need not be normalized; may be memory-mapped.
        probes: features, float32 ``(P, D)``.
        trials: the identities of both.
        fusion: how several gallery images of an identity are joined.
        failed_gallery: rows without a feature, bool ``(G,)``; their content is not looked at.
        failed_probes: likewise, bool ``(P,)``.
        workers: threads, each with one BLAS thread.
        ranks: also find each mate's rank (needed for CMC beyond 1).
        tar_pairs_far: all-pairs FAR targets; kept scores take 8 bytes x worker x accepted pair.
        progress: called in this thread with (pairs done, pairs in all).
        method: what rules pairs out before they are scored: ``float32``, the matrix product;
            ``int8``, an integer product, faster for large galleries; ``auto`` chooses. The scores
            are the same to the bit.
        tile: gallery templates a product; None is what the method is fastest with.
        block: probes a product, likewise.
        known_mate: mate scores from ``mates``, ``(P,)``, when this gallery is part of a larger
            one: ranks then count the identities of this part that reach them.
        guess: begin the all-pairs list with a threshold guessed from a sample; the result is the
            same, since a guess that proves too high is dropped and the search done again.

    Raises:
        ScoringError: unusable input, with set, row and identity.
    """
    _check(gallery, probes, trials, fusion, known_mate)
    if min(workers, 1 if tile is None else tile, 1 if block is None else block) < 1:
        raise ScoringError("workers, tile and block must be at least 1")
    gallery_out = check_mask(failed_gallery, "gallery", trials.gallery_ids.size)
    probes_out = check_mask(failed_probes, "probes", trials.probe_ids.size)
    templates = _templates(gallery, trials, gallery_out, fusion)
    alive = np.flatnonzero(~probes_out)
    has_mate = _have_mates(trials.mate_codes[alive], templates)
    product = _choose(method, templates, alive.size, gallery.shape[1], bool(tar_pairs_far))
    fastest = (scan.TILE, scan.BLOCK) if product is None else (first_pass.TILE, first_pass.BLOCK)
    prepared = _Prepared(
        probes,
        trials,
        templates,
        alive,
        has_mate,
        known_mate,
        product,
        workers,
        tile or fastest[0],
        block or fastest[1],
    )
    found = prepared.run(tar_pairs_far, ranks, progress, guess=guess)
    if not found.top.proved:  # the sample misled; not seen, but nothing rules it out
        found = prepared.run(tar_pairs_far, ranks, progress, guess=False)
    return Searches(
        mate=found.mate,
        impostor=found.impostor,
        mated=trials.probe_mated,
        failed=probes_out,
        identity=trials.probe_codes,
        rank=found.rank if ranks else None,
        gallery_size=int(trials.gallery_names.size),
        gallery_failed=int((~templates.present).sum()),
        pairs=found.top.thresholds(),
        fusion=fusion,
        method="float32" if product is None else "int8",
    )


def _check(
    gallery: Float32, probes: Float32, trials: TrialSet, fusion: Fusion, known_mate: Float32 | None
) -> None:
    check_matrix(gallery, "gallery", trials.gallery_ids.size)
    check_matrix(probes, "probes", trials.probe_ids.size)
    if known_mate is not None and known_mate.shape != trials.probe_ids.shape:
        raise ScoringError(
            f"known_mate: {known_mate.shape} scores for {trials.probe_ids.size} probes"
        )
    if gallery.shape[1] != probes.shape[1]:
        raise ScoringError(
            f"gallery features have {gallery.shape[1]} dimensions, probe features "
            f"{probes.shape[1]}: two different models?"
        )
    if fusion not in ("mean", "max"):
        raise ScoringError(f"fusion {fusion!r}: 'mean' or 'max' expected")


def _templates(
    gallery: Float32, trials: TrialSet, failed: NDArray[np.bool_], fusion: Fusion
) -> Templates:
    identities = trials.gallery_names.size
    codes = trials.gallery_codes
    return Templates(gallery, trials.gallery_ids, codes, identities, failed, fusion)


def _have_mates(codes: NDArray[np.intp], templates: Templates) -> NDArray[np.bool_]:
    """Whether an identity, by its code or -1, has a template."""
    found = codes >= 0
    found[found] = templates.present[codes[found]]
    return found


@dataclass(frozen=True)
class _Found:
    """What was found of each probe, ``(P,)``: NaN, NaN and 0 of one that failed.

    Attributes:
        rank: 0 without a mate, and of all where ranks are not asked for.
        top: the best scores over all pairs.
    """

    mate: Float32
    impostor: Float32
    rank: NDArray[np.int64]
    top: _TopOfAll


@dataclass(frozen=True)
class _Prepared:
    """A search whose input is checked and whose gallery is prepared.

    Attributes:
        alive: rows of the probes that did not fail.
        has_mate: whether there is a template of their identity, bool ``(len(alive),)``.
        product: of the fast pass; None for the sweep in single precision.
    """

    probes: Float32
    trials: TrialSet
    templates: Templates
    alive: NDArray[np.intp]
    has_mate: NDArray[np.bool_]
    known_mate: Float32 | None
    product: IntegerProduct | None
    workers: int
    tile: int
    block: int

    def run(
        self,
        fars: tuple[float, ...],
        ranks: bool,
        progress: Callable[[int, int], None] | None,
        *,
        guess: bool,
    ) -> _Found:
        """Search all probes, as many at a time as are held normalized."""
        templates = self.templates
        pairs = self.alive.size * templates.identities - int(self.has_mate.sum())
        top = _TopOfAll(fars, pairs, self.tile * self.block)
        if guess and pairs >= GUESSED_PAIRS and not templates.several:
            top.guess(_sample(self.probes, self.alive, templates, self.trials))
        size = self.trials.probe_ids.size
        nothing = np.full(size, np.nan, np.float32)
        found = _Found(nothing, nothing.copy(), np.zeros(size, np.int64), top)
        total = self.alive.size * templates.count
        by_identity = templates.of_identity()
        for start in range(0, self.alive.size, RESIDENT):
            here = slice(start, start + RESIDENT)
            rows = self.alive[here]
            unit = _unit_probes(self.probes, rows, self.trials.probe_ids, self.workers)
            own = _own_pairs(self.trials.mate_codes[rows], self.has_mate[here], *by_identity)
            if self.known_mate is None:
                found.mate[rows] = mate_scores(unit, templates, own, self.workers)
            else:
                found.mate[rows] = self.known_mate[rows]
            report = _scaled(progress, start * templates.count, rows.size, total)
            if self.product is not None:
                self._first_pass(rows, unit, own, found, self.product, ranks, report)
            else:
                self._sweep(rows, unit, own, found, ranks, report)
        return found

    def _first_pass(
        self,
        rows: NDArray[np.intp],
        unit: Float32,
        own: scan.MatePairs,
        found: _Found,
        product: IntegerProduct,
        ranks: bool,
        report: Callable[[int], None] | None,
    ) -> None:
        """The integer product rules out; only probes that miss are ranked."""
        templates, workers = self.templates, self.workers
        fast = FirstPass(templates, unit, own, product, self.tile, self.block)
        found.impostor[rows], _ = fast.run(workers, report)
        if ranks:
            mate, impostor = found.mate[rows], found.impostor[rows]
            found.rank[rows] = _ranks(templates, unit, mate, impostor, own, workers)

    def _sweep(
        self,
        rows: NDArray[np.intp],
        unit: Float32,
        own: scan.MatePairs,
        found: _Found,
        ranks: bool,
        report: Callable[[int], None] | None,
    ) -> None:
        """Single-precision products of all pairs."""
        mate, top = found.mate[rows], found.top
        collector = top.collector()
        sweep = scan.Sweep(self.templates, unit, mate, own, ranks, collector, self.tile, self.block)
        parts = sweep.run(self.workers, report)
        found.impostor[rows] = np.maximum.reduce([part.impostor for part in parts])
        above = np.add.reduce([part.above for part in parts])
        found.rank[rows] = np.where(np.isnan(mate), 0, 1 + above)
        top.merge([part.pairs for part in parts if part.pairs is not None])


def _sample(
    probes: Float32, alive: NDArray[np.intp], templates: Templates, trials: TrialSet
) -> Float32:
    """Scores of some random pairs, flat, own pairs at -inf."""
    rng = np.random.default_rng(0)
    rows = np.sort(rng.choice(alive, min(1024, alive.size), replace=False))
    columns = np.sort(rng.choice(templates.count, min(2048, templates.count), replace=False))
    unit = unit_rows(probes, rows, "probes", trials.probe_ids)
    scores: Float32 = unit @ templates.take(columns.astype(np.intp)).T
    scores[trials.mate_codes[rows][:, None] == templates.owner[columns][None]] = -np.inf
    return scores.ravel()


def mates(
    gallery: Float32,
    probes: Float32,
    trials: TrialSet,
    *,
    fusion: Fusion = "mean",
    failed_gallery: NDArray[np.bool_] | None = None,
    failed_probes: NDArray[np.bool_] | None = None,
    workers: int = 2,
) -> Float32:
    """Each probe's score with its own identity, as ``search`` gives it, and nothing else.

    Returns:
        float32 ``(P,)``; NaN for an unknown or failed probe, or a mate without usable image.

    Raises:
        ScoringError: a row that cannot be used.
    """
    gallery_out = check_mask(failed_gallery, "gallery", trials.gallery_ids.size)
    probes_out = check_mask(failed_probes, "probes", trials.probe_ids.size)
    templates = _templates(gallery, trials, gallery_out, fusion)
    result = np.full(trials.probe_ids.size, np.nan, np.float32)
    alive = np.flatnonzero(~probes_out)
    by_identity = templates.of_identity()
    for start in range(0, alive.size, RESIDENT):
        rows = alive[start : start + RESIDENT]
        codes = trials.mate_codes[rows]
        unit = _unit_probes(probes, rows, trials.probe_ids, workers)
        own = _own_pairs(codes, _have_mates(codes, templates), *by_identity)
        result[rows] = mate_scores(unit, templates, own, workers)
    return result


def _choose(
    method: Method, templates: Templates, probes: int, dim: int, every_pair: bool
) -> IntegerProduct | None:
    """The integer product of the fast pass, or None for the single-precision one."""
    if method not in ("auto", "float32", "int8"):
        raise ScoringError(f"method {method!r}: 'auto', 'float32' or 'int8' expected")
    if method == "int8" and every_pair:
        raise ScoringError("tar_pairs needs every score: the int8 method rules pairs out unscored")
    pays = templates.count >= FAST_TEMPLATES and dim >= FAST_DIM and probes >= FAST_PROBES
    if method == "float32" or every_pair or (method == "auto" and not pays):
        return None
    product = trusted_product(dim)
    if product is None and method == "int8":
        raise ScoringError(
            "the int8 method needs onnx and onnxruntime with an exact MatMulInteger on this CPU"
        )
    return product


def _ranks(
    templates: Templates,
    unit: Float32,
    mate: Float32,
    impostor: Float32,
    own: scan.MatePairs,
    workers: int,
) -> NDArray[np.int64]:
    """Ranks after the fast pass: 1 where the mate wins; only the others are counted out."""
    missed = np.flatnonzero(mate <= impostor)
    rank = np.where(np.isnan(mate), 0, 1).astype(np.int64)
    if missed.size == 0:
        return rank
    place = np.full(len(unit), -1, np.intp)
    place[missed] = np.arange(missed.size)
    present = place[own.probes] >= 0
    theirs = scan.MatePairs(place[own.probes[present]], own.templates[present])
    sweep = scan.Sweep(templates, unit[missed], mate[missed], theirs, True, None)
    found = sweep.run(workers, None)
    rank[missed] += np.add.reduce([part.above for part in found])
    return rank


def _unit_probes(
    probes: Float32, rows: NDArray[np.intp], ids: NDArray[Any], workers: int
) -> Float32:
    """Chosen probes, normalized, float32 ``(len(rows), D)``."""
    unit = np.empty((rows.size, probes.shape[1]), np.float32)

    def work(start: int) -> None:
        part = slice(start, start + scan.TILE)
        unit[part] = unit_rows(probes, rows[part], "probes", ids)

    run_jobs(range(0, rows.size, scan.TILE), work, workers)
    return unit


def mate_scores(unit: Float32, templates: Templates, own: scan.MatePairs, workers: int) -> Float32:
    """Defined score of each probe with its own identity (best of its templates), NaN where none."""
    scores = np.empty(own.probes.size, np.float32)

    def work(start: int) -> None:
        part = slice(start, start + scan.TILE)
        scores[part] = pair_scores(unit[own.probes[part]], templates.take(own.templates[part]))

    run_jobs(range(0, scores.size, scan.TILE), work, workers)
    best = np.full(len(unit), -np.inf, np.float32)
    np.maximum.at(best, own.probes, scores)
    best[np.isneginf(best)] = np.nan
    return best


def _scaled(
    progress: Callable[[int, int], None] | None, before: int, factor: int, total: int
) -> Callable[[int], None] | None:
    if progress is None:
        return None
    return lambda done: progress(before + done * factor, total)


def _own_pairs(
    codes: NDArray[np.intp],
    has_mate: NDArray[np.bool_],
    order: NDArray[np.intp],
    first: NDArray[np.intp],
) -> scan.MatePairs:
    probe = np.flatnonzero(has_mate)
    counts = first[codes[probe] + 1] - first[codes[probe]]
    ends = np.cumsum(counts)
    within = np.arange(ends[-1] if ends.size else 0) - np.repeat(ends - counts, counts)
    template = order[np.repeat(first[codes[probe]], counts) + within]
    repeated = np.repeat(probe, counts)
    place = np.lexsort((repeated, template))
    return scan.MatePairs(repeated[place].astype(np.intp), template[place].astype(np.intp))


class _TopOfAll:
    """The top pair scores over all blocks of probes; nothing at all when no FAR is asked for."""

    def __init__(self, fars: tuple[float, ...], trials: int, tile_scores: int) -> None:
        self._fars = fars
        self._trials = trials
        self._tile_scores = tile_scores
        budgets = [budget(far, trials) for far in fars]
        self._keep = max(1, min(max(budgets, default=0) + 1, trials))
        self._floor = SharedFloor()
        self._guessed = False
        self._top = np.empty(0, np.float32)
        check_keep(self._keep)

    def guess(self, sample: Float32) -> None:
        """Begin with a floor guessed from a sample."""
        if not self._fars:
            return
        floor = guessed_floor(sample, self._keep / self._trials)
        if floor is not None:
            self._floor, self._guessed = SharedFloor(floor), True

    @property
    def proved(self) -> bool:
        """Whether all that had to be kept was: a guess may have been too high."""
        return not self._guessed or self._top.size >= self._keep

    def collector(self) -> Callable[[], TopPairs] | None:
        if not self._fars:
            return None
        return lambda: TopPairs(self._keep, self._floor, self._tile_scores)

    def merge(self, collectors: list[TopPairs]) -> None:
        if not self._fars:
            return
        parts = [self._top, *(collector.values() for collector in collectors)]
        self._top = largest(parts, self._keep)
        if self._top.size == self._keep:
            self._floor.raise_to(self._top[-1])

    def thresholds(self) -> tuple[PairThreshold, ...]:
        results = []
        for far in self._fars:
            k, threshold, accepted = threshold_at(self._top, far, self._trials)
            results.append(PairThreshold(far, self._trials, k, accepted, threshold))
        return tuple(results)
