"""Every figure that a cell shows against the plain reference: ties, unknown probes, failed rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings

from orchestrator.scoring import TrialSet, det_points, identify, search, searching, tar_at

from . import reference
from .test_search import boards, faces, run

FARS = (0.05, 0.1, 0.3, 0.5, 1.0)


@settings(max_examples=80, deadline=None)
@given(boards())
@example(
    {
        "gallery": np.array([[2, 1], [2, 1]], np.float32),
        "probes": np.array([[0, 2]], np.float32),
        "gallery_ids": np.array([0, 0]),
        "probe_ids": np.array([0]),
        "gallery_failed": np.array([False, False]),
        "probe_failed": np.array([True]),
        "fusion": "mean",
    }
)
def test_figures_equal_the_plain_reference(board):
    found = run(board, tar_pairs_far=FARS)
    plain = reference.searches(**board)
    mated = np.isin(board["probe_ids"], board["gallery_ids"])
    if not mated.any():
        return
    ran = ~board["probe_failed"]
    denominator = int(mated.sum())
    figures = identify(found, far=FARS, bootstrap=100)
    of_mated = [one for one, known in zip(plain, mated, strict=True) if known]
    right = [a is not None and a > b for a, b, _, _ in of_mated]
    assert figures.rank1.value == sum(right) / denominator
    for limit, share in figures.cmc.items():
        assert share.value == sum(1 <= rank <= limit for _, _, rank, _ in of_mated) / denominator
    assert figures.mated == denominator
    assert figures.unknown == int((~mated).sum())
    assert figures.failed == int(board["probe_failed"].sum())
    assert figures.mated_failed == sum(a is None for a, *_ in of_mated)
    for far in FARS:
        for kind, trial in (("search", mated | True), ("unknown", ~mated), ("mate_removed", mated)):
            k, false, value = reference.tar(plain, mated, far, trial & ran)
            got = tar_at(found, far, kind)
            assert (got.k, got.false_accepts, got.value) == (k, false, value)
            if kind == "search":
                shown = figures.tar[far]
                assert (shown.k, shown.false_accepts, shown.value) == (k, false, value)
                assert shown.low <= value <= shown.high
                assert shown.available == (k > 0)
            if kind == "unknown" and (trial & ran).any():
                assert figures.tpir_unknown[far].value == value
            impostors = [b for (_, b, _, _), t in zip(plain, trial & ran, strict=True) if t]
            edge = sorted(impostors, reverse=True)[k] if k < len(impostors) else -np.inf
            alone = [a is not None and a > edge for a, *_ in of_mated]
            assert tar_at(found, far, kind, ranked=False).value == sum(alone) / denominator


@settings(max_examples=40, deadline=None)
@given(boards())
def test_det_points_are_tars_at_their_thresholds(board):
    found = run(board)
    plain = reference.searches(**board)
    mated = np.isin(board["probe_ids"], board["gallery_ids"])
    det = det_points(found)
    trials = int((~board["probe_failed"]).sum())
    for far, miss, threshold in zip(det.far, det.miss, det.threshold, strict=True):
        false = sum(b is not None and b >= threshold for _, b, *_ in plain)
        assert math.isclose(far, false / trials)
        right = sum(
            bool(m) and a is not None and a > b and a >= threshold
            for (a, b, *_), m in zip(plain, mated, strict=True)
        )
        assert math.isclose(miss, 1 - right / mated.sum(), abs_tol=1e-12)


def whole_numbers() -> tuple[dict, TrialSet]:
    """Features whose products are exact in float32, so that nothing moves with the tiles."""
    rng = np.random.default_rng(4)
    gallery = rng.choice([-1.0, 1.0], (400, 16)).astype(np.float32)
    probes = rng.choice([-1.0, 1.0], (300, 16)).astype(np.float32)
    ids = rng.integers(0, 500, 300)
    return {"gallery": gallery, "probes": probes}, TrialSet(np.arange(400), ids)


@pytest.mark.parametrize("far", [1e-3, 1e-2, 0.05])
def test_a_guessed_floor_changes_nothing(monkeypatch, far):
    sides, trials = whole_numbers()
    plain = search(**sides, trials=trials, tar_pairs_far=(far,), guess=False)
    monkeypatch.setattr(searching, "GUESSED_PAIRS", 0)
    guessed = []
    true = searching.guessed_floor
    monkeypatch.setattr(
        searching, "guessed_floor", lambda *words: guessed.append(true(*words)) or guessed[-1]
    )
    found = search(**sides, trials=trials, tar_pairs_far=(far,), tile=64, block=50)
    assert guessed[0] is not None
    assert found.pairs == plain.pairs


def test_a_floor_guessed_too_high_is_found_out(monkeypatch):
    sides, trials = whole_numbers()
    plain = search(**sides, trials=trials, tar_pairs_far=(1e-2,), guess=False)
    monkeypatch.setattr(searching, "GUESSED_PAIRS", 0)
    monkeypatch.setattr(searching, "guessed_floor", lambda *_: np.float32(2.0))
    assert search(**sides, trials=trials, tar_pairs_far=(1e-2,)).pairs == plain.pairs


def test_a_constant_board_ranks_nobody_first():
    board = faces()
    trials = TrialSet(board["gallery_ids"], board["probe_ids"])
    same = {side: np.ones_like(board[side]) for side in ("gallery", "probes")}
    assert identify(search(**same, trials=trials), bootstrap=100).rank1.value == 0
