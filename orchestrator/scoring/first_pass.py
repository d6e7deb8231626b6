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
from orchestrator.scoring.exact import Float32, Float64, pair_scores
from orchestrator.scoring.integer_product import Int32, IntegerProduct, Multiply
from orchestrator.scoring.quantized import (
    SEGMENT,
    Extents,
    QuantizedTile,
    Slack,
    Turn,
    estimate_error,
    measure,
    padded,
    quantize_probes,
    quantize_tile,
    score_slack,
)
from orchestrator.scoring.scan import MatePairs, places, settle_best
from orchestrator.scoring.templates import Templates

TILE, BLOCK = 1024, 2048
"""Templates and probes a product: its 8 MiB of scores, and few packed blocks of probes."""

SHELF = 4096
"""Templates looked at together, then cut into tiles of like largest value."""

SURVIVORS = 0.02
"""Share of a tile's pairs above which it is done in single precision."""

_MANY = 0.1  # share of a shelf's unit rows after which all are computed: together they cost less
_NEVER = np.iinfo(np.int32).min
_PAIRS = 256
_SAMPLE = 1024


@dataclass
class _Scratch:
    """One worker's result and buffers."""

    impostor: Float32
    integers: Int32
    floats: Float32
    given_up: int = 0


@dataclass(frozen=True)
class _Block:
    """Some probes: where they are, their unit rows, and the same as integers in ``multiply``."""

    part: slice
    unit: Float32
    scale: Float64
    slack: Slack
    multiply: Multiply


class _Shelf:
    """Templates ``start`` to ``stop``: their rows as they are, and their unit rows where asked for.

    Attributes:
        rows: float32 ``(n, D)``, safe to be measured in float32.
        turned: the same after ``turn``.
        extents: of ``turned``.
    """

    def __init__(self, templates: Templates, turn: Turn, start: int, stop: int) -> None:
        self._templates = templates
        self._start = start
        self.rows = templates.directions(start, stop)
        self.turned, self.extents = self._measured(turn)
        if not self.extents.safe:  # unit rows are, and a row that has none is refused by name
            self.rows = templates.load(start, stop)
            self.turned, self.extents = self._measured(turn)
        self._unit = np.empty(self.rows.shape, np.float32)
        self._known = np.zeros(len(self.rows), bool)
        self._computed = 0

    def _measured(self, turn: Turn) -> tuple[Float32, Extents]:
        with np.errstate(over="ignore", invalid="ignore"):
            turned = turn(self.rows)
        return turned, measure(turned)

    def unit(self, index: NDArray[np.intp]) -> Float32:
        """Unit rows of chosen templates, float32 ``(len(index), D)``; each is computed once."""
        missing = index[~self._known[index]]
        if missing.size:
            wanted = np.unique(missing)
            self._computed += wanted.size
            if self._computed > _MANY * len(self._known):
                self._unit = self._templates.load(self._start, self._start + len(self._known))
                self._known[:] = True
            else:
                self._unit[wanted] = self._templates.take(self._start + wanted)
                self._known[wanted] = True
        return self._unit[index]


