"""Intervals: published values, the threshold chosen again in each resample, identities together."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.scoring import ScoringError, Searches, identify, wilson
from orchestrator.scoring.figures import descending_impostors, impostor_trials, tar_at
from orchestrator.scoring.intervals import (
    TarReplicates,
    beyond_the_sample,
    clustered_wilson,
    effective_trials,
    highest_threshold,
    identity_weights,
    normal_quantile,
)


def searches(mated=400, unknown=300, each=1, seed=0, ties=False, failed=0.0) -> Searches:
    rng = np.random.default_rng(seed)
    size = mated + unknown
    is_mated = np.arange(size) < mated
    mate = np.where(is_mated, rng.normal(0.62, 0.15, size), np.nan).astype(np.float32)
    impostor = rng.normal(0.35, 0.06, size).astype(np.float32)
    if ties:
        mate, impostor = np.round(mate, 1), np.round(impostor, 1)
    gone = rng.random(size) < failed
    mate[gone] = impostor[gone] = np.nan
    return Searches(
        mate=mate,
        impostor=impostor,
        mated=is_mated,
        failed=gone,
        identity=np.arange(size) // each,
        rank=None,
        gallery_size=mated,
    )


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [
        (40470, 50000, 0.80593, 0.81282),
        (15385, 50000, 0.30367, 0.31176),
        (9, 10, 0.59585, 0.98212),
        (0, 10, 0.0, 0.27753),
        (10, 10, 0.72247, 1.0),
    ],
)
def test_wilson(hits, trials, low, high):
    assert wilson(hits, trials) == pytest.approx((low, high), abs=6e-6)


def test_quantiles():
    assert normal_quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    with pytest.raises(ScoringError, match="between 0 and 1"):
        normal_quantile(95)


def test_one_probe_an_identity_leaves_wilson_alone():
    success = np.arange(100) % 3 > 0
    assert effective_trials(success, np.arange(100)) == 100
    assert clustered_wilson(success, np.arange(100), 0.95) == wilson(66, 100)


def test_probes_that_succeed_together_count_as_one():
    success = np.repeat(np.arange(100) % 3 > 0, 5)
    clusters = np.repeat(np.arange(100), 5)
    assert effective_trials(success, clusters) == pytest.approx(99, abs=1)
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(success)
    assert effective_trials(shuffled, clusters) > 350


def test_resamples_draw_whole_identities_and_keep_both_groups_sizes():
    mated = np.arange(60) < 40
    weights = np.concatenate(list(identity_weights(np.arange(60) // 4, mated, 500, 1)))
    assert weights.shape == (500, 60)
    assert np.array_equal(weights[:, 0::4], weights[:, 3::4])
    assert set(weights[:, mated].sum(axis=1)) == {40}
    assert set(weights[:, ~mated].sum(axis=1)) == {20}
    assert abs(weights.mean() - 1) < 1e-9
    again = np.concatenate(list(identity_weights(np.arange(60) // 4, mated, 500, 1)))
    assert np.array_equal(weights, again)


def test_resamples_come_in_pieces_of_bounded_size():
    pieces = list(identity_weights(np.arange(3_000_000), np.ones(3_000_000, bool), 2, 0))
    assert [piece.shape for piece in pieces] == [(1, 3_000_000)] * 2


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("far", [0.0, 1e-3, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["search", "unknown"])
def test_a_replicate_is_the_tar_of_the_resampled_probes(ties, far, kind):
    """Against the plain way: build each resample as a new set of searches and score it."""
    found = searches(mated=120, unknown=90, each=3, ties=ties, failed=0.05)
    machine = TarReplicates(found, impostor_trials(found, kind))
    (weights,) = identity_weights(found.identity, found.mated, 30, 4)
    got = machine.rates(weights, (far,))[far]
    for row, weight in enumerate(weights):
        chosen = np.repeat(np.arange(weight.size), weight)
        resampled = Searches(
            found.mate[chosen],
            found.impostor[chosen],
            found.mated[chosen],
            found.failed[chosen],
            found.identity[chosen],
            None,
            found.gallery_size,
        )
        assert got[row] == pytest.approx(tar_at(resampled, far, kind).value)


def test_a_deep_budget_beyond_the_first_reach_is_found():
    """Clusters of very different size make the budget's edge move further than is looked first."""
    found = searches(mated=2000, unknown=0)
    found.identity[:] = np.where(np.arange(2000) < 1000, 0, np.arange(2000))
    order = np.argsort(-found.impostor)
    found.identity[order[:1000]], found.identity[order[1000:]] = 0, np.arange(1, 1001)
    machine = TarReplicates(found, impostor_trials(found, "search"))
    weights = np.ones((2, 2000), np.int32)
    weights[0, order[:1000]] = 0
    got = machine.rates(weights, (0.1,))[0.1]
    kept = np.sort(found.impostor[order[1000:]])[::-1]
    right = found.hit & (found.mate > kept[100]) & (weights[0] > 0)
    assert got[0] == pytest.approx(right.sum() / 1000)
    assert got[1] == pytest.approx(tar_at(found, 0.1).value)


