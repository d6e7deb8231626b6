"""When a run tries a board again, and when it goes on without it: on the test's own clock."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import BoardError, TransientError, UserError
from orchestrator.fleet.boards.board import BoardBusy
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.fleet.transport.deadline import ENVIRONMENT
from orchestrator.planning.graph import Graph
from orchestrator.planning.resolving import Resolution
from orchestrator.scheduling.core.boards import ATTEMPTS, CONNECTING_S, LONGEST_WAIT_S, BoardTable
from orchestrator.scheduling.core.messages import (
    BoardProfile,
    Connect,
    Failure,
    GiveUp,
    PlanView,
    Reason,
    Recover,
    Release,
    ReportWaiting,
    ResolvePlan,
    Why,
)
from orchestrator.scheduling.core.states import BoardState, InvalidTransition
from orchestrator.scheduling.error_labels import failure_of

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Deadlines(queue_s=600.0, lost_s=120.0)
SILENT = failure_of(TransientError("b: no answer"))
BUSY = failure_of(BoardBusy("b is in use by ann@lab"))


def misses(boards: BoardTable, failure: Failure, now: float) -> bool:
    """Fail to connect; returns whether another attempt follows."""
    done = boards.connect_failed("b", failure, now)
    given_up = any(isinstance(each, (GiveUp, Recover)) for each in done)
    assert given_up == (boards.state("b") in (BoardState.BROKEN, BoardState.RECOVERING))
    return not given_up


def pursue(boards: BoardTable, failure: Failure, now: float) -> tuple[float, int]:
    """Fail to connect until the board is given up; when that was and after how many attempts."""
    tries = 0
    while True:
        while not boards.due("b", now):
            now += 0.5
        boards.connecting("b", now)
        now += 0.1
        tries += 1
        if not misses(boards, failure, now):
            return now, tries


def connected(boards: BoardTable, now: float = 0.0) -> BoardTable:
    boards.connecting("b", now)
    boards.reached("b")
    return boards


def test_a_board_never_connected_is_tried_a_few_times() -> None:
    boards = BoardTable(LIMITS)
    ended, tries = pursue(boards, SILENT, 0.0)
    assert tries == ATTEMPTS
    assert ended < 10
    assert boards.error("b") is SILENT.error
    assert not boards.due("b", 1e6)


def test_a_board_that_was_lost_is_tried_as_long_as_said() -> None:
    boards = connected(BoardTable(LIMITS))
    boards.lost("b")
    ended, tries = pursue(boards, SILENT, 1000.0)
    assert LIMITS.lost_s - LONGEST_WAIT_S <= ended - 1000.0 <= LIMITS.lost_s
    assert tries > ATTEMPTS
    error = boards.error("b")
    assert isinstance(error, TransientError)
    assert "given up after" in error.message
    assert "lost_s" in error.hint


def test_queueing_never_counts_as_failing_and_names_who_has_the_board() -> None:
    boards = BoardTable(LIMITS)
    ended, tries = pursue(boards, BUSY, 0.0)
    assert LIMITS.queue_s - LONGEST_WAIT_S <= ended <= LIMITS.queue_s
    assert tries > 10 * ATTEMPTS
    error = boards.error("b")
    assert error is not None
    assert "ann@lab" in error.message
    assert "queue_s" in error.hint


def test_who_queues_looks_whether_the_other_run_made_what_is_wanted() -> None:
    boards = BoardTable(LIMITS)
    boards.connecting("b", 0.0)
    found = boards.connect_failed("b", BUSY, 1.0)
    assert ResolvePlan() in found
    assert ReportWaiting(("b",), Reason(Why.BOARD, "b is in use by ann@lab")) in found
    boards.connecting("b", 2.0)
    assert ResolvePlan() not in boards.connect_failed("b", SILENT, 3.0)


def test_after_a_queue_a_board_has_all_its_attempts() -> None:
    boards = BoardTable(LIMITS)
    boards.connecting("b", 0.0)
    assert misses(boards, BUSY, 1.0)
    now = 500.0
    for _ in range(ATTEMPTS - 1):
        boards.connecting("b", now)
        assert misses(boards, SILENT, now)
        now += 10
    boards.connecting("b", now)
    assert not misses(boards, SILENT, now)


@pytest.mark.parametrize("error", [BoardError("b: host key changed"), UserError("b: refused")])
def test_what_trying_cannot_mend_takes_the_board_out_at_once(
    error: BoardError | UserError,
) -> None:
    boards = connected(BoardTable(LIMITS))
    boards.lost("b")
    boards.connecting("b", 1.0)
    assert not misses(boards, failure_of(error), 1.0)
    assert boards.error("b") is error
    assert not boards.due("b", 1e9)


def test_steps_failing_in_a_row_set_a_board_aside_and_a_success_between_does_not() -> None:
    boards = BoardTable(LIMITS)
    boards.step_failed("b", SILENT.error)
    boards.step_done("b")
    boards.step_failed("b", SILENT.error)
    assert boards.error("b") is None
    boards.step_failed("b", SILENT.error)
    assert isinstance(boards.error("b"), BoardError)


def test_each_rung_is_tried_once_until_the_board_works_again() -> None:
    boards = BoardTable(LIMITS)
    profile = BoardProfile("b", ("reboot", "power"), 40.0)
    boards.take_plan(PlanView(Graph({}, {}), Resolution(), {"b": profile}))
    connected(boards)
    error = BoardError("b: hangs")
    first = boards.recover("b", error)
    assert first is not None
    assert first.rung == "reboot"
    boards.recovered("b", 10.0)
    assert not boards.due("b", 13.9)  # it still answers for a moment
    assert boards.due("b", 14.0)
    ended, _ = pursue(boards, SILENT, 14.0)
    assert 14.0 + 40.0 - LONGEST_WAIT_S <= ended <= 14.0 + 40.0
    assert boards.state("b") is BoardState.RECOVERING  # the other rung
    given_up = boards.recovery_failed("b", error)
    assert given_up == GiveUp("b", error)
    assert boards.recover("b", error) is None


def test_few_are_connected_at_a_time_and_a_slow_one_keeps_nobody_waiting() -> None:
    boards = BoardTable(LIMITS, connections=2)
    names = [f"b{i}" for i in range(5)]
    profiles = {name: BoardProfile(name) for name in names}
    boards.take_plan(PlanView(Graph({}, {}), Resolution(), profiles))
    assert boards.reach(names, 0.0) == [Connect("b0", False), Connect("b1", False)]
    assert boards.reach(names, 1.0) == []
    boards.reached("b1")
    assert boards.reach(names, 1.0) == [Connect("b2", False)]
    assert boards.reach(names, CONNECTING_S) == [Connect("b3", False)]
    assert boards.reach({"b0"}, CONNECTING_S) == [Release("b1")]


def test_the_first_boards_to_come_keep_this_host_busy_until_one_is_held_or_they_take_long() -> None:
    boards = BoardTable(LIMITS)
    assert not boards.first_to_come(0.0)
    boards.connecting("a", 0.0)
    assert boards.first_to_come(CONNECTING_S - 0.1)
    assert not boards.first_to_come(CONNECTING_S)  # it waits for its board
    boards.connecting("b", CONNECTING_S)
    assert boards.first_to_come(CONNECTING_S)
    boards.reached("b")
    boards.connecting("c", CONNECTING_S)
    assert not boards.first_to_come(CONNECTING_S)
    boards.lost("b")
    assert not boards.first_to_come(CONNECTING_S)  # it is not the first any more


def test_an_illegal_transition_tells_the_boards_story() -> None:
    boards = connected(BoardTable(LIMITS))
    with pytest.raises(InvalidTransition) as raised:
        boards.reached("b")
    assert str(raised.value) == (
        "board b: connected -> connected is not legal (legal: away, broken, recovering); its "
        "story: away -> connecting (attempt 1) -> connected"
    )


@given(
    st.lists(
        st.tuples(st.sampled_from(["busy", "silent", "bad", "met", "lost"]), st.floats(0.1, 30)),
        min_size=1,
        max_size=200,
    )
)
def test_whatever_happens_no_wait_is_longer_than_the_longest(
    happenings: list[tuple[str, float]],
) -> None:
    boards, now = BoardTable(LIMITS), 0.0
    for what, after in happenings:
        now += after
        if boards.error("b") is not None:
            assert not boards.due("b", now)
            continue
        if boards.connected("b"):
            boards.lost("b")
            continue
        assert boards.due("b", now + LONGEST_WAIT_S)
        boards.connecting("b", now)
        if what == "met":
            boards.reached("b")
        else:
            failures = {"busy": BUSY, "bad": failure_of(BoardError("b: bad"))}
            boards.connect_failed("b", failures.get(what, SILENT), now)


def test_deadlines_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert Deadlines.from_environment() == Deadlines()
    monkeypatch.setenv(ENVIRONMENT, '{"silence_s": 3, "queue_s": 7.5}')
    assert Deadlines.from_environment() == Deadlines(silence_s=3.0, queue_s=7.5)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        '{"silense_s": 3}',
        '{"silence_s": 0}',
        '{"silence_s": "3"}',
        '{"silence_s": NaN}',
        '{"silence_s": true}',
        '{"silence_s": null}',
    ],
)
def test_wrong_deadlines_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(ENVIRONMENT, text)
    with pytest.raises(UserError, match=ENVIRONMENT):
        Deadlines.from_environment()


def test_no_deadline_hangs_on_the_calendar() -> None:
    """A clock that jumps by an hour changes nothing: waiting is counted on the monotonic clock."""
    # How far a board's calendar is off, the age of its files, of a proof in the fleet's log, and
    # how long what the event log says of a step is ago.
    about_calendars = {"probing.py", "cleanup.py", "fleet_book.py", "learning.py"}
    calendar = re.compile(r"\btime\.time\(|datetime\.now|utcnow")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for folder in ("orchestrator/scheduling", "orchestrator/fleet", "agents")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name not in about_calendars
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if calendar.search(line)
    ]
    assert found == []


def test_a_board_that_somebody_reserves_is_open_to_no_step_and_given_back_when_free() -> None:
    boards = BoardTable(LIMITS)
    plan = PlanView(Graph({}, {}), Resolution(), {"b": BoardProfile("b")})
    boards.take_plan(plan)
    connected(boards)
    assert boards.open("b")
    boards.take_plan(replace(plan, reserved=frozenset({"b"})))
    assert boards.connected("b")
    assert not boards.open("b")
    assert boards.reach(["b"], 1.0) == [], "a step is under way there"
    assert boards.reach([], 2.0) == [Release("b")]
    assert boards.reach(["b"], 3.0) == [Connect("b", False)]
    boards.connect_failed("b", BUSY, 3.1)
    assert not boards.due("b", 3.2)
    boards.take_plan(plan)
    assert boards.due("b", 3.2), "it is tried at once when the reservation ends"
