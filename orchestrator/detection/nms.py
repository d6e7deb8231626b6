"""Non-maximum suppression: of boxes that overlap, the one with the best score stays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.detection.boxes import Detections, overlaps

_BLOCK = 256


def suppressed(found: Detections, most_overlap: float) -> Detections:
    """The boxes that no better one overlaps by more than `most_overlap`, best score first.

    Greedy, as everywhere in the field; of equal scores the earlier one counts as better. Sides
    count both their end pixels (`boxes.overlaps`), as SCRFD and RetinaFace have it.

    Args:
        found: boxes in any order.
        most_overlap: intersection over union, 0 to 1, that two boxes may both have.
    """
    ordered = found.chosen(np.argsort(-found.scores, kind="stable"))
    alive = np.ones(len(ordered), bool)
    for start in range(0, len(ordered), _BLOCK):
        block = start + np.flatnonzero(alive[start : start + _BLOCK])
        if block.size == 0:
            continue
        later = start + np.flatnonzero(alive[start:])
        close = overlaps(ordered.boxes[block], ordered.boxes[later], inclusive=True) > most_overlap
        _suppress(block, later, close, alive)
    return ordered.chosen(np.flatnonzero(alive))


def _suppress(
    block: NDArray[np.intp],
    later: NDArray[np.intp],
    close: NDArray[np.bool_],
    alive: NDArray[np.bool_],
) -> None:
    for row, mine in enumerate(block):
        if alive[mine]:
            alive[later[close[row] & (later > mine)]] = False
