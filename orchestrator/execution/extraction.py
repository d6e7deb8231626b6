"""extract on the boards of a pool: one leads, others help once they have shown equal features."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.cluster import host_actor
from orchestrator.errors import BoardError, TransientError
from orchestrator.events import Note
from orchestrator.execution.shared_extraction import Piece, SharedExtraction
from orchestrator.planning.graph import SHARED_FROM, Step
from orchestrator.stages import convert, images
from orchestrator.store.contention_lock import working_in
from orchestrator.store.features import FeatureWriter

if TYPE_CHECKING:
    from orchestrator.cluster.interfaces import Calls, Emits
    from orchestrator.fleet.boards.board import Artifact
    from orchestrator.preflight.planner import Plan
    from orchestrator.store.artifacts import Held

CHUNK = 32
# A simulator builds the model before it can execute it.
BUILD_S = 3600.0


class Unlike(BoardError):
    """A board makes other features than the rest of its pool."""


class Extracting:
    """The part of the executor that extracts. Thread-safe."""

    _plan: Plan
    _boards: Calls
    _reporter: Emits
    _stop: threading.Event
    _advanced: set[str]

    def __init__(self) -> None:
        self._shared: dict[str, tuple[SharedExtraction, dict[str, Any]]] = {}
        self._alike: set[tuple[str, str]] = set()

    def _extract(self, step: Step, key: str) -> Held:
        store = self._plan.store
        pictures = self._input(step, "images")
        held, _ = self._artifact(step)
        rows = self._count(pictures)
        dim = self._plan.models[step.extra["model"]].embedding_size
        part = store.part("extract", key)
        header = {"images": pictures.content, "artifact": held.content, "key": key}
        about: dict[str, Any] = {}
        pictures.verify(images.FILE)
        with FeatureWriter.open(part, rows, dim, "float32", header) as writer:
            # A simulator would build the model again for each piece.
            several = rows >= SHARED_FROM and step.executed_by != "simulator"
            shared = SharedExtraction(writer, part, rows, several=several)
            self._shared[step.id] = shared, about
            try:
                self._lead(step, shared, about)
            finally:
                shared.close()
                self._shared.pop(step.id, None)
            facts = writer.finish()
        provenance = self._provenance(step, about)
        if len(shared.brought) > 1:
            provenance["rows_by_board"] = shared.brought
        return store.commit(
            "extract",
            key,
            provenance=provenance,
            facts={"rows": rows, "dim": dim, "failed": facts["failed"]},
            # The bytes of the features are the content; how and when they came is not.
            apart=("journal.jsonl", "features.json"),
        )

    def _lead(self, step: Step, shared: SharedExtraction, about: dict[str, Any]) -> None:
        """Make rows until all are there; helpers may end what a lost leader cannot."""
        trouble: BaseException | None = None
        while True:
            if trouble is None:
                try:
                    self._make(step, step.board, shared, about)
                except BaseException as error:
                    trouble = error
            shared.wait(self._stop, lost=trouble is not None)
            if shared.over:
                return
            if trouble is not None:
                raise trouble
            if self._stop.is_set():
                raise TransientError("stopped")

    def help(self, step: Step, board: str) -> None:
        """Join an extraction that another board leads, to its end.

        Raises:
            Unlike: this board makes other features than the leader.
            FarmError: the board is lost; what it did not bring goes back.
        """
        found = self._shared.get(step.id)
        if found is None:
            return
        shared, about = found
        held, artifact = self._artifact(step)
        with (
            shared.helping(),
            working_in(self._plan.domains()[board], alone=False, stop=self._stop),
        ):
            for _ in self._boards.call(board, "deploy", artifact, held.read(convert.FILE)):
                pass
            if (held.content, board) not in self._alike:
                canary = shared.canary(self._stop)
                if canary is None:
                    return
                self._hold_against(step, board, artifact, *canary)
                self._alike.add((held.content, board))
            self._make(step, board, shared, about)

    def _hold_against(
        self, step: Step, board: str, artifact: Artifact, piece: Piece, want: NDArray[Any]
    ) -> None:
        got = np.zeros_like(want)
        for news in self._calls(step, board, artifact, piece):
            if isinstance(news, host_actor.Features):
                got[news.start : news.start + len(news.features)] = news.features
        if not np.array_equal(got, want):
            worst = float(np.abs(got - want).max())
            raise Unlike(
                f"{board}: makes other features than {step.board} of the same {len(want)} images "
                f"(largest difference {worst:.3g}), so it does not share {step.id}",
                "are driver, runtime and clocks of both boards the same? `farm boards show`",
            )

    def _make(
        self, step: Step, board: str, shared: SharedExtraction, about: dict[str, Any]
    ) -> None:
        _, artifact = self._artifact(step)
        with contextlib.closing(shared.pieces(board)) as pieces:
            for piece in pieces:
                for news in self._calls(step, board, artifact, piece):
                    if isinstance(news, host_actor.Features):
                        self._keep(step, board, shared, news)
                    elif not isinstance(news, host_actor.Progress):
                        self._heard(step, news, about, "images", board)

    def _calls(self, step: Step, board: str, artifact: Artifact, piece: Piece) -> Any:
        file = str(self._input(step, "images").file(images.FILE))
        works_s = BUILD_S if step.executed_by == "simulator" else 0.0
        images_ = host_actor.ImageFile(file, (piece,))
        return self._boards.call(board, "extract", artifact, images_, CHUNK, works_s=works_s)

    def _keep(
        self, step: Step, board: str, shared: SharedExtraction, news: host_actor.Features
    ) -> None:
        failed = np.zeros(len(news.features), bool)
        for row, reason in news.failed:
            failed[row - news.start] = True
            text = f"{step.id}: image {row} failed: {reason}"
            self._reporter.emit(Note(level="warning", board=board, message=text))
        done = shared.write(news.start, news.features, failed)
        self._advanced.add(step.id)
        self._progress(step, done, shared.total, "images")

    # What the executor has.

    def _input(self, step: Step, role: str) -> Held:
        raise NotImplementedError

    def _artifact(self, step: Step) -> tuple[Held, Artifact]:
        raise NotImplementedError

    def _count(self, pictures: Held) -> int:
        raise NotImplementedError

    def _provenance(self, step: Step, about: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def _heard(
        self, step: Step, news: Any, about: dict[str, Any], unit: str, board: str = ""
    ) -> None:
        raise NotImplementedError

    def _progress(self, step: Step, done: int, total: int, unit: str) -> None:
        raise NotImplementedError
