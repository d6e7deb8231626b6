"""Which pictures a report draws, and what each of their boxes is."""

from __future__ import annotations

import numpy as np

from orchestrator.detection import Detections, Truth, TruthSet
from orchestrator.reporting.analysis.worst_images import worst_images

FIRST, SECOND, SMALL = [10, 10, 50, 60], [100, 100, 150, 160], [200, 10, 208, 20]
NOWHERE = [10, 150, 60, 200]


def truth(*images: list[list[float]]) -> TruthSet:
    return TruthSet(
        tuple(
            Truth(
                f"{number}.png",
                (240, 320),
                np.array(boxes, np.float32).reshape(-1, 4),
                np.full((len(boxes), 5, 2), np.nan, np.float32),
                np.zeros(len(boxes), bool),
                {"hard": np.array([box != SMALL for box in boxes], bool)},
            )
            for number, boxes in enumerate(images)
        ),
        ("hard",),
    )


def found(*scored: tuple[list[float], float]) -> Detections:
    return Detections(
        np.array([box for box, _ in scored], np.float32).reshape(-1, 4),
        np.array([score for _, score in scored], np.float32),
    )


def kinds(boxes: object) -> list[str]:
    return [box.kind for box in boxes]  # type: ignore[attr-defined]


def test_pictures_come_by_their_errors_and_each_box_says_what_it_is() -> None:
    images = truth([FIRST], [FIRST, SECOND, SMALL], [], [SECOND])
    seen = [
        found((FIRST, 0.9)),  # no error
        found((NOWHERE, 0.3), (FIRST, 0.8), (SMALL, 0.7)),  # a face missed, a box made up
        found((NOWHERE, 0.9)),  # a box made up where nobody is
        found((SECOND, 0.2)),  # found, but below the threshold
    ]
    worst = worst_images(seen, images, "hard", 0.25, 9)
    assert [(w.name, w.missed, w.false) for w in worst] == [
        ("1.png", 1, 1),
        ("2.png", 0, 1),
        ("3.png", 1, 0),
    ]
    assert kinds(worst[0].boxes) == ["found", "missed", "ignored", "hit", "false"]
    assert worst[0].boxes[3].corners == tuple(map(float, FIRST))
    assert worst[0].boxes[4].corners == tuple(map(float, NOWHERE))
    assert kinds(worst[1].boxes) == ["false"]
    assert kinds(worst[2].boxes) == ["missed"]
    assert len(worst_images(seen, images, "hard", 0.25, 1)) == 1


def test_a_lower_threshold_finds_more() -> None:
    assert worst_images([found((SECOND, 0.2))], truth([SECOND]), "hard", 0.1, 9) == []
