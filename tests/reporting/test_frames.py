"""Frames follow each other evenly, and none comes after the end."""

from __future__ import annotations

import threading

import pytest

from orchestrator.reporting.live.frames import EVERY_S, REST_S, Frames, pause_s


@pytest.mark.parametrize("took_s", [0.0, 0.04, EVERY_S, 0.5])
def test_a_slow_frame_puts_off_the_next_by_no_more_than_itself(took_s: float) -> None:
    apart = took_s + pause_s(took_s)
    assert apart == pytest.approx(max(EVERY_S, took_s + REST_S))


def test_no_frame_is_drawn_after_the_end() -> None:
    drawn, third = [], threading.Event()

    def draw() -> None:
        drawn.append(1)
        if len(drawn) == 3:
            third.set()

    frames = Frames(draw)
    frames.start()
    assert third.wait(60)
    frames.stop()
    assert not frames.is_alive()
