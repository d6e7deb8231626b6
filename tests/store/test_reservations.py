"""Whose a board is, and who comes next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.store.fleet_entries import Entry, Removed, Reserved, Unreserved
from orchestrator.store.fleet_index import counting
from orchestrator.store.reservations import holder, reservations

H = 3600.0


def reserved(by: str, at: float, hours: float) -> Reserved:
    return Reserved(board="b", by=by, at=at, for_s=hours * H, reason=f"{by}'s work")


def given_back(whose: str, at: float) -> Unreserved:
    return Unreserved(board="b", at=at, whose=whose)


def queue(entries: Sequence[Entry], now: float) -> list[tuple[str, float, float]]:
    """By whom, and from when to when, in hours."""
    return [(each.by, each.begins / H, each.ends / H) for each in reservations(entries, now)]


def test_who_comes_second_begins_when_the_first_ends() -> None:
    lines = [reserved("ann", 0, 2), reserved("bob", H, 3)]
    assert queue(lines, H) == [("ann", 0, 2), ("bob", 2, 5)]
    assert queue(lines, 2 * H) == [("bob", 2, 5)]
    assert queue(lines, 5 * H) == []
    now = [holder(reservations(lines, at * H), at * H) for at in (1, 3, 6)]
    assert [each and each.by for each in now] == ["ann", "bob", None]


def test_what_is_given_back_lets_the_others_move_up() -> None:
    lines = [reserved("ann", 0, 4), reserved("bob", 0, 2), reserved("cy", 0, 1)]
    assert queue([*lines, given_back("ann", H)], H) == [("bob", 1, 3), ("cy", 3, 4)]
    assert queue([*lines, given_back("bob", H)], H) == [("ann", 0, 4), ("cy", 4, 5)]
    assert queue([*lines, given_back("dan", H)], H) == queue(lines, H)
    late = [*lines, given_back("ann", 4.5 * H)]  # hers has ended already
    assert queue(late, 4.5 * H) == [("bob", 4, 6), ("cy", 6, 7)]


def test_one_that_begins_later_does_not_begin_before_it_was_asked_for() -> None:
    assert queue([reserved("ann", 0, 1), reserved("bob", 3 * H, 1)], 3 * H) == [("bob", 3, 4)]


def test_a_board_that_is_taken_out_is_nobodys() -> None:
    assert queue([reserved("ann", 0, 9), Removed(board="b", at=H)], H) == []


def test_a_board_reserved_day_by_day_needs_one_line() -> None:
    lines: list[Entry] = [reserved("ann", 24 * H * day, 8) for day in range(300)]
    assert counting(lines) == lines[-1:]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 50), st.floats(0.1, 9)), max_size=9),
    st.floats(0, 100),
)
def test_never_two_at_a_time(asked: list[tuple[str, float, float]], now: float) -> None:
    lines = [reserved(by, at * H, hours) for by, at, hours in sorted(asked, key=lambda a: a[1])]
    found = reservations(lines, now * H)
    for first, second in pairwise(found):
        assert first.ends <= second.begins + 1e-6
