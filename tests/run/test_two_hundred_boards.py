"""A fleet of hundreds on one host: the benchmark's run, held to what a busy machine can promise."""

from __future__ import annotations

import pytest

from benchmarks import fleet
from benchmarks._light_boards import project

BOARDS = 200


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_two_hundred_boards_all_work_and_the_host_stays_small() -> None:
    with project(BOARDS) as run:
        figures, _, _ = fleet.whole_run(run, 500)
        # Which board did what: one thing at a time, and each step once.
        working: dict[str, str] = {}
        ended: set[str] = set()
        for event in run.events():
            if event.event == "step_started" and event.board:
                assert event.board not in working, event
                working[event.board] = event.step
            elif event.event == "step_finished":
                assert event.step not in ended
                ended.add(event.step)
                working.pop(event.board, None)
            elif event.event == "step_failed":  # a busy host: it is tried again
                working.pop(event.board, None)
    assert figures["exit_code"] == 0, figures
    assert figures["rows"] == figures["boards_worked"] == BOARDS
    assert figures["memory_mb"] <= 1.2 * fleet.MEMORY_MB, figures["memory_by_kind_mb"]
    assert figures["board_stood_max_s"] < 30
    # What a plan tells again is what changed: a list of all steps for each board was 40 MB.
    assert figures["events_mb"] < 8
