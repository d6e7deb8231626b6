"""One search cut into tasks: gallery shards x blocks of probes, merged to the bit.

Above one machine's memory or patience the score step runs so; each task gets its own rows and may
run on any Ray node. The mate scores are worked out first, so that every shard counts its part of
the ranks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.features import Features
from orchestrator.data.progress import Progress
from orchestrator.errors import UserError

if TYPE_CHECKING:
    from orchestrator.scoring import Searches

WHOLE_BYTES = 2 << 30
WHOLE_PAIRS = 20_000_000_000
"""Up to these sizes one process searches alone: 2 GiB of features, 140,000 x 140,000."""

PART_BYTES = 96 << 20
"""Features of one task's gallery shard, and of its probes: Ray's object store holds 512 MiB."""


@dataclass(frozen=True)
class Task:
    """A shard of the gallery against a block of probes; everything that `search_task` needs."""

    block: int
    gallery: NDArray[np.float32]
    probes: NDArray[np.float32]
    gallery_failed: NDArray[np.bool_]
    probes_failed: NDArray[np.bool_]
    gallery_ids: tuple[str, ...]
    probe_ids: tuple[str, ...]
    known_mate: NDArray[np.float32]
    fusion: str

    @property
    def pairs(self) -> int:
        """Gallery rows x probes."""
        return len(self.gallery) * len(self.probes)


Run = Callable[[Callable[[Task], Any], Iterable[Task]], Iterator[tuple[Task, Any]]]
"""Calls a function on every task, a few at a time, and yields task and result as they come."""


def too_big(gallery: Features, probes: Features) -> bool:
    """Whether one process should not search this alone."""
    size = gallery.rows.nbytes + probes.rows.nbytes
    pairs = len(gallery.rows) * len(probes.rows)
    return size > WHOLE_BYTES or pairs > WHOLE_PAIRS


def search_task(task: Task) -> Searches | None:
    """Search one task, on whatever machine it lies; None when all its gallery images failed.

    Raises:
        UserError: features that cannot be scored; row numbers are those within the task.
    """
    from orchestrator import scoring

    if task.gallery_failed.all():
        return None
    trials = scoring.TrialSet(np.array(task.gallery_ids), np.array(task.probe_ids))
    try:
        return scoring.search_shard(
            task.gallery,
            task.probes,
            trials,
            np.arange(len(task.gallery)),
            failed_gallery=task.gallery_failed,
            failed_probes=task.probes_failed,
            known_mate=task.known_mate,
            fusion=task.fusion,
        )
    except scoring.ScoringError as error:
        raise UserError(f"scoring: {error}") from error


def search_sharded(
    gallery: Features,
    probes: Features,
    fusion: str,
    run: Run,
    *,
    part_bytes: int = PART_BYTES,
) -> Iterator[Progress | Searches]:
    """Search in parts; says how far it is, and yields the searches last.

    Equal to the bit to `search` over the whole, for every size of the parts.

    Args:
        gallery, probes: memory-mapped where they are big: only a few parts are copied at a time.
        fusion: how several gallery images of an identity are joined.
        run: where the tasks run.
        part_bytes: of a task's gallery shard, and of its probes.

    Raises:
        UserError: features that cannot be scored.
    """
    from orchestrator import scoring

    row_bytes = gallery.rows.shape[1] * 4
    try:
        trials = scoring.TrialSet(np.array(gallery.ids), np.array(probes.ids))
        known = scoring.mates(
            gallery.rows,
            probes.rows,
            trials,
            fusion=fusion,  # type: ignore[arg-type]
            failed_gallery=gallery.failed,
            failed_probes=probes.failed,
        )
        shards = scoring.cut_gallery(
            trials, max(1, math.ceil(len(gallery.rows) * row_bytes / part_bytes))
        )
    except scoring.ScoringError as error:
        raise UserError(f"scoring: {error}") from error
    spans = _spans(len(probes.rows), max(1, math.ceil(len(probes.rows) * row_bytes / part_bytes)))
    total, done = len(gallery.rows) * len(probes.rows), 0
    parts: dict[int, list[Searches | None]] = {number: [] for number in range(len(spans))}
    for task, found in run(search_task, _tasks(gallery, probes, shards, spans, known, fusion)):
        parts[task.block].append(found)
        done += task.pairs
        yield Progress(done, total)
    merged = []
    try:
        for number, span in enumerate(spans):
            part = scoring.TrialSet(trials.gallery_ids, trials.probe_ids[span])
            merged.append(scoring.merge_shards(part, parts[number]))
        yield scoring.join_probes(trials, merged)
    except scoring.ScoringError as error:
        raise UserError(f"scoring: {error}") from error


def _spans(count: int, blocks: int) -> list[slice]:
    """Rows cut into about equal blocks, none empty."""
    edges = np.linspace(0, count, blocks + 1).astype(int)
    return [slice(int(low), int(high)) for low, high in pairwise(edges) if high > low]


def _tasks(
    gallery: Features,
    probes: Features,
    shards: Sequence[NDArray[np.intp]],
    spans: Sequence[slice],
    known: NDArray[np.float32],
    fusion: str,
) -> Iterator[Task]:
    """Every shard against every block; rows are copied only as their task is asked for."""
    for number, span in enumerate(spans):
        searched = np.array(probes.rows[span])
        for rows in shards:
            yield Task(
                number,
                np.array(gallery.rows[rows]),
                searched,
                gallery.failed[rows],
                probes.failed[span],
                tuple(gallery.ids[row] for row in rows),
                tuple(probes.ids[span]),
                known[span],
                fusion,
            )
