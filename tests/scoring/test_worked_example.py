"""A gallery of four and eight probes, small enough to check by hand: every number of it."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.scoring import Searches, TrialSet, accepted, identify, search, tar_at

SCORES = np.array(
    [
        (0.80, 0.10, 0.20, 0.00),
        (0.30, 0.60, 0.10, 0.20),
        (0.50, 0.10, 0.40, 0.30),
        (0.20, 0.45, 0.10, 0.45),
        (0.35, 0.25, 0.05, 0.15),
        (0.55, 0.10, 0.00, 0.20),
        (0.10, 0.30, 0.15, 0.05),
        (0.20, 0.10, 0.65, 0.00),
    ]
)
PROBES = np.c_[SCORES, np.sqrt(1 - (SCORES**2).sum(axis=1))].astype(np.float32)
GALLERY = np.eye(5, dtype=np.float32)[:4]
PAIR_FARS = (0.125, 0.25)


def example(backwards: bool = False) -> Searches:
    names = np.array(["a", "b", "c", "d"])
    probes = np.array(["a", "b", "c", "d", "a", "x", "y", "z"])
    step = -1 if backwards else 1
    trials = TrialSet(names[::step], probes)
    return search(GALLERY[::step], PROBES, trials, tar_pairs_far=PAIR_FARS)


@pytest.fixture(params=[False, True], ids=["in order", "gallery backwards"])
def found(request):
    return example(request.param)


def test_mate_and_best_impostor(found):
    mate = np.array([0.80, 0.60, 0.40, 0.45, 0.35], np.float32)
    impostor = np.array([0.20, 0.30, 0.50, 0.45, 0.25, 0.55, 0.30, 0.65], np.float32)
    assert np.array_equal(found.mate[:5], mate)
    assert np.isnan(found.mate[5:]).all()
    assert np.array_equal(found.impostor, impostor)
    assert found.rank.tolist() == [1, 1, 2, 2, 1, 0, 0, 0]
    assert found.mated.tolist() == [True] * 5 + [False] * 3
    assert found.gallery_size == 4


def test_rank_1_and_cmc(found):
    figures = identify(found, far=(0.25,))
    assert figures.rank1.value == 0.6
    assert {rank: share.value for rank, share in figures.cmc.items()} == {1: 0.6, 5: 1.0, 10: 1.0}
    within = [float((found.rank[:5] <= limit).mean()) for limit in (1, 2, 3, 4)]
    assert within == [0.6, 1.0, 1.0, 1.0]
    assert (figures.mated, figures.unknown, figures.failed) == (5, 3, 0)
    assert figures.near_ties == 1  # probe d


TABLE = [
    # trials, n, FAR, K, FA, d[K], achieved, TPIR, score only
    ("search", 8, 0.0, 0, 0, 0.65, 0.0, 0.20, 0.20),
    ("search", 8, 0.125, 1, 1, 0.55, 0.125, 0.40, 0.40),
    ("search", 8, 0.25, 2, 2, 0.50, 0.25, 0.40, 0.40),
    ("search", 8, 0.34, 2, 2, 0.50, 0.25, 0.40, 0.40),
    ("search", 8, 0.5, 4, 4, 0.30, 0.5, 0.60, 1.00),
    ("unknown", 3, 0.25, 0, 0, 0.65, 0.0, 0.20, 0.20),
    ("unknown", 3, 0.34, 1, 1, 0.55, 1 / 3, 0.40, 0.40),
    ("unknown", 3, 0.5, 1, 1, 0.55, 1 / 3, 0.40, 0.40),
    ("mate_removed", 5, 0.25, 1, 1, 0.45, 0.20, 0.40, 0.40),
    ("mate_removed", 5, 0.5, 2, 2, 0.30, 0.40, 0.60, 1.00),
]


@pytest.mark.parametrize(
    ("kind", "n", "far", "k", "false", "edge", "achieved", "tpir", "tar"), TABLE
)
def test_thresholds_and_rates(found, kind, n, far, k, false, edge, achieved, tpir, tar):
    result = tar_at(found, far, kind)
    assert result.trials == n
    assert result.k == k
    assert result.false_accepts == false
    assert result.threshold == np.nextafter(np.float32(edge), np.float32(np.inf))
    assert result.far_achieved == pytest.approx(achieved)
    assert result.value == pytest.approx(tpir)
    assert tar_at(found, far, kind, ranked=False).value == pytest.approx(tar)
    assert result.available == (k > 0)
    assert bool(result.reason) == (k == 0)


def test_all_pairs_reject_a_tie_across_the_budget_whole(found):
    strict, loose = found.pairs
    assert (strict.trials, strict.k, strict.false_accepts) == (27, 3, 3)
    assert (loose.trials, loose.k, loose.false_accepts) == (27, 6, 4)
    after = np.float32(np.inf)
    assert strict.threshold == np.nextafter(np.float32(0.45), after)
    assert loose.threshold == np.nextafter(np.float32(0.30), after)
    figures = identify(found, far=(0.25,))
    assert figures.tar_pairs[0.125].value == 0.4
    assert figures.tar_pairs[0.25].value == 1.0
    assert figures.tar_pairs[0.125].far_achieved == pytest.approx(0.1111, abs=5e-5)
    assert figures.tar_pairs[0.25].far_achieved == pytest.approx(0.1481, abs=5e-5)
    for pair, ranked in ((strict, 2), (loose, 3)):
        assert accepted(found, pair.threshold).sum() == ranked  # TPIR .40 and .60


def test_no_budget_is_said_not_rounded(found):
    figures = identify(found, far=(0.125, 0.001))
    assert figures.tar[0.125].available
    refused = figures.tar[0.001]
    assert not refused.available
    assert refused.value == 0.2
    assert refused.reason == "n < 1/FAR: 8 impostor trials, at least 1,000 are needed"


def test_a_budget_of_every_trial_accepts_everything(found):
    result = tar_at(found, 1.0)
    assert (result.k, result.false_accepts, result.threshold) == (8, 8, -np.inf)
    assert result.value == 0.6
