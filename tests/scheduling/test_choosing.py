"""The scheduler's promises, whatever is ready and running."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.graph import HEAD_DOMAIN
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.scheduling.core.choosing import Candidate, Load, choose

HEAD_STAGES = ("images", "calibrate", "quantize", "convert", "parity", "score", "compare")
HEAD_STAGES += ("evaluate", "compare_detection", "align", "split")
BOARD_STAGES = ("deploy", "measure", "extract")
BOARDS = {"host": HEAD_DOMAIN, "emulated": HEAD_DOMAIN, "vim3": "vim3", "rv1126": "rv1126"}


@st.composite
def candidates(draw: st.DrawFn, prefix: str, most: int) -> list[Candidate]:
    found = []
    for number in range(draw(st.integers(0, most))):
        if draw(st.booleans()):
            stage, board = draw(st.sampled_from(HEAD_STAGES)), ""
        else:
            stage = draw(st.sampled_from(BOARD_STAGES))
            board = draw(st.sampled_from(sorted(BOARDS)))
        domain = BOARDS.get(board, HEAD_DOMAIN)
        found.append(Candidate(f"{prefix}{number}", stage, board, domain, draw(st.integers(1, 9))))
    return found


def grown(ready: list[Candidate], slots: int) -> list[Candidate]:
    """A running set that the choice itself built: only such ones occur."""
    return choose(ready, Load(), slots)


@given(candidates("r", 12), candidates("s", 12), st.integers(1, 4))
def test_no_board_does_two_things_and_measure_is_alone(
    first: list[Candidate], second: list[Candidate], slots: int
) -> None:
    running = grown(first, slots)
    everything = running + choose(second, Load(running), slots)
    boards = [step.board for step in everything if step.board]
    assert len(boards) == len(set(boards))
    assert sum(not step.board for step in everything) <= slots
    for step in everything:
        if step.stage == "measure":
            assert [other.id for other in everything if other.domain == step.domain] == [step.id]


@given(candidates("r", 12), st.integers(1, 4))
def test_something_always_starts_when_nothing_runs(ready: list[Candidate], slots: int) -> None:
    assert bool(choose(ready, Load(), slots)) == bool(ready)


@given(candidates("r", 12), st.integers(1, 4))
def test_every_run_ends(ready: list[Candidate], slots: int) -> None:
    left, rounds = list(ready), 0
    while left:
        started = choose(left, Load(), slots)
        left = [step for step in left if step not in started]
        rounds += 1
        assert rounds <= len(ready)


@given(st.permutations([Candidate(s, s, "", HEAD_DOMAIN) for s in ("score", "convert", "images")]))
def test_what_others_wait_for_comes_first(ready: list[Candidate]) -> None:
    assert [step.stage for step in choose(ready, Load(), 2)] == ["images", "convert"]


def test_a_waiting_measurement_holds_back_what_would_delay_it() -> None:
    busy = Candidate("e0", "extract", "emulated", HEAD_DOMAIN)
    measure = Candidate("m", "measure", "host", HEAD_DOMAIN)
    more = [
        Candidate(f"{s}1", s, "", HEAD_DOMAIN)
        for s, facts in STAGE_FACTS.items()
        if facts.yields and s != "extract"
    ]
    elsewhere = Candidate("e1", "extract", "vim3", "vim3")
    assert choose([measure, *more, elsewhere], Load([busy]), 2) == [elsewhere]
    assert choose([measure, *more], Load(), 2) == [measure]


def test_a_waiting_measurement_holds_back_what_is_for_later_turns_alone() -> None:
    running = Load([Candidate("images", "images", "", HEAD_DOMAIN)])
    measure = Candidate("measure", "measure", "host", HEAD_DOMAIN, lead=(20.0, 0.0))
    sooner = Candidate("sooner", "convert", "", HEAD_DOMAIN, lead=(10.0, 3.0))
    for_a_board = Candidate("for a board", "convert", "", HEAD_DOMAIN, lead=(0.0, 5.0))
    later = Candidate("later", "convert", "", HEAD_DOMAIN, lead=(30.0, 1.0))
    assert choose([later, measure], running, 4) == []
    assert choose([later, measure, sooner, for_a_board], running, 4) == [for_a_board, sooner]
    assert choose([later, sooner, for_a_board], running, 4) == [for_a_board, sooner, later]
    assert choose([later, measure], Load(), 4) == [measure]


def test_what_uses_all_processors_starts_beside_others_and_keeps_others_back() -> None:
    def extraction(name: str, order: int = 0, **more: bool) -> Candidate:
        return Candidate(name, "extract", name, HEAD_DOMAIN, priority=-order, **more)

    host = extraction("host", all_processors=True)
    others = [extraction(f"e{number}", number) for number in range(1, 12)]
    assert choose([host, *others], Load(), 4) == [host]
    assert choose([others[1]], Load([host]), 4) == []
    helper = Candidate("h", "extract", "idle", HEAD_DOMAIN, helps=True)
    assert choose([helper], Load([host]), 4) == []
    elsewhere = Candidate("far", "extract", "vim3", "vim3")
    assert choose([elsewhere], Load([host]), 4) == [elsewhere]
    running = Load(others[:2])
    assert choose([host, *others[2:]], running, 4) == [host]
    load = Load([host, others[0]])
    load.remove(host)
    assert choose(others[1:], load, 4) == others[1:4]


def test_every_stage_has_its_place() -> None:
    assert set(STAGE_FACTS) == {*HEAD_STAGES, *BOARD_STAGES}
