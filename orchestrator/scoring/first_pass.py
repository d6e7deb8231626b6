"""The fast search: an integer product rules out nearly every pair, the rest is settled exactly.

The integers bound every score from above (``quantized.score_slack``); only a pair whose bound
exceeds the probe's running best impostor can change it. Those few (0.02 to 0.07 %) are scored in
float32, and the ones that are then within float32's own bound of the best get their defined score.
The result is therefore the same, to the bit, as that of the single-precision search. Where the
bound rules out too little (a dead board makes every pair a tie) the single-precision search does
that tile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from orchestrator.scoring.blas import run_jobs, single_threaded_blas
from orchestrator.scoring.exact import Float32, Float64, error32, pair_scores
from orchestrator.scoring.integer_product import Int32, IntegerProduct
from orchestrator.scoring.quantized import (
    QuantizedProbes,
    QuantizedTile,
    Turn,
    quantize_probes,
    quantize_tile,
    score_slack,
)
from orchestrator.scoring.scan import MatePairs, places, settle_best
from orchestrator.scoring.templates import Templates

SHELF = 8192
"""Templates loaded at a time, then cut into tiles of like largest value."""

SEGMENT = 256
"""Templates looked at together: the highest of each segment tells whether to look at all."""

SURVIVORS = 0.02
"""Share of a tile's pairs above which it is done in single precision."""

_NEVER = np.iinfo(np.int32).min
_PAIRS = 4096
_SAMPLE = 1024


@dataclass
class _Scratch:
    """One worker's result and buffers."""

    impostor: Float32
    integers: Int32
    floats: Float32
    given_up: int = 0


@dataclass(frozen=True)
class _Tile:
    """Templates of a shelf: their unit rows, and the same as integers behind ``multiply``."""

    rows: Float32
    quantized: QuantizedTile
    multiply: Callable[[NDArray[np.uint8], Int32], None]
    own_probe: NDArray[np.intp]
    own_column: NDArray[np.intp]


