"""extract: features on the boards of a pool. One leads; others help once theirs are the same."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.cluster.interfaces import BoardMessage, ImageFile
from orchestrator.data.features import Features
from orchestrator.data.progress import Progress
from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.boards.deadlines import SIMULATOR_BUILD_S
from orchestrator.planning.stage_facts import SHARED_FROM, STAGE_FACTS
from orchestrator.stages import deployable, image_rows
from orchestrator.stages.shared_extraction import Piece, SharedExtraction
from orchestrator.stages.stage import Stage
from orchestrator.stages.work import About, Services, Work
from orchestrator.store.artifacts import Held
from orchestrator.store.contention_lock import working_in
from orchestrator.store.features import FeatureWriter

CHUNK = 32


class Unlike(BoardError):
    """A board makes other features than the rest of its pool."""


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
    with FeatureWriter.open(part, rows, dim, "float32", header) as writer:
        # A simulator would build the model again for each piece.
        several = rows >= SHARED_FROM and step.executed_by != "simulator"
        shared = SharedExtraction(writer, part, rows, several=several)
        with work.services.extractions.open_to_helpers(step.id, shared):
            _lead(work, shared, about)
        facts = writer.finish()
    provenance = work.provenance(about.to_json())
    if len(shared.brought) > 1:
        provenance["rows_by_board"] = shared.brought
    return store.commit(
        step.stage,
        work.key,
        provenance=provenance,
        facts={"rows": rows, "dim": dim, "failed": facts["failed"]},
        # The bytes of the features are the content; how and when they came is not.
        apart=("journal.jsonl", "features.json"),
    )


def _lead(work: Work, shared: SharedExtraction, about: About) -> None:
    """Make rows until all are there; helpers may end what a lost leader cannot."""
    trouble: BaseException | None = None
    stop = work.services.stop
    while True:
        if trouble is None:
            try:
                _make(work, work.step.board, shared, about)
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
    shared = services.extractions.led(work.step.id)
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
            _hold_against(work, board, *canary)
            services.extractions.alike(held.content, board)
        _make(work, board, shared, About())


def _hold_against(work: Work, board: str, piece: Piece, want: NDArray[np.float32]) -> None:
    got = np.zeros_like(want)
    for message in _calls(work, board, piece):
        if isinstance(message, Features):
            # The store has zeros where an image failed.
            got[message.start : message.stop] = np.where(message.failed[:, None], 0, message.rows)
    if not np.array_equal(got, want):
        worst = float(np.abs(got - want).max())
        step = work.step
        raise Unlike(
            f"{board}: makes other features than {step.board} of the same {len(want)} images "
            f"(largest difference {worst:.3g}), so it does not share {step.id}",
            "are driver, runtime and clocks of both boards the same? `farm boards show`",
        )


def _make(work: Work, board: str, shared: SharedExtraction, about: About) -> None:
    with contextlib.closing(shared.pieces(board)) as pieces:
        for piece in pieces:
            for message in _calls(work, board, piece):
                if isinstance(message, Features):
                    _keep(work, board, shared, message)
                elif not isinstance(message, Progress):  # what counts is what is on the disk
                    work.receive(message, about, "images", board)


def _calls(work: Work, board: str, piece: Piece) -> Iterator[BoardMessage]:
    _, artifact = work.artifact()
    images = ImageFile(str(work.input("images").file(image_rows.FILE)), (piece,))
    works_s = SIMULATOR_BUILD_S if work.step.executed_by == "simulator" else 0.0
    return work.services.boards.extract(board, artifact, images, CHUNK, works_s=works_s)


def _keep(work: Work, board: str, shared: SharedExtraction, block: Features) -> None:
    for position, reason in block.failures:
        work.warn(f": image {position} failed: {reason}", board)
    done = shared.keep(block)
    work.services.progressed.add(work.step.id)
    work.progress(done, shared.total, "images")


def summary(facts: Mapping[str, Any]) -> str:
    """How many features of how many numbers."""
    return f"{facts['rows']:,} x {facts['dim']}"


STAGE = Stage(STAGE_FACTS["extract"], ("artifact", "images"), run, summary)
