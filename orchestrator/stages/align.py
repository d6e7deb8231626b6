"""align: photos into aligned faces, by the raw outputs of a detector that ran on a board."""

from __future__ import annotations

from orchestrator.aligning.board_rows import BoardAlignedRows
from orchestrator.images.photos import LetterboxedRows
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages import image_rows, images
from orchestrator.stages.stage import Stage
from orchestrator.stages.work import Work
from orchestrator.store.artifacts import Held
from orchestrator.store.features import DATA


def run(work: Work) -> Held:
    """Decode, choose each photo's largest face and align it, in the run's helper processes."""
    step = work.step
    photos = work.services.plan.rows[step.extra["model"], step.extra["role"]]
    if not isinstance(photos, LetterboxedRows):
        raise TypeError(f"{step.id}: {photos} are no photos")
    outputs, shown = work.input("features"), work.input("photos")
    outputs.verify(DATA)
    rows = BoardAlignedRows(
        photos.photos,
        outputs.folder,
        step.params["detector"],
        step.params["min_score"],
        shown.verify(image_rows.FILE) if photos.whole else None,
    )
    about = {name: step.params[name] for name in ("photos", "min_score", "detector")}
    return images.make(work, rows, {"executed_by": step.executed_by, **about})


STAGE = Stage(STAGE_FACTS["align"], ("features", "photos"), run, images.summary)
