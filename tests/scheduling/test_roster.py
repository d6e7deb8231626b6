"""When a run tries a board again, and when it goes on without it: on a clock of the test's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import BoardError, TransientError, UserError
from orchestrator.fleet.board import ENVIRONMENT, BoardBusy, Deadlines
from orchestrator.scheduling.roster import ATTEMPTS, LONGEST_WAIT_S, Roster

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Deadlines(queue_s=600.0, lost_s=120.0)
SILENT = TransientError("b: no answer")
BUSY = BoardBusy("b is in use by ann@lab")


def pursue(roster: Roster, error: TransientError, now: float) -> tuple[float, int]:
    """Fail to connect until the roster gives up; when that was and after how many attempts."""
    tries = 0
    while True:
        while not roster.due("b", now):
            now += 0.5
        roster.connecting("b", now)
        now += 0.1
        tries += 1
        if not roster.missed("b", error, now):
            return now, tries


def test_a_board_never_met_is_tried_a_few_times() -> None:
    roster = Roster(LIMITS)
    ended, tries = pursue(roster, SILENT, 0.0)
    assert tries == ATTEMPTS
    assert ended < 10
    assert roster.error("b") is SILENT
    assert not roster.due("b", 1e6)


def test_a_board_that_was_lost_is_looked_for_as_long_as_said() -> None:
    roster = Roster(LIMITS)
    roster.connecting("b", 0.0)
    roster.reached("b")
    roster.lost("b")
    ended, tries = pursue(roster, SILENT, 1000.0)
    assert LIMITS.lost_s - LONGEST_WAIT_S <= ended - 1000.0 <= LIMITS.lost_s
    assert tries > ATTEMPTS
    error = roster.error("b")
    assert isinstance(error, TransientError)
    assert "given up after" in error.message
    assert "lost_s" in error.hint


def test_queueing_never_counts_as_failing_and_names_who_has_the_board() -> None:
    roster = Roster(LIMITS)
    ended, tries = pursue(roster, BUSY, 0.0)
    assert LIMITS.queue_s - LONGEST_WAIT_S <= ended <= LIMITS.queue_s
    assert tries > 10 * ATTEMPTS
    error = roster.error("b")
    assert error is not None
    assert "ann@lab" in error.message
    assert "queue_s" in error.hint


def test_after_a_queue_a_board_has_all_its_attempts() -> None:
    roster = Roster(LIMITS)
    roster.connecting("b", 0.0)
    assert roster.missed("b", BUSY, 1.0)
    now = 500.0
    for _ in range(ATTEMPTS - 1):
        roster.connecting("b", now)
        assert roster.missed("b", SILENT, now)
        now += 10
    roster.connecting("b", now)
    assert not roster.missed("b", SILENT, now)


@pytest.mark.parametrize("error", [BoardError("b: host key changed"), UserError("b: refused")])
def test_what_trying_cannot_mend_takes_the_board_out_at_once(
    error: BoardError | UserError,
) -> None:
    roster = Roster(LIMITS)
    roster.connecting("b", 0.0)
    roster.reached("b")
    roster.lost("b")
    roster.connecting("b", 1.0)
    assert not roster.missed("b", error, 1.0)
    assert roster.error("b") is error
    assert not roster.due("b", 1e9)


def test_steps_failing_in_a_row_set_a_board_aside_and_a_success_between_does_not() -> None:
    roster = Roster(LIMITS)
    assert not roster.step_failed("b", SILENT)
    roster.step_done("b")
    assert not roster.step_failed("b", SILENT)
    assert roster.step_failed("b", SILENT)
    assert isinstance(roster.error("b"), BoardError)


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
    roster, now = Roster(LIMITS), 0.0
    for what, after in happenings:
        now += after
        if roster.error("b") is not None:
            assert not roster.due("b", now)
            continue
        if roster.connected("b"):
            roster.lost("b")
            continue
        assert roster.due("b", now + LONGEST_WAIT_S)
        roster.connecting("b", now)
        if what == "met":
            roster.reached("b")
        else:
            errors = {"busy": BUSY, "bad": BoardError("b: bad")}
            roster.missed("b", errors.get(what, SILENT), now)


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
    # How far a board's calendar is off, the age of its files, of a proof in the fleet's log.
    about_calendars = {"probing.py", "cleanup.py", "fleet_book.py"}
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
