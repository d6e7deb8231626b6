"""Frames follow each other evenly, and none comes after the end."""

from __future__ import annotations

import io
import sys
import threading

import pytest
from rich.console import Console

from orchestrator.events import PlanChanged, RunStarted, StepInfo
from orchestrator.reporting.live.console import View
from orchestrator.reporting.live.frames import EVERY_S, REST_S, Frames, pause_s

from .made import T0


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


def test_a_frame_is_drawn_of_one_moment_while_events_come() -> None:
    first = tuple(StepInfo(id=f"deploy/b{number}", stage="deploy") for number in range(500))
    named = dict(matrix="m", inventory="i", matrix_sha256="0", cells=(), boards=())
    view = View(Console(file=io.StringIO(), force_terminal=True, width=80, height=24))
    view.show(RunStarted(at=T0, run="r", farm="0", steps=first, **named))
    failures: list[BaseException] = []
    ended = threading.Event()

    def draw() -> None:
        try:
            while not ended.is_set():
                view._draw()
        except BaseException as error:
            failures.append(error)

    drawing = threading.Thread(target=draw)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        drawing.start()
        for turn in range(600):
            new = (StepInfo(id=f"extract/b{turn}", stage="extract"),)
            gone = (f"extract/b{turn - 1}",)
            view.show(PlanChanged(at=T0, steps=new, partial=True, gone=gone))
    finally:
        ended.set()
        drawing.join()
        sys.setswitchinterval(before)
    assert not failures
