"""The tiled search: per probe its best impostor, and optionally its rank and the top pair scores.

Gallery tiles are made once each and swept over a resident block of probes by single-precision
matrix products, one BLAS thread a worker. The product only *rules out*: it errs by less than
``error32``, and every pair that could still be the best impostor is settled by its defined score
(see ``exact``). So the result is the same for every tile shape, worker count and gallery order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.blas import run_jobs, single_threaded_blas
from orchestrator.scoring.exact import Float32, chosen_scores, error32, pair_scores
from orchestrator.scoring.pairs import TopPairs
from orchestrator.scoring.templates import Templates

BLOCK = 512
TILE = 2048
_LOWEST = np.float32(-np.inf)


@dataclass(frozen=True)
class MatePairs:
    """Each probe's own templates: pairs ``(probe, template)`` sorted by template, then probe."""

    probes: NDArray[np.intp]
    templates: NDArray[np.intp]


@dataclass
class Best:
    """What one worker has found so far for the probes of a block; merged by maximum and sum.

    Attributes:
        impostor: best defined score of another identity, float32 ``(P,)``, -inf where none.
        above: identities whose score reaches the mate's, int64 ``(P,)``.
        pairs: the top pair scores, when asked for.
    """

    impostor: Float32
    above: NDArray[np.int64]
    pairs: TopPairs | None = None
    buffer: Float32 = field(default_factory=lambda: np.empty(0, np.float32))

    def scores(self, rows: int, columns: int) -> Float32:
        """A reused buffer of ``rows`` x ``columns``."""
        if self.buffer.size < rows * columns:
            self.buffer = np.empty(rows * columns, np.float32)
        return self.buffer[: rows * columns].reshape(rows, columns)


def tiles_of(owner: NDArray[np.intp], size: int, aligned: bool) -> list[tuple[int, int]]:
    """Cut the templates into tiles; ``aligned`` keeps an identity's templates in one tile."""
    count = int(owner.size)
    if not aligned:
        return [(start, min(start + size, count)) for start in range(0, count, size)]
    firsts = np.concatenate([np.flatnonzero(np.diff(owner)) + 1, [count]])
    tiles = []
    start = 0
    while start < count:
        place = int(np.searchsorted(firsts, start + size, side="right")) - 1
        if place < 0 or firsts[place] <= start:
            place += 1
        stop = int(firsts[place])
        tiles.append((start, stop))
        start = stop
    return tiles


