"""Pieces of an extraction made on one board, and a board's features compared with those there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from orchestrator.cluster.interfaces import BoardMessage, ImageFile
from orchestrator.data.features import Features
from orchestrator.data.progress import Progress
from orchestrator.errors import BoardError
from orchestrator.fleet.boards.deadlines import SIMULATOR_BUILD_S
from orchestrator.stages import image_rows
from orchestrator.stages.shared_extraction import Piece, SharedExtraction
from orchestrator.stages.work import About, Work

CHUNK = 32


class Unlike(BoardError):
    """A board makes other features than the rest of its pool."""


def hold_against(work: Work, board: str, piece: Piece, want: NDArray[np.float32]) -> None:
    """See that a board makes the features `want` of a piece's images.

    Raises:
        Unlike: it makes others.
    """
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


def make_pieces(work: Work, board: str, shared: SharedExtraction, about: About) -> None:
    """Have a board make pieces until none are left to take.

    Args:
        work: of the step that leads the extraction.
    """
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
