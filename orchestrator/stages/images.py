"""images: a test set's faces, rendered or decoded once on the head and kept as raw bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from orchestrator.counting import counted
from orchestrator.errors import TransientError
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages.image_rows import APART, LOST, Rows, make_images
from orchestrator.stages.stage import Stage
from orchestrator.stages.work import Work
from orchestrator.store.artifacts import Held


def run(work: Work) -> Held:
    """Make one role's images in the run's helper processes."""
    step = work.step
    rows = work.services.plan.rows[step.extra["model"], step.params["role"]]
    return make(work, rows, {"fingerprint": step.params["fingerprint"]})


def make(work: Work, rows: Rows, provenance: Mapping[str, Any]) -> Held:
    """Make a step's images in the run's helper processes, and store them.

    Args:
        rows: the images.
        provenance: what they come from.

    Raises:
        TransientError: the run is being stopped, or a helper process died.
    """
    step, services = work.step, work.services
    try:
        with services.rendering.processes() as pool:
            hashes = make_images(
                rows,
                work.store.part(step.stage, work.key),
                pool,
                lambda done: work.progress(done, len(rows), "images"),
                services.stop.is_set,
            )
    except InterruptedError:
        raise TransientError("stopped") from None
    except BrokenProcessPool as error:
        services.rendering.close()
        raise TransientError(f"{step.id}: a process that makes images died") from error
    return work.store.commit(
        step.stage,
        work.key,
        provenance={**work.origin, **provenance},
        facts={"count": len(rows), "lost": _lost(work)},
        hashes=hashes,
        apart=APART,
    )


def _lost(work: Work) -> int:
    """Photos in which no face was found."""
    path = work.store.part(work.step.stage, work.key) / LOST
    return len(json.loads(path.read_bytes())) if path.exists() else 0


def summary(facts: Mapping[str, Any]) -> str:
    """How many, and in how many photos there is no face."""
    lost = facts.get("lost", 0)
    return f"{facts['count']:,} images" + (f", no face in {counted(lost, 'photo')}" if lost else "")


STAGE = Stage(STAGE_FACTS["images"], (), run, summary)