class FirstPass:
    """Best impostors of one block of probes.

    Args:
        templates: the gallery.
        probes: unit rows, float32 ``(P, D)``.
        own: the pairs to leave out.
        product: exact for this dimension.
        tile: templates a product.
        block: probes a product.
    """

    def __init__(
        self,
        templates: Templates,
        probes: Float32,
        own: MatePairs,
        product: IntegerProduct,
        tile: int,
        block: int,
    ) -> None:
        self._templates = templates
        self._probes = probes
        self._own = own
        self._product = product
        self._tile = tile
        self._block = block
        self._turn = Turn(probes[:_SAMPLE])
        self._quantized: QuantizedProbes
        # Only prunes, so two workers may race for it: a lost update costs time, never a result.
        self._known = np.full(len(probes), -np.inf, np.float32)

    def run(self, workers: int, progress: Callable[[int], None] | None) -> tuple[Float32, int]:
        """``(best impostor (P,), products given up to single precision)``."""
        local = threading.local()
        results: list[_Scratch] = []
        done = 0

        def work(shelf: tuple[int, int]) -> None:
            if not hasattr(local, "scratch"):
                local.scratch = _Scratch(
                    np.full(len(self._probes), -np.inf, np.float32),
                    np.empty(self._block * padded(self._tile), np.int32),
                    np.empty(0, np.float32),
                )
                results.append(local.scratch)
            self._one_shelf(local.scratch, *shelf)

        def report(shelf: tuple[int, int]) -> None:
            nonlocal done
            done += shelf[1] - shelf[0]
            if progress is not None:
                progress(done)

        with single_threaded_blas():
            self._quantized = quantize_probes(self._probes, self._turn)
            run_jobs(self._shelves(workers), work, workers, report)
        best = np.maximum.reduce([result.impostor for result in results])
        return best, sum(result.given_up for result in results)

    def _shelves(self, workers: int) -> list[tuple[int, int]]:
        """Equal shelves, as many as every worker gets alike."""
        count = self._templates.count
        rounds = -(-count // (max(SHELF, self._tile) * workers))
        edges = np.linspace(0, count, rounds * workers + 1).astype(int).tolist()
        return [(a, b) for a, b in pairwise(edges) if a < b]

    def _one_shelf(self, scratch: _Scratch, start: int, stop: int) -> None:
        rows = self._templates.load(start, stop)
        turned = self._turn(rows)
        peak = np.maximum(turned.max(axis=1), -turned.min(axis=1))
        order = np.argsort(peak, kind="stable")
        column = np.empty(order.size, np.intp)
        column[order] = np.arange(order.size)
        first, last = np.searchsorted(self._own.templates, [start, stop])
        own_probe = self._own.probes[first:last]
        own_place = column[self._own.templates[first:last] - start]
        tiles = -(-order.size // self._tile)
        step = min(self._tile, padded(-(-order.size // tiles)))  # nearly equal, whole segments
        for low in range(0, order.size, step):
            high = min(low + step, order.size)
            chosen = order[low:high]
            tile_rows = rows[chosen]
            turned_rows = tile_rows if turned is rows else turned[chosen]
            quantized = quantize_tile(turned_rows, padded(high - low))
            mine = np.flatnonzero((own_place >= low) & (own_place < high))
            mine = mine[np.argsort(own_probe[mine], kind="stable")]
            tile = _Tile(
                tile_rows,
                quantized,
                self._product.prepare(quantized.values),
                own_probe[mine],
                own_place[mine] - low,
            )
            for begin in range(0, len(self._probes), self._block):
                self._one_product(scratch, tile, begin, min(begin + self._block, len(self._probes)))

    def _one_product(self, scratch: _Scratch, tile: _Tile, low: int, high: int) -> None:
        part = slice(low, high)
        shape = (high - low, len(tile.quantized.values))
        scores = scratch.integers[: shape[0] * shape[1]].reshape(shape)
        tile.multiply(self._quantized.values[part], scores)
        mine = slice(*np.searchsorted(tile.own_probe, [low, high]))
        own = (tile.own_probe[mine] - low, tile.own_column[mine])
        scores[own] = _NEVER
        scores[:, len(tile.rows) :] = _NEVER
        best = np.maximum(scratch.impostor[part], self._known[part])
        if self._settle(tile, self._probes[part], scores, best, part):
            self._in_single_precision(scratch, tile, self._probes[part], own, best)
        np.maximum(scratch.impostor[part], best, out=scratch.impostor[part])
        np.maximum(self._known[part], best, out=self._known[part])

    def _settle(
        self, tile: _Tile, probes: Float32, scores: Int32, best: Float32, part: slice
    ) -> bool:
        """Raise ``best`` by what the integers leave possible; True when that is too much."""
        unit = self._quantized.scale[part] * tile.quantized.scale
        slack = score_slack(self._quantized, tile.quantized, part)
        pieces = scores.reshape(-1, SEGMENT)
        tops = pieces.max(axis=1).reshape(len(probes), -1)
        top = tops.max(axis=1)
        # Where the estimate beats the best, settling that pair first rules out most others.
        likely = np.flatnonzero((unit * top > best) & (top > _NEVER))
        if likely.size:
            segment = tops[likely].argmax(axis=1)
            piece = likely * tops.shape[1] + segment
            column = segment * SEGMENT + pieces[piece].argmax(axis=1)
            raised = pair_scores(probes[likely], tile.rows[column])
            best[likely] = np.maximum(best[likely], raised)
            scores[likely, column] = _NEVER
        limit = np.maximum(_limits(best, slack, unit), _NEVER + 1)
        piece = np.flatnonzero(tops >= limit[:, None])
        if piece.size == 0:
            return False
        row, segment = np.divmod(piece, tops.shape[1])
        place, within = places(pieces[piece] >= limit[row, None])
        if place.size > SURVIVORS * scores.size:
            return True
        if place.size:
            _refine(probes, tile.rows, row[place], segment[place] * SEGMENT + within, best)
        return False

    def _in_single_precision(
        self,
        scratch: _Scratch,
        tile: _Tile,
        probes: Float32,
        own: tuple[NDArray[np.intp], NDArray[np.intp]],
        best: Float32,
    ) -> None:
        scratch.given_up += 1
        if scratch.floats.size == 0:
            scratch.floats = np.empty(self._block * self._tile, np.float32)
        shape = (len(probes), len(tile.rows))
        scores = scratch.floats[: shape[0] * shape[1]].reshape(shape)
        np.matmul(probes, tile.rows.T, out=scores)
        scores[own] = -np.inf
        settle_best(probes, tile.rows, scores, scores.max(axis=1), best)


def padded(count: int) -> int:
    """Templates of a tile, filled up to whole segments."""
    return -(-count // SEGMENT) * SEGMENT


def _limits(best: Float32, slack: Float64, unit: Float64) -> Int32:
    """The least integer score whose bound could exceed ``best``, rounded down, int32 ``(p,)``."""
    limit = np.floor((best.astype(np.float64) - slack) / unit - 1e-6)
    return np.clip(limit, _NEVER, np.iinfo(np.int32).max).astype(np.int32)


def _refine(
    probes: Float32,
    rows: Float32,
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    best: Float32,
) -> None:
    """Raise ``best`` by the pairs ``(row, column)``: single precision first, then as defined."""
    slack = np.float32(error32(probes.shape[1]))
    about = np.empty(row.size, np.float32)
    for start in range(0, row.size, _PAIRS):
        part = slice(start, start + _PAIRS)
        np.einsum("ij,ij->i", probes[row[part]], rows[column[part]], out=about[part])
    floor = best.copy()
    np.maximum.at(floor, row, about - slack)
    keep = np.flatnonzero((about + slack >= floor[row]) & (about + slack > best[row]))
    for start in range(0, keep.size, _PAIRS):
        chosen = keep[start : start + _PAIRS]
        np.maximum.at(best, row[chosen], pair_scores(probes[row[chosen]], rows[column[chosen]]))
