"""How long work takes, learned from what it took."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.paces import GUESSES, Observation, Paces, fit
from orchestrator.planning.sharing import Shared
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.planning.work import BESIDE_STEPS, Work

VIM3 = Work("extract", "khadas-vim3 board", "m", "tengine uint8", "vim3-1")
SECONDS = st.floats(0.001, 1e5)
SEEN = st.lists(
    st.builds(Observation, st.just(VIM3), st.integers(1, 100_000), SECONDS, weight=st.just(1.0)),
    max_size=8,
)


def took(units: int, seconds: float, work: Work = VIM3, least: float = 0.0) -> Observation:
    return Observation(work, units, seconds, least)


def test_every_stage_has_a_guess() -> None:
    assert set(GUESSES) == {*STAGE_FACTS, *BESIDE_STEPS}


def test_one_small_run_does_not_make_its_fixed_time_a_rate() -> None:
    """Of 1.1 s for 10 images nearly all is fixed: 10,000 images do not take 1,100 s."""
    seen = Paces([took(10, 1.1)]).line(VIM3)
    assert seen.seconds(10) == pytest.approx(1.1, rel=0.05)
    assert seen.seconds(10_000) < 150


def test_two_sizes_tell_fixed_from_rate() -> None:
    line = Paces([took(100, 7.0), took(4000, 46.0)] * 2).line(VIM3)  # 6 s and 0.01 s an image
    assert line.seconds(2000) == pytest.approx(26, rel=0.1)
    assert line.seconds(20_000) == pytest.approx(206, rel=0.1)


def test_one_wild_observation_of_many_moves_little() -> None:
    usual = [took(1000, 11.0), took(2000, 21.0), took(1500, 16.0)]
    line = Paces([*usual, took(1000, 300.0), *usual]).line(VIM3)
    assert line.seconds(1000) == pytest.approx(11.0, rel=0.2)


def test_another_board_of_the_kind_and_another_model_are_believed_alike() -> None:
    seen = Paces([took(1000, 100.0)])
    twin = Work("extract", "khadas-vim3 board", "m", "tengine uint8", "vim3-2")
    other = Work("extract", "khadas-vim3 board", "bigger", "tengine uint8", "vim3-2")
    assert seen.line(twin).seconds(1000) == pytest.approx(100.0, rel=0.05)
    assert seen.line(other).seconds(1000) == pytest.approx(100.0, rel=0.05)
    assert seen.seen(other)
    assert not seen.seen(Work("extract", "rv1126 board"))


def test_a_slow_host_is_slow_in_what_it_has_not_done_yet() -> None:
    guess = Paces().line(Work("score")).seconds(1)
    slow = [took(1, 10 * GUESSES[s][0], Work(s)) for s in ("quantize", "convert", "parity")]
    assert Paces(slow).line(Work("score")).seconds(1) > 4 * guess


def test_what_this_run_is_slower_in_so_far_it_is_slower_in_later() -> None:
    earlier = [took(1, 2.0, Work("parity")), took(1, 3.0, Work("compare"))] * 3
    loaded = Paces(earlier, [took(1, 6.0, Work("parity"))] * 3)
    assert loaded.line(Work("compare")).seconds(1) > 1.5 * 3.0
    assert loaded.line(Work("parity")).seconds(1) > 4.0


def test_a_line_that_was_wrong_of_a_size_never_seen_slows_no_other_work() -> None:
    earlier = [took(100, 7.0, Work("images")), took(1, 2.0, Work("parity"))] * 3
    usual = Paces(earlier).line(Work("parity")).seconds(1)
    now = [took(4000, 2000.0, Work("images"))] * 3
    assert Paces(earlier, now).line(Work("parity")).seconds(1) == pytest.approx(usual, rel=0.01)


def test_a_slow_start_of_ray_makes_no_step_slow() -> None:
    started = [took(1, 150.0, Work("ray")), took(1, 30.0, Work("connect", "k"))]
    assert Paces([], started).line(Work("score")) == Paces().line(Work("score"))
    assert Paces(started).line(Work("score")) == Paces().line(Work("score"))
    assert Paces([], started).line(Work("ray")).seconds(1) > 100


def test_in_a_first_run_slowness_counts_once() -> None:
    """A guess is corrected by what was seen, not corrected twice."""
    slow = [took(1, 10 * GUESSES[s][0], Work(s)) for s in ("quantize", "convert", "parity")]
    assert Paces([], slow).line(Work("score")) == Paces(slow).line(Work("score"))


def test_a_measurement_lasts_at_least_its_shortest_time() -> None:
    work = Work("measure", "khadas-vim3 board")
    fast = Paces([took(200, 4.5, work, 3.0)]).line(work)  # 200 inferences took no 3 s
    assert fast.seconds(200, 20.0) == pytest.approx(21.5, rel=0.05)
    slow = Paces([took(200, 61.0, work, 3.0)]).line(work)
    assert slow.seconds(200, 20.0) == pytest.approx(61.0, rel=0.05)
    assert slow.seconds(400, 20.0) > 85


@given(SEEN, st.integers(0, 100_000))
def test_a_line_is_never_negative_and_never_falls(seen: list[Observation], units: int) -> None:
    line = Paces(seen).line(VIM3)
    assert line.fixed > 0
    assert line.rate >= 0
    assert line.seconds(units + 1) >= line.seconds(units) > 0
    assert line.spread > 0


@given(SEEN)
def test_nothing_seen_changes_nothing(seen: list[Observation]) -> None:
    line = Paces(seen).line(VIM3)
    assert fit(line, []) == line


def test_more_observations_make_the_range_narrower() -> None:
    chance = random.Random(0)
    seen = [took(n, (2 + 0.02 * n) * chance.uniform(0.95, 1.05)) for n in (100, 500, 900, 300)]
    spreads = [Paces(seen[:count]).line(VIM3).spread for count in range(5)]
    once_each = [spreads[0] / math.sqrt(1 + 2 * count) for count in range(5)]
    assert spreads == pytest.approx(once_each, rel=0.01)  # though three levels have taken it in


def test_four_on_two_processors_take_twice_as_long_as_alone() -> None:
    shared = Shared({"here": 2})
    for name in "abcd":
        shared.start(name, "here", 1.0, 0.0)
    assert shared.slowdown("here") == 2.0
    assert [shared.end(name, "here", 20.0) for name in "abc"] == [10.0] * 3
    assert shared.end("d", "here", 25.0) == 15.0
    shared.start("e", "elsewhere", 9.0, 25.0)
    assert shared.end("e", "elsewhere", 30.0) == 5.0


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.01, 9.0)), max_size=40))
def test_what_ran_alone_is_no_more_than_the_clock_and_the_processors_gave(
    moves: list[tuple[int, float]],
) -> None:
    shared, now = Shared({"here": 2}), 0.0
    began: dict[int, float] = {}
    total = 0.0
    for name, passed in moves:
        now += passed
        if name in began:
            alone = shared.end(name, "here", now)
            assert alone <= now - began.pop(name) + 1e-9
            total += alone
        else:
            shared.start(name, "here", 1.0, now)
            began[name] = now
    total += sum(shared.alone(name, "here", now) for name in began)
    assert total <= 2 * now + 1e-6


@given(
    st.builds(
        Work,
        st.sampled_from(list(STAGE_FACTS)),
        *[st.text(st.characters(exclude_characters="|"))] * 4,
    )
)
def test_a_kind_of_work_is_read_back(work: Work) -> None:
    assert Work.from_text(work.to_text()) == work
    assert work.levels()[-1] == work
    with pytest.raises(ValueError, match="no kind of work"):
        Work.from_text(work.to_text() + "|")
