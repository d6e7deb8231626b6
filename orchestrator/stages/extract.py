"""extract: features on the boards of a pool. One leads; others help once theirs are the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import TransientError
from orchestrator.planning.stage_facts import SHARED_FROM, STAGE_FACTS
from orchestrator.stages import deployable, image_rows, same_features
from orchestrator.stages.extracting import hold_against, make_pieces
from orchestrator.stages.shared_extraction import SharedExtraction
from orchestrator.stages.stage import Stage
from orchestrator.stages.work import About, Services, Work
from orchestrator.store.artifacts import Held
from orchestrator.store.contention_lock import working_in
from orchestrator.store.features import FeatureWriter


def run(work: Work) -> Held:
    """Make all rows; what an earlier attempt left is kept."""
    step, store = work.step, work.store
    pictures = work.input("images")
    held, _ = work.artifact()
    rows = image_rows.count(pictures)
    dim = work.services.plan.models[step.extra["model"]].row_size
    part = store.part(step.stage, work.key)
    header = {"images": pictures.content, "artifact": held.content, "key": work.key}
    about = About()
    pictures.verify(image_rows.FILE)
    same = same_features.name_of(work, step)
    with work.services.extractions.of_same(same, step) as first:
        with FeatureWriter.open(part, rows, dim, "float32", header) as writer:
            taken = same_features.take(work, same, first, writer, about)
            brought = taken.brought if taken else _make_all(work, writer, part, rows, about)
            facts = writer.finish()
        provenance = work.provenance(about.to_json())
        if taken is not None:
            provenance["same_features_as"] = taken.step
        if len(brought) > 1 or taken is not None:
            provenance["rows_by_board"] = brought
        return store.commit(
            step.stage,
            work.key,
            provenance=provenance,
            facts={"rows": rows, "dim": dim, "failed": facts["failed"]},
            # The bytes of the features are the content; how and when they came is not.
            apart=("journal.jsonl", "features.json"),
        )


def _make_all(
    work: Work, writer: FeatureWriter, part: Path, rows: int, about: About
) -> dict[str, int]:
    """Make what is missing; rows by board."""
    # A simulator would build the model again for each piece.
    several = rows >= SHARED_FROM and work.step.executed_by != "simulator"
    shared = SharedExtraction(writer, part, rows, several=several)
    with work.services.extractions.open_to_helpers(work.step.id, shared):
        _lead(work, shared, about)
    return shared.brought


def _lead(work: Work, shared: SharedExtraction, about: About) -> None:
    """Make rows until all are there; helpers may end what a lost leader cannot."""
    trouble: BaseException | None = None
    stop = work.services.stop
    while True:
        if trouble is None:
            try:
                make_pieces(work, work.step.board, shared, about)
            except BaseException as error:
                trouble = error
        shared.wait(stop, lost=trouble is not None)
        if shared.over:
            return
        if trouble is not None:
            raise trouble
        if stop.is_set():
            raise TransientError("stopped")


def help_with(work: Work, board: str) -> None:
    """Join an extraction that another board leads, to its end.

    Raises:
        Unlike: this board makes other features than the leader.
        FarmError: the board is lost; what it did not bring goes back.
    """
    services: Services = work.services
    shared = services.extractions.await_led(work.step.id, services.stop)
    if shared is None:
        return
    held, artifact = work.artifact()
    domain = services.plan.domains()[board]
    with shared.helping(), working_in(domain, alone=False, stop=services.stop):
        for _ in services.boards.deploy(board, artifact, held.read(deployable.FILE)):
            pass
        if not services.extractions.is_alike(held.content, board):
            canary = shared.canary(services.stop)
            if canary is None:
                return
            hold_against(work, board, *canary)
            services.extractions.alike(held.content, board)
        make_pieces(work, board, shared, About())


def summary(facts: Mapping[str, Any]) -> str:
    """How many features of how many numbers."""
    return f"{facts['rows']:,} x {facts['dim']}"


STAGE = Stage(STAGE_FACTS["extract"], ("artifact", "images"), run, summary)
