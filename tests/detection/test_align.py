"""The five-point alignment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.detection.align import SIZE, TEMPLATE, aligned, similarity
from orchestrator.detection.errors import DetectionError


@settings(max_examples=50)
@given(st.floats(0.1, 8), st.floats(-3, 3), st.floats(-300, 300), st.floats(-300, 300))
def test_a_turned_scaled_shifted_template_goes_back(scale, angle, x, y) -> None:
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity(TEMPLATE @ turn.T + [x, y], TEMPLATE)
    np.testing.assert_allclose(matrix[:, :2] @ turn, np.eye(2), atol=1e-9)
    np.testing.assert_allclose(matrix[:, :2] @ [x, y] + matrix[:, 2], 0, atol=1e-6)


def test_no_other_similarity_is_nearer() -> None:
    generator = np.random.default_rng(0)
    points = TEMPLATE + generator.normal(0, 4, (5, 2))
    best = similarity(points, TEMPLATE)

    def error(matrix: np.ndarray) -> float:
        return float(((points @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE) ** 2).sum())

    for _ in range(200):
        a, b, c, d = generator.normal(0, 0.02, 4)
        other = best + np.array([[a, -b, 10 * c], [b, a, 10 * d]])
        assert error(other) > error(best)


def test_an_aligned_face_stays_as_it_is() -> None:
    face = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(aligned(face, TEMPLATE), face)
    # Seen by a camera that is turned upside down, and at another place of a larger picture.
    photo = np.zeros((300, 400, 3), np.uint8)
    photo[50:162, 80:192] = face[::-1, ::-1]
    np.testing.assert_array_equal(aligned(photo, 111 - TEMPLATE + [80, 50]), face)


def test_beyond_the_image_it_is_black() -> None:
    white = np.full((60, 112, 3), 255, np.uint8)
    found = aligned(white, TEMPLATE)
    assert (found[:59] == 255).all()
    assert (found[61:] == 0).all()


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.full((5, 2), np.nan), "not known"),
        (np.ones((5, 2)), "in one place"),
        (np.ones((4, 2)), r"shape \(5, 2\), not \(4, 2\)"),
    ],
)
def test_points_that_cannot_be(points: np.ndarray, words: str) -> None:
    with pytest.raises(DetectionError, match=words):
        aligned(np.zeros((9, 9, 3), np.uint8), points)
