"""score and compare: features into the table's two accuracy columns, and which drops are real."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UserError
from orchestrator.stages.call_stream import following
from orchestrator.stages.stage_output import Made
from orchestrator.store.features import read_features

if TYPE_CHECKING:
    from orchestrator.scoring import Searches

SEARCHES = "searches.npz"
TEST = "McNemar, exact"
REPORT_S = 0.5


@dataclass(frozen=True)
class Scanned:
    """How many gallery × probe pairs are done."""

    done: int
    total: int


@dataclass(frozen=True, eq=False)
class Features:
    """What one encoder made of one role's images.

    Attributes:
        rows: float32 (n, dim); memory-mapped where it is kept as float32.
        failed: bool (n,), rows without features; they count as misses.
        ids: identities, one a row.
    """

    rows: NDArray[np.float32]
    failed: NDArray[np.bool_]
    ids: Sequence[str]


def kept(folder: Path, ids: Sequence[str]) -> Features:
    """A complete feature file of the store; integer features are dequantized.

    Raises:
        TransientError: not complete, or damaged since.
        UserError: integer features without their scale, or another number of identities.
    """
    rows, failed, header = read_features(folder)
    if rows.dtype != np.float32:
        rows = _as_float(folder, rows, header)
    if len(rows) != len(ids):
        raise UserError(f"{folder}: {len(rows)} feature rows for {len(ids)} identities")
    return Features(rows, failed, ids)


def _as_float(folder: Path, rows: NDArray[Any], header: Mapping[str, Any]) -> NDArray[np.float32]:
    from orchestrator.scoring import dequantize

    if rows.dtype == np.float16:
        return np.asarray(rows, np.float32)
    if "scale" not in header or "zero_point" not in header:
        raise UserError(f"{folder}: {rows.dtype} features without scale and zero point")
    return dequantize(np.asarray(rows), header["scale"], header["zero_point"])


def search(
    gallery: Features,
    probes: Features,
    fusion: Literal["mean", "max"],
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Searches, list[str]]:
    """Search every probe in the gallery.

    Returns:
        The searches, and warnings about the features.

    Raises:
        UserError: features that cannot be scored, with set, row and identity.
    """
    from orchestrator import scoring

    try:
        trials = scoring.TrialSet(np.array(gallery.ids), np.array(probes.ids))
        warnings = suspicions(gallery, probes)
        searches = scoring.search(
            gallery.rows,
            probes.rows,
            trials,
            fusion=fusion,
            failed_gallery=gallery.failed,
            failed_probes=probes.failed,
            progress=progress,
        )
    except scoring.ScoringError as error:
        raise UserError(f"scoring: {error}") from error
    return searches, warnings


def suspicions(gallery: Features, probes: Features) -> list[str]:
    """What is suspect about the features, before they are searched.

    Raises:
        ScoringError: a row that cannot be used, with set, row and identity.
    """
    from orchestrator import scoring

    return [
        finding.message
        for what, side in (("gallery", gallery), ("probes", probes))
        for finding in scoring.check_features(
            side.rows, what=what, ids=np.array(side.ids), failed=side.failed
        )
    ]


def figures(
    searches: Searches, policy: Mapping[str, Any], warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """A cell's figures as plain JSON; needs no features.

    Args:
        searches: of one gallery.
        policy: the matrix's `scoring`.
        warnings: about the features.
    """
    from orchestrator import scoring

    try:
        found = scoring.identify(
            searches,
            far=tuple(policy["far"]),
            confidence=policy["confidence"],
            seed=policy["seed"],
            bootstrap=policy["bootstrap"],
        )
    except scoring.ScoringError as error:
        raise UserError(f"scoring: {error}") from error
    every = {far: _plain(asdict(tar)) for far, tar in found.tar.items()}
    return {
        "rank1": _plain(asdict(found.rank1)),
        "tar": every[policy["table_far"]],
        "tar_all": list(every.values()),
        "tpir_unknown": [_plain(asdict(tar)) for tar in found.tpir_unknown.values()],
        "cmc": {str(rank): _plain(asdict(e)) for rank, e in (found.cmc or {}).items()},
        "det": {
            "far": found.det.far.tolist(),
            "miss": found.det.miss.tolist(),
        },
        "gallery": found.gallery_size,
        "probes": int(searches.mate.size),
        "mated": found.mated,
        "unknown": found.unknown,
        "failed": found.failed + found.gallery_failed,
        "near_ties": found.near_ties,
        "warnings": list(warnings),
    }


def score(
    gallery: Features,
    probes: Features,
    policy: Mapping[str, Any],
    progress: Callable[[int, int], None] | None = None,
) -> Made:
    """Search every probe in the gallery and work out the cell's figures.

    Args:
        gallery, probes: what the two encoders made.
        policy: the matrix's `scoring`.
        progress: called in this thread with (pairs done, pairs in all).
    """
    searches, warnings = search(gallery, probes, policy["fusion"], progress)
    return made(searches, policy, warnings)


def made(searches: Searches, policy: Mapping[str, Any], warnings: Sequence[str]) -> Made:
    """The step's output from its searches."""
    return Made(
        {SEARCHES: saved(searches)},
        figures(searches, policy, warnings),
        {key: policy[key] for key in ("confidence", "seed", "bootstrap")},
    )


def score_kept(
    gallery_folder: str,
    probe_folder: str,
    gallery_ids: Sequence[str],
    probe_ids: Sequence[str],
    policy: Mapping[str, Any],
) -> Iterator[Scanned | Made]:
    """Score the store's feature files, which are mapped and not copied; says how far it is."""
    gallery, probes = (
        kept(Path(folder), ids)
        for folder, ids in ((gallery_folder, gallery_ids), (probe_folder, probe_ids))
    )

    def work(say: Callable[[Scanned], None]) -> Made:
        said = time.monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said >= REPORT_S:
                said = time.monotonic()
                say(Scanned(done, total))

        return score(gallery, probes, policy, progress)

    yield from following(work, "score")


def compare(reference: bytes, cell: bytes, policy: Mapping[str, Any]) -> Made:
    """A row's searches against those of the float32 reference over the same probes.

    Args:
        reference, cell: files that `score` made.
        policy: the matrix's `scoring`.
    """
    return Made({}, difference(loaded(reference), loaded(cell), policy), {"test": TEST})


def difference(reference: Searches, cell: Searches, policy: Mapping[str, Any]) -> dict[str, Any]:
    """What `compare` finds, as plain JSON."""
    from orchestrator import scoring

    far = policy["table_far"]
    found = scoring.compare(
        reference,
        cell,
        far=(far,),
        confidence=policy["confidence"],
        seed=policy["seed"],
        bootstrap=policy["bootstrap"],
    )
    return {
        "rank1": _plain(asdict(found.rank1_difference)),
        "tar": _plain(asdict(found.tar_difference[far])),
        "only_reference": found.lost,
        "only_cell": found.gained,
        "p": found.p_value,
    }


def saved(searches: Searches) -> bytes:
    """The bytes of a file of searches."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SEARCHES
        searches.save(path)
        return path.read_bytes()


def loaded(data: bytes) -> Searches:
    """The searches that `saved` wrote."""
    from orchestrator import scoring

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / SEARCHES
        path.write_bytes(data)
        return scoring.Searches.load(path)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: both become null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
