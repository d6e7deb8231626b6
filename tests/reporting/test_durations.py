"""Durations as people say them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.reporting.durations import between, duration


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (38, 42, "about 40 s"),
        (30, 70, "30–70 s"),
        (64, 78, "about 70 s"),
        (62, 170, "1–3 min"),
        (200, 500, "3–8 min"),
        (600, 700, "about 10 min"),
        (11_000, 11_800, "about 3 h 10 min"),
        (3_000, 4_200, "50 min – 1 h 10 min"),
        (90_000, 200_000, "1 day 1 h – 2 days 8 h"),
        (0.0, 0.4, "about 1 s"),
    ],
)
def test_ranges(low: float, high: float, said: str) -> None:
    assert between(low, high) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3599, "1 h"), (11_400, "3 h 10 min")],
)
def test_one_time(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_no_range_is_empty_or_turned(first: float, second: float) -> None:
    low, high = sorted((first, second))
    words = between(low, high)
    assert words.startswith("about ") or "–" in words
    start, _, end = words.partition("–")
    assert not end or start.strip() != end.strip()