@dataclass(frozen=True)
class _Tile:
    """Templates of a shelf: which, and the same as integers."""

    shelf: _Shelf
    chosen: NDArray[np.intp]
    quantized: QuantizedTile
    own_probe: NDArray[np.intp]
    own_place: NDArray[np.intp]


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
        self._blocks: list[_Block] = []
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
            starts = range(0, len(self._probes), self._block)
            self._blocks = [self._prepared(start) for start in starts]
            run_jobs(self._shelves(workers), work, workers, report)
        best = np.maximum.reduce([result.impostor for result in results])
        return best, sum(result.given_up for result in results)

    def _prepared(self, start: int) -> _Block:
        """The block of probes that begins at ``start``."""
        part = slice(start, min(start + self._block, len(self._probes)))
        unit = self._probes[part]
        small = quantize_probes(unit, self._turn, self._product.limit)
        multiply = self._product.prepare(small.values)
        return _Block(part, unit, small.scale, score_slack(small), multiply)

    def _shelves(self, workers: int) -> list[tuple[int, int]]:
        """Equal shelves, as many as every worker gets alike."""
        count = self._templates.count
        rounds = -(-count // (max(SHELF, self._tile) * workers))
        edges = np.linspace(0, count, rounds * workers + 1).astype(int).tolist()
        return [(a, b) for a, b in pairwise(edges) if a < b]

    def _one_shelf(self, scratch: _Scratch, start: int, stop: int) -> None:
        shelf = _Shelf(self._templates, self._turn, start, stop)
        extents = shelf.extents
        order = np.argsort(extents.inverse * extents.peak, kind="stable")
        column = np.empty(order.size, np.intp)
        column[order] = np.arange(order.size)
        first, last = np.searchsorted(self._own.templates, [start, stop])
        own_probe = self._own.probes[first:last]
        own_place = column[self._own.templates[first:last] - start]
        tiles = -(-order.size // self._tile)
        step = min(self._tile, padded(-(-order.size // tiles)))  # nearly equal, whole segments
        for low in range(0, order.size, step):
            chosen = order[low : low + step]
            mine = np.flatnonzero((own_place >= low) & (own_place < low + chosen.size))
            mine = mine[np.argsort(own_probe[mine], kind="stable")]
            quantized = quantize_tile(shelf.turned, extents, chosen)
            tile = _Tile(shelf, chosen, quantized, own_probe[mine], own_place[mine] - low)
            for block in self._blocks:
                self._one_product(scratch, tile, block)

    def _one_product(self, scratch: _Scratch, tile: _Tile, block: _Block) -> None:
        part = block.part
        shape = (len(tile.quantized.values), len(block.unit))
        scores = scratch.integers[: shape[0] * shape[1]].reshape(shape)
        block.multiply(tile.quantized.values, scores)
        mine = slice(*np.searchsorted(tile.own_probe, [part.start, part.stop]))
        own = (tile.own_place[mine], tile.own_probe[mine] - part.start)
        scores[own] = _NEVER
        scores[tile.chosen.size :] = _NEVER
        best = np.maximum(scratch.impostor[part], self._known[part])
        if _settle(tile, block, scores, best):
            self._in_single_precision(scratch, tile, block, own, best)
        np.maximum(scratch.impostor[part], best, out=scratch.impostor[part])
        np.maximum(self._known[part], best, out=self._known[part])

    def _in_single_precision(
        self,
        scratch: _Scratch,
        tile: _Tile,
        block: _Block,
        own: tuple[NDArray[np.intp], NDArray[np.intp]],
        best: Float32,
    ) -> None:
        scratch.given_up += 1
        if scratch.floats.size == 0:
            scratch.floats = np.empty(self._block * self._tile, np.float32)
        rows = tile.shelf.unit(tile.chosen)
        shape = (len(block.unit), len(rows))
        scores = scratch.floats[: shape[0] * shape[1]].reshape(shape)
        np.matmul(block.unit, rows.T, out=scores)
        scores[own[::-1]] = -np.inf
        settle_best(block.unit, rows, scores, scores.max(axis=1), best)


def _settle(tile: _Tile, block: _Block, scores: Int32, best: Float32) -> bool:
    """Raise ``best`` by what the integers leave possible; True when that is too much."""
    scale = tile.quantized.scale
    pieces = scores.reshape(scale.size, SEGMENT, -1)
    estimate = pieces.max(axis=1) * scale[:, None]
    floor = best.astype(np.float64)
    # Where the estimate beats the best, that pair alone rules out most others.
    top = estimate.max(axis=0)
    likely = np.flatnonzero((top * block.scale > floor) & (top > _NEVER * scale.min()))
    if likely.size:
        segment = estimate[:, likely].argmax(axis=0)
        column = segment * SEGMENT + pieces[segment, :, likely].argmax(axis=1)
        about, slack = _about(block.unit, tile.shelf, likely, tile.chosen[column])
        floor[likely] = np.maximum(floor[likely], about - slack)
    least = (floor - block.slack.of(tile.quantized)) / block.scale
    segment, probe = places(estimate >= least)
    if probe.size == 0:
        return False
    limit = _limits(least[segment, probe], scale[segment])
    piece, within = places(pieces[segment, :, probe] >= limit[:, None])
    if piece.size > SURVIVORS * scores.size:
        return True
    if piece.size:
        chosen = tile.chosen[segment[piece] * SEGMENT + within]
        _refine(block.unit, tile.shelf, probe[piece], chosen, floor, best)
    return False


def _limits(least: Float64, scale: Float64) -> Int32:
    """The least integer score whose bound could exceed the best, rounded down, int32 ``(n,)``."""
    limit = np.floor(least / scale - 1e-6)
    return np.clip(limit, _NEVER + 1, np.iinfo(np.int32).max).astype(np.int32)


def _about(
    probes: Float32, shelf: _Shelf, row: NDArray[np.intp], column: NDArray[np.intp]
) -> tuple[Float64, float]:
    """Scores of the pairs ``(row, column)`` from single precision, and what they err by at most."""
    dots = np.empty(row.size, np.float32)
    for start in range(0, row.size, _PAIRS):
        part = slice(start, start + _PAIRS)
        np.vecdot(probes[row[part]], shelf.rows[column[part]], out=dots[part])
    return dots * shelf.extents.inverse[column], estimate_error(probes.shape[1])


def _refine(
    probes: Float32,
    shelf: _Shelf,
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    floor: Float64,
    best: Float32,
) -> None:
    """Raise ``best`` by the pairs ``(row, column)``; each probe's best is ``floor`` at least."""
    about, slack = _about(probes, shelf, row, column)
    np.maximum.at(floor, row, about - slack)
    keep = np.flatnonzero((about + slack >= floor[row]) & (about + slack > best[row]))
    for start in range(0, keep.size, _PAIRS):
        chosen = keep[start : start + _PAIRS]
        exact = pair_scores(probes[row[chosen]], shelf.unit(column[chosen]))
        np.maximum.at(best, row[chosen], exact)
