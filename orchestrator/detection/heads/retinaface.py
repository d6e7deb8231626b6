"""RetinaFace as biubug6/Pytorch_Retinaface exports it: one list of priors over three strides.

Source: Deng et al., "RetinaFace: Single-shot Multi-level Face Localisation in the Wild", 2020, and
that repository's data/config.py; see `priors.py`. Outputs: offsets (1, n, 4), softmaxed
probabilities of background and face (1, n, 2), point offsets (1, n, 10).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from orchestrator.detection.boxes import Detections, Floats
from orchestrator.detection.errors import DetectionError
from orchestrator.detection.heads import priors
from orchestrator.detection.heads.head import (
    DetectionHead,
    Output,
    Size,
    cells,
    probabilities,
    rows,
)

SIDES = {8: (16.0, 32.0), 16: (64.0, 128.0), 32: (256.0, 512.0)}


def recognize(outputs: Sequence[Output], size: Size) -> tuple[str, ...] | None:
    """Boxes, scores, points, by their shapes alone."""
    count = sum(int(np.prod(cells(size, stride))) * len(sides) for stride, sides in SIDES.items())
    by_width = {output.shape[-1:]: output for output in outputs}
    found = [by_width.get((width,)) for width in (4, 2, 10)]
    names = tuple(
        output.name
        for output, width in zip(found, (4, 2, 10), strict=True)
        if output is not None and output.size == count * width
    )
    return names if len(outputs) == len(names) == 3 else None


def decode(outputs: Sequence[Floats], size: Size, least: float) -> Detections:
    """See `DetectionHead.decode`."""
    if len(outputs) != 3:
        raise DetectionError(f"a RetinaFace head has 3 outputs, not {len(outputs)}")
    boxes = priors.prior_boxes(size, SIDES)
    count = len(boxes)
    scores = probabilities(rows(outputs[1], count, 2, "the scores"), "the scores")[:, 1]
    chosen = np.flatnonzero(scores >= least)
    mine = boxes[chosen]
    return Detections(
        priors.boxes_of(mine, rows(outputs[0], count, 4, "the boxes")[chosen]),
        scores[chosen],
        priors.points_of(mine, rows(outputs[2], count, 10, "the points")[chosen]),
    )


RETINAFACE = DetectionHead("retinaface", lambda outputs: True, recognize, decode)
