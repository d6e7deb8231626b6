"""An extraction shared out: every row is made once, whoever is slow, lost or late."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.data.features import Features
from orchestrator.errors import TransientError
from orchestrator.planning.graph import Step
from orchestrator.stages.shared_extraction import (
    FIRST,
    LEAST,
    LEAST_S,
    REST_S,
    Extractions,
    SharedExtraction,
    Shares,
)
from orchestrator.store.features import FeatureWriter


def makespan(rates: list[float], rows: int, piece_s: float = 0.0) -> tuple[float, Shares]:
    """Seconds until boards of `rates` rows a second have made all, each piece costing extra."""
    now = 0.0
    shares = Shares([(0, rows)], clock=lambda: now)
    ends: dict[str, float] = {}
    for i, rate in enumerate(rates):
        piece = shares.take(str(i))
        if piece is not None:
            ends[str(i)] = (piece[1] - piece[0]) / rate + piece_s
    while ends:
        board = min(ends, key=lambda name: ends[name])
        now = ends.pop(board)
        shares.done(board)
        piece = shares.take(board)
        if piece is not None:
            ends[board] = now + (piece[1] - piece[0]) / rates[int(board)] + piece_s
    return now, shares


@given(st.lists(st.floats(5, 500), min_size=1, max_size=8), st.integers(1, 20_000))
def test_all_rows_are_made_and_the_last_board_ends_soon_after_the_others(
    rates: list[float], rows: int
) -> None:
    spent, shares = makespan(rates, rows)
    assert shares.over
    assert sum(shares.rows.values()) == rows
    # What the slowest board took before its pace was known, and its last piece.
    last = max(LEAST_S, LEAST / min(rates))
    assert spent <= rows / sum(rates) + FIRST / min(rates) + last + 1e-6


def test_four_equal_boards_are_nearly_four_times_as_fast_as_one() -> None:
    one, _ = makespan([60.0], 50_000, piece_s=0.05)
    four, shares = makespan([60.0] * 4, 50_000, piece_s=0.05)
    assert one / four >= 3.9
    assert max(shares.rows.values()) < 1.1 * min(shares.rows.values())


def test_eight_unequal_boards_are_nearly_as_fast_as_the_sum_of_their_paces() -> None:
    rates = [1000 / ms for ms in (20, 25, 30, 40, 50, 60, 80, 100)]
    spent, _ = makespan(rates, 10_000, piece_s=0.05)
    assert 10_000 / spent >= 0.97 * sum(rates)


def test_a_board_alone_gets_few_long_pieces() -> None:
    now = 0.0
    shares = Shares([(0, 5000)], clock=lambda: now)
    sizes = []
    while (piece := shares.take("a")) is not None:
        sizes.append(piece[1] - piece[0])
        now += sizes[-1] / 100.0
        shares.done("a")
    assert sum(sizes) == 5000
    assert sizes[:2] == [FIRST, 2000]  # 20 s
    assert len(sizes) < 15


@given(st.integers(5, 500), st.integers(1, 5000))
def test_a_board_that_nobody_helped_takes_a_short_rest_at_once(rate: int, rows: int) -> None:
    now = 0.0
    shares = Shares([(0, rows)], clock=lambda: now)
    left = rows
    while (piece := shares.take("a")) is not None:
        before, left = left, left - (piece[1] - piece[0])
        known = before < rows  # its first piece is short: its pace is not known yet
        assert not known or before > rate * REST_S or left == 0
        now += (piece[1] - piece[0]) / rate
        shares.done("a")


def test_a_faster_board_makes_more() -> None:
    _, shares = makespan([20.0, 80.0], 10_000)
    assert 3.5 < shares.rows["1"] / shares.rows["0"] < 4.5


@given(st.integers(0, 2**31), st.integers(1, 2000))
def test_what_lost_boards_did_not_bring_is_made_by_others(seed: int, rows: int) -> None:
    chance = random.Random(seed)
    made = np.zeros(rows, int)
    shares = Shares([(0, rows)], clock=lambda: 0.0)
    for _ in range(200_000):
        if shares.over:
            break
        board = chance.choice("abc")
        piece = shares.take(board)
        if piece is None:
            break
        start, stop = piece
        if chance.random() < 0.3:
            brought = chance.randint(start, stop)
            made[start:brought] += 1
            shares.broke(board, [(brought, rows)])
        else:
            made[start:stop] += 1
            shares.done(board)
    assert shares.over
    assert (made == 1).all()
    assert sum(shares.rows.values()) == rows


def test_helpers_end_what_a_lost_leader_began(tmp_path: Path) -> None:
    rows, stop = 300, threading.Event()
    with FeatureWriter.open(tmp_path, rows, 4, "float32", {}) as writer:
        shared = SharedExtraction(writer, tmp_path, rows, several=True)
        assert [shared.keep(block(0, FIRST))] == [FIRST]
        pieces = shared.pieces("leader")
        next(pieces)
        pieces.close()  # its board is lost in the middle of a piece
        canary = shared.canary(stop)
        assert canary is not None
        assert canary[0] == (0, 16)
        assert (canary[1] == block(0, 16).rows).all()

        def help_out() -> None:
            with shared.helping():
                started.set()
                for start, end in shared.pieces("helper"):
                    shared.keep(block(start, end - start))

        started = threading.Event()
        helper = threading.Thread(target=help_out)
        helper.start()
        started.wait(5)
        shared.wait(stop, lost=True)
        assert shared.over
        helper.join(5)
        assert sum(shared.brought.values()) >= rows - FIRST
        writer.finish()
    assert (np.load(tmp_path / "features.npy")[:, 0] == np.arange(rows)).all()


def block(start: int, count: int) -> Features:
    numbers = np.arange(start, start + count, dtype=np.float32)
    return Features(np.repeat(numbers[:, None], 4, 1), np.zeros(count, bool), start=start)


def test_a_helper_that_is_there_first_waits_for_its_leader_and_not_for_one_that_is_gone(
    tmp_path: Path,
) -> None:
    step, stop, found = Step("extract/a", "extract"), threading.Event(), []
    extractions = Extractions()
    helper = threading.Thread(target=lambda: found.append(extractions.await_led(step.id, stop)))
    helper.start()
    with (
        extractions.of_same("", step),
        FeatureWriter.open(tmp_path, FIRST, 2, "float32", {}) as writer,
    ):
        shared = SharedExtraction(writer, tmp_path, FIRST, several=True)
        with extractions.open_to_helpers(step.id, shared):
            helper.join()
    assert found == [shared]
    assert extractions.await_led(step.id, stop) is None


def test_a_helper_does_not_wait_for_what_a_lost_leader_would_have_made(tmp_path: Path) -> None:
    """Nor the leader for the helper: its failure is raised, so that the step is tried again."""
    stop, joined = threading.Event(), threading.Event()
    ended: list[str] = []
    with FeatureWriter.open(tmp_path, 400, 2, "float32", {}) as writer:
        shared = SharedExtraction(writer, tmp_path, 400, several=True)

        def help_it() -> None:
            with shared.helping():
                joined.set()
                assert shared.canary(stop) is None
            ended.append("helper")

        def lead() -> None:
            pieces = shared.pieces("leader")
            next(pieces)
            joined.wait()
            with contextlib.suppress(TransientError):
                pieces.throw(TransientError("its worker process died"))
            shared.wait(stop, lost=True)
            ended.append("leader")

        threads = [threading.Thread(target=work, daemon=True) for work in (help_it, lead)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(ended) == ["helper", "leader"]
        assert not shared.over
        stop.set()


def test_a_helper_waits_for_the_rows_of_another_that_goes_on_for_a_lost_leader(
    tmp_path: Path,
) -> None:
    stop, waits = threading.Event(), threading.Event()
    found: list[object] = []
    with FeatureWriter.open(tmp_path, 400, 2, "float32", {}) as writer:
        shared = SharedExtraction(writer, tmp_path, 400, several=True)
        pieces = shared.pieces("other")
        start, end = next(pieces)

        def help_it() -> None:
            with shared.helping():
                waits.set()
                found.append(shared.canary(stop))

        def lead() -> None:
            shared.wait(stop, lost=True)

        threads = [threading.Thread(target=work, daemon=True) for work in (help_it, lead)]
        for thread in threads:
            thread.start()
        waits.wait()
        time.sleep(0.2)
        assert found == []
        shared.keep(Features(np.ones((end - start, 2), np.float32), np.zeros(end - start, bool)))
        threads[0].join(60)
        assert len(found) == 1
        assert found[0] is not None
        stop.set()
        threads[1].join(60)
