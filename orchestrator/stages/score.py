"""score: features into the table's two accuracy columns."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.audit.sentences import shown_name
from orchestrator.data.features import Features
from orchestrator.data.progress import Progress
from orchestrator.errors import UserError
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages import image_rows
from orchestrator.stages.call_stream import following
from orchestrator.stages.search_tasks import Run, search_sharded, too_big
from orchestrator.stages.stage import Stage
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work
from orchestrator.store.features import read_features

if TYPE_CHECKING:
    from orchestrator.scoring import ScoringError, Searches

SEARCHES = "searches.npz"
REPORT_S = 0.5
PARTS_AT_A_TIME = 2


def run(work: Work) -> StageOutput:
    """Search in a Ray worker, or what is too big for one in many."""
    sources = tuple(_source(work, role) for role in ("gallery", "probe"))
    sides = sources[0].features(), sources[1].features()
    policy, compute = work.step.params["scoring"], work.services.compute
    news: Iterator[Progress | StageOutput]
    if too_big(*sides):
        news = score_in_parts(
            *sides, policy, lambda function, tasks: compute.each(function, tasks, PARTS_AT_A_TIME)
        )
    else:
        # Ray's head is on this machine: its worker maps the store's files, nothing is copied.
        news = compute.watch(score_stored, *sources, policy)
    output = None
    try:
        for heard in news:
            if isinstance(heard, Progress):
                work.progress(heard.done, heard.total, "pairs")
            else:
                output = heard
    except UnusableFeature as error:
        raise UserError(f"{error.message}: {_image(work, error)}", error.hint) from error
    assert output is not None
    return replace(output, facts={**output.facts, **_acquisition(output.facts, *sources)})


def _acquisition(
    facts: Mapping[str, Any], gallery: StoredSide, probes: StoredSide
) -> dict[str, Any]:
    """How many photos have no face, and a warning where some have none."""
    lost: dict[str, Any] = {
        "not_acquired": {"gallery": len(gallery.lost), "probe": len(probes.lost)}
    }
    if not gallery.lost and not probes.lost:
        return lost
    warning = (
        f"failures to acquire: the detector found no face in {len(gallery.lost)} of "
        f"{len(gallery.ids)} gallery photos and {len(probes.lost)} of {len(probes.ids)} probe "
        "photos; they count as misses"
    )
    return lost | {"warnings": [warning, *facts["warnings"]]}


@dataclass(frozen=True)
class StoredSide:
    """Gallery or probes in the store.

    Attributes:
        folder: of the feature file.
        ids: identities, one a row.
        lost: rows whose photo has no face.
    """

    folder: str
    ids: Sequence[str]
    lost: Sequence[int] = ()

    def features(self) -> Features:
        """The feature file, mapped; see `stored_features`."""
        return stored_features(Path(self.folder), self.ids, self.lost)


def _source(work: Work, role: str) -> StoredSide:
    images = work.input(f"{role}_images")
    ids = image_rows.read_rows(images.read(image_rows.ROWS))
    return StoredSide(str(work.input(role).folder), ids, image_rows.lost_rows(images))


class UnusableFeature(UserError):
    """A row of features that is zero or not finite.

    Attributes:
        role: `gallery` or `probe`.
        row: which of its images.
    """

    role = ""
    row = -1


def _image(work: Work, error: UnusableFeature) -> str:
    """The image behind a row of features."""
    plan, step = work.services.plan, work.step
    images = plan.graph.steps[step.inputs[f"{error.role}_images"]]
    return shown_name(plan.rows[images.extra["model"], error.role].names[error.row])


def refused(error: ScoringError) -> UserError:
    """A refusal of the scoring library as one of farm's exceptions."""
    from orchestrator.scoring import UnusableRow

    text = f"scoring: {error}"
    if not isinstance(error, UnusableRow):
        return UserError(text)
    found = UnusableFeature(text)
    found.role, found.row = ("gallery" if error.what == "gallery" else "probe"), error.row
    return found


def stored_features(folder: Path, ids: Sequence[str], lost: Sequence[int] = ()) -> Features:
    """A complete feature file of the store; integer features are dequantized.

    Args:
        folder: of the store's entry.
        ids: identities, one a row.
        lost: rows whose photo has no face; they have failed, whatever was computed of them.

    Raises:
        TransientError: not complete, or damaged since.
        UserError: integer features without their scale, or another number of identities.
    """
    rows, failed, header = read_features(folder)
    if rows.dtype != np.float32:
        rows = _as_float(folder, rows, header)
    if len(rows) != len(ids):
        raise UserError(f"{folder}: {len(rows)} feature rows for {len(ids)} identities")
    if lost:
        failed = failed.copy()
        failed[list(lost)] = True
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
        raise refused(error) from error
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
        raise refused(error) from error
    every = {far: plain(asdict(tar)) for far, tar in found.tar.items()}
    return {
        "rank1": plain(asdict(found.rank1)),
        "tar": every[policy["table_far"]],
        "tar_all": list(every.values()),
        "tpir_unknown": [plain(asdict(tar)) for tar in found.tpir_unknown.values()],
        "cmc": {str(rank): plain(asdict(e)) for rank, e in (found.cmc or {}).items()},
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
) -> StageOutput:
    """Search every probe in the gallery and work out the cell's figures.

    Args:
        gallery, probes: what the two encoders made.
        policy: the matrix's `scoring`.
        progress: called in this thread with (pairs done, pairs in all).
    """
    searches, warnings = search(gallery, probes, policy["fusion"], progress)
    return output_of(searches, policy, warnings)


def output_of(
    searches: Searches, policy: Mapping[str, Any], warnings: Sequence[str]
) -> StageOutput:
    """The step's output from its searches."""
    return StageOutput(
        {SEARCHES: saved(searches)},
        figures(searches, policy, warnings),
        {key: policy[key] for key in ("confidence", "seed", "bootstrap")},
    )


def score_stored(
    gallery_side: StoredSide, probe_side: StoredSide, policy: Mapping[str, Any]
) -> Iterator[Progress | StageOutput]:
    """Score the store's feature files, which are mapped and not copied; says how far it is."""
    gallery, probes = gallery_side.features(), probe_side.features()

    def work(say: Callable[[Progress], None]) -> StageOutput:
        said = time.monotonic()

        def progress(done: int, total: int) -> None:
            nonlocal said
            if time.monotonic() - said >= REPORT_S:
                said = time.monotonic()
                say(Progress(done, total))

        return score(gallery, probes, policy, progress)

    yield from following(work, "score")


def score_in_parts(
    gallery: Features, probes: Features, policy: Mapping[str, Any], run: Run
) -> Iterator[Progress | StageOutput]:
    """`score` for what is too big for one process; the same figures."""
    from orchestrator import scoring

    try:
        warnings = suspicions(gallery, probes)
    except scoring.ScoringError as error:
        raise refused(error) from error
    for heard in search_sharded(gallery, probes, policy["fusion"], run):
        if isinstance(heard, Progress):
            yield heard
        else:
            yield output_of(heard, policy, warnings)


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


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: both become null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }


def summary(facts: Mapping[str, Any]) -> str:
    """Rank-1 in percent."""
    return f"Rank-1 {100 * facts['rank1']['value']:.2f} %"


STAGE = Stage(
    STAGE_FACTS["score"], ("gallery", "probe", "gallery_images", "probe_images"), run, summary
)