def places(chosen: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of each True; ten times as fast as ``np.nonzero`` where they are rare."""
    flat = np.flatnonzero(chosen)
    row, column = np.divmod(flat, chosen.shape[1])
    return row.astype(np.intp, copy=False), column.astype(np.intp, copy=False)


def settle_best(
    probes: Float32, rows: Float32, scores: Float32, top: Float32, best: Float32
) -> None:
    """Raise ``best`` to the defined score of every pair that the product could not rule out.

    Args:
        probes: the block, unit rows ``(p, D)``.
        rows: the tile, unit rows ``(t, D)``.
        scores: their product ``(p, t)`` with own pairs at -inf.
        top: the highest of each row of ``scores``, ``(p,)``.
        best: running best impostor ``(p,)``; raised in place.
    """
    slack = np.float32(error32(probes.shape[1]))
    hit = np.flatnonzero((top + slack > best) & (top > _LOWEST))
    if hit.size == 0:
        return
    near = scores[hit]
    columns = near.argmax(axis=1)
    best[hit] = np.maximum(best[hit], pair_scores(probes[hit], rows[columns]))
    near[np.arange(hit.size), columns] = _LOWEST
    again = np.flatnonzero(near.max(axis=1) > best[hit] - slack)
    if again.size:
        place, column = places(near[again] > (best[hit[again]] - slack)[:, None])
        row = hit[again[place]]
        np.maximum.at(best, row, chosen_scores(probes, rows, row, column))


def count_reaching(
    probes: Float32,
    rows: Float32,
    scores: Float32,
    top: Float32,
    mate: Float32,
    starts: NDArray[np.intp] | None,
) -> NDArray[np.int64]:
    """Identities of a tile whose defined score is at or above each probe's mate score.

    Args:
        probes: the block, unit rows ``(p, D)``.
        rows: the tile, unit rows ``(t, D)``.
        scores: their product ``(p, t)`` with own pairs at -inf.
        top: the highest of each row of ``scores``, ``(p,)``.
        mate: defined mate scores ``(p,)``; NaN counts nothing.
        starts: first column of each identity, or None when each column is one.

    Returns:
        int64 ``(p,)``.
    """
    slack = np.float32(error32(probes.shape[1]) + 2.0**-23)  # and the rounding of the score
    counts = np.zeros(len(probes), np.int64)
    some = np.flatnonzero(top >= mate - slack)
    if some.size == 0:
        return counts
    near, goal = scores[some], mate[some]
    reaching = near >= (goal - slack)[:, None]
    place, column = places(reaching & (near <= (goal + slack)[:, None]))
    if place.size:
        settled = chosen_scores(probes, rows, some[place], column)
        reaching[place, column] = settled >= goal[place]
    if starts is not None:
        reaching = np.logical_or.reduceat(reaching, starts, axis=1)
    counts[some] = np.bitwise_count(np.packbits(reaching, axis=1)).sum(axis=1, dtype=np.int64)
    return counts


@dataclass(frozen=True)
class Sweep:
    """One block of probes against all templates.

    Args:
        templates: the gallery.
        probes: unit rows, float32 ``(P, D)``.
        mate: defined mate scores ``(P,)``, NaN where none.
        own: the pairs to leave out.
        ranks: count the identities that reach the mate.
        pairs: makes one worker's collector of top pair scores, or None.
    """

    templates: Templates
    probes: Float32
    mate: Float32
    own: MatePairs
    ranks: bool
    pairs: Callable[[], TopPairs] | None
    tile: int = TILE
    block: int = BLOCK

    def run(self, workers: int, progress: Callable[[int], None] | None) -> list[Best]:
        """Search with ``workers`` threads; ``progress`` is told the templates done so far."""
        by_identity = self.templates.several and self.templates.count > self.templates.identities
        tiles = tiles_of(self.templates.owner, self.tile, by_identity)
        local = threading.local()
        results: list[Best] = []
        done = 0

        def state() -> Best:
            if not hasattr(local, "best"):
                local.best = Best(
                    np.full(len(self.probes), _LOWEST),
                    np.zeros(len(self.probes), np.int64),
                    self.pairs() if self.pairs else None,
                )
                results.append(local.best)
            found: Best = local.best
            return found

        # Only prunes, so two workers may race for it: a lost update costs time, never a result.
        known = np.full(len(self.probes), _LOWEST)

        def work(tile: tuple[int, int]) -> None:
            self._one_tile(state(), known, *tile, by_identity)

        def report(tile: tuple[int, int]) -> None:
            nonlocal done
            done += tile[1] - tile[0]
            if progress is not None:
                progress(done)

        with single_threaded_blas():
            run_jobs(tiles, work, workers, report)
        return results

    def _one_tile(
        self, found: Best, known: Float32, start: int, stop: int, by_identity: bool
    ) -> None:
        rows = self.templates.load(start, stop)
        starts = None
        if by_identity:
            owner = self.templates.owner[start:stop]
            starts = np.concatenate([[0], np.flatnonzero(np.diff(owner)) + 1]).astype(np.intp)
        first, last = np.searchsorted(self.own.templates, [start, stop])
        own_probe = self.own.probes[first:last]
        own_column = self.own.templates[first:last] - start
        order = np.argsort(own_probe, kind="stable")
        own_probe, own_column = own_probe[order], own_column[order]
        for low in range(0, len(self.probes), self.block):
            high = min(low + self.block, len(self.probes))
            probes = self.probes[low:high]
            scores = found.scores(high - low, stop - start)
            np.matmul(probes, rows.T, out=scores)
            mine = slice(*np.searchsorted(own_probe, [low, high]))
            scores[own_probe[mine] - low, own_column[mine]] = _LOWEST
            top = scores.max(axis=1)
            if self.ranks:
                found.above[low:high] += count_reaching(
                    probes, rows, scores, top, self.mate[low:high], starts
                )
            if found.pairs is not None:
                found.pairs.add(scores, starts)
            best = np.maximum(found.impostor[low:high], known[low:high])
            settle_best(probes, rows, scores, top, best)
            found.impostor[low:high] = best
            np.maximum(known[low:high], best, out=known[low:high])