def test_tar_is_less_certain_than_a_fixed_threshold_says():
    figures = identify(searches(mated=3000, unknown=4000), far=(1e-3,), seed=3)
    tar = figures.tar[1e-3]
    assert tar.low <= tar.value <= tar.high
    fixed = wilson(tar.value * 3000, 3000)
    assert tar.high - tar.low > 1.5 * (fixed[1] - fixed[0])
    again = identify(searches(mated=3000, unknown=4000), far=(1e-3,), seed=3)
    assert again.tar == figures.tar
    assert identify(searches(mated=3000, unknown=4000), far=(1e-3,), seed=4).tar != figures.tar


def test_a_threshold_beyond_every_trial_is_thought_of():
    """Allowed two false accepts, the true threshold lies above every trial in one set of eight."""
    assert beyond_the_sample(1e-3, 2000, 0.95)
    assert not beyond_the_sample(1e-3, 4000, 0.95)
    rng = np.random.default_rng(0)
    reached = []
    for _ in range(1000):
        impostor = np.sort(0.3 + 0.04 * rng.exponential(size=2000).astype(np.float32))[::-1]
        highest = highest_threshold(impostor, 1e-3, 0.95)
        assert highest >= impostor[0]
        reached.append(highest >= 0.3 + 0.04 * np.log(1000))
    assert 0.96 < np.mean(reached) < 0.99
    assert highest_threshold(np.array([0.9, 0.1], np.float32), 0.5, 0.95) == 1.0
    found = searches(1000, 1000)
    edge = highest_threshold(descending_impostors(found), 1e-3, 0.95)
    rare = (found.hit & (found.mate >= edge)).sum() / 1000
    assert identify(found, far=(1e-3,)).tar[1e-3].low < rare


def test_a_perfect_score_still_has_an_interval():
    found = searches()
    found.mate[found.mated] = 0.9
    figures = identify(found, far=(0.01,))
    assert figures.rank1.value == figures.tar[0.01].value == 1
    assert figures.rank1.low == figures.tar[0.01].low == wilson(400, 400)[0]


def test_targets_without_unknown_probes():
    figures = identify(searches(unknown=0), far=(0.01,))
    assert figures.tpir_unknown == {}
    assert figures.unknown == 0


def test_det_points_are_the_rates_of_their_thresholds():
    found = searches(ties=True, failed=0.02)
    det = identify(found).det
    assert (np.diff(det.far) > 0).all()
    assert (np.diff(det.miss) <= 0).all()
    for far, miss, threshold in zip(det.far, det.miss, det.threshold, strict=True):
        ran = ~found.failed
        assert far == (found.impostor[ran] >= threshold).mean()
        assert miss == pytest.approx(1 - (found.hit & (found.mate >= threshold)).sum() / 400)


def test_too_few_resamples_are_refused():
    with pytest.raises(ScoringError, match="at least 100 resamples, got 10"):
        identify(searches(), bootstrap=10)


def test_saved_searches_come_back_whole(tmp_path):
    found = searches(failed=0.1)
    found.save(tmp_path / "searches.npz")
    back = Searches.load(tmp_path / "searches.npz")
    assert vars(back).keys() == vars(found).keys()
    for name, value in vars(found).items():
        assert np.array_equal(
            getattr(back, name), value, equal_nan=name in ("mate", "impostor")
        ) or (value is None and getattr(back, name) is None)
    assert [path.name for path in tmp_path.iterdir()] == ["searches.npz"]
    whole = (tmp_path / "searches.npz").read_bytes()
    (tmp_path / "searches.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ScoringError, match="not a file of saved searches"):
        Searches.load(tmp_path / "searches.npz")
