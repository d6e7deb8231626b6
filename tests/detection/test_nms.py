"""Non-maximum suppression against a literal one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.detection.boxes import Detections
from orchestrator.detection.nms import suppressed


def literal(boxes: list[list[float]], scores: list[float], most: float) -> list[int]:
    """One box after the other, as it is told."""
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    stay: list[int] = []
    for i in order:
        x1, y1, x2, y2 = boxes[i]
        for j in stay:
            a1, b1, a2, b2 = boxes[j]
            w, h = min(x2, a2) - max(x1, a1), min(y2, b2) - max(y1, b1)
            inter = (w + 1) * (h + 1) if w > 0 and h > 0 else 0
            mine, theirs = (x2 - x1 + 1) * (y2 - y1 + 1), (a2 - a1 + 1) * (b2 - b1 + 1)
            if inter / (mine + theirs - inter) > most:
                break
        else:
            stay.append(i)
    return stay


numbers = st.integers(0, 40)
box = st.tuples(numbers, numbers, st.integers(1, 20), st.integers(1, 20))
some = st.lists(st.tuples(box, st.integers(0, 5)), max_size=30)


@settings(max_examples=60)
@given(some, st.sampled_from([0.0, 0.3, 0.4, 0.7, 1.0]))
def test_it_leaves_what_the_literal_one_leaves(cases, most) -> None:
    boxes = [[x, y, x + w, y + h] for (x, y, w, h), _ in cases]
    scores = [score / 5 for _, score in cases]
    stay = literal(boxes, scores, most)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    found = suppressed(Detections(array, np.array(scores, np.float32)), most)
    np.testing.assert_array_equal(found.boxes, array[stay])


def test_many_boxes_over_several_blocks() -> None:
    generator = np.random.default_rng(0)
    corner, side = generator.uniform(0, 300, (900, 2)), generator.uniform(5, 60, (900, 2))
    boxes = np.concatenate([corner, corner + side], 1).astype(np.float32)
    scores = generator.uniform(size=900).astype(np.float32)
    stay = literal(boxes.tolist(), scores.tolist(), 0.4)
    np.testing.assert_array_equal(suppressed(Detections(boxes, scores), 0.4).boxes, boxes[stay])
