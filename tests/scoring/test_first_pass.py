"""The integer pass: its bound holds, its product is checked, and it gives up where it must."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.scoring import ScoringError, TrialSet, search, searching
from orchestrator.scoring.exact import normalize
from orchestrator.scoring.first_pass import SEGMENT, FirstPass, padded
from orchestrator.scoring.integer_product import OnnxruntimeProduct, is_exact, trusted_product
from orchestrator.scoring.quantized import (
    Turn,
    quantize_probes,
    quantize_tile,
    score_slack,
    turn_error,
)
from orchestrator.scoring.scan import MatePairs
from orchestrator.scoring.templates import Templates


def unit(n, dim, seed, outliers=False):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, dim))
    if outliers:
        rows[:, :2] *= 30
    return normalize(rows.astype(np.float32))[0]


@pytest.mark.parametrize("dim", [8, 96, 128, 512])
def test_turning_keeps_scores_within_its_bound_and_spreads_outliers(dim):
    rows = unit(200, dim, 1, outliers=True)
    turn = Turn(rows)
    assert turn.used
    turned = turn(rows)
    assert np.abs(turned).max() < 0.8 * np.abs(rows).max()
    before = rows.astype(np.float64) @ rows.astype(np.float64).T
    after = turned.astype(np.float64) @ turned.astype(np.float64).T
    assert np.abs(before - after).max() <= 2.1 * turn_error(dim)


def test_spread_features_are_not_turned():
    rows = unit(200, 512, 1)
    turn = Turn(rows)
    assert not turn.used
    assert turn(rows) is rows


@pytest.mark.parametrize("dim", [3, 96, 512])
@pytest.mark.parametrize("outliers", [False, True])
def test_the_bound_holds_for_every_pair(dim, outliers):
    probes, templates = unit(150, dim, 2, outliers), unit(130, dim, 3, outliers)
    templates[:20] = probes[:20]  # also the tightest: scores of 1
    turn = Turn(probes)
    small, tile = quantize_probes(probes, turn), quantize_tile(turn(templates), padded(130))
    assert tile.values.shape == (SEGMENT, dim)
    integers = (small.values.astype(np.int64) - 128) @ tile.values[:130].astype(np.int64).T
    estimate = integers * (small.scale * tile.scale)[:, None]
    true = probes.astype(np.float64) @ templates.astype(np.float64).T
    slack = score_slack(small, tile, slice(None))
    assert ((true - estimate) <= slack[:, None]).all()
    assert ((true - estimate) > 0.05 * slack[:, None]).any()  # and is no empty promise


@pytest.mark.parametrize("dim", [3, 96, 512])
@pytest.mark.parametrize("seed", range(4))
def test_what_a_tile_drops_is_no_more_than_it_says(dim, seed):
    rows = unit(700, dim, seed, outliers=seed % 2 == 1)
    if seed == 3:  # the largest lies exactly on a step, the others just beside one
        rows[:, 0] = rows[0, 0] = np.abs(rows).max()
        rows[1:, 1:] = np.rint(rows[1:, 1:] * 64 / rows[0, 0]) * rows[0, 0] / 64
    tile = quantize_tile(rows, 700)
    assert np.abs(tile.values.astype(int)).max() == 64
    dropped = rows.astype(np.float64) - tile.values.astype(np.float64) * tile.scale
    true = np.sqrt((dropped**2).sum(axis=1)).max()
    assert true <= tile.error <= true * 1.001 + 2.0**-23


@pytest.mark.parametrize("dim", [1, 31, 128, 512])
def test_the_integer_product_is_exact_on_this_machine(dim):
    assert is_exact(OnnxruntimeProduct(), dim)


class Saturating:
    """What a CPU without VNNI makes of full-range integers: 16-bit sums of two products."""

    def prepare(self, templates):
        def multiply(probes, result):
            terms = probes.astype(np.int64)[:, None, :] * templates.astype(np.int64)[None] * 2
            pairs = np.clip(terms[..., ::2] + terms[..., 1::2], -32768, 32767)
            result[:] = pairs.sum(axis=2) // 2 - 128 * templates.astype(np.int64).sum(axis=1)

        return multiply


def test_a_saturating_product_is_found_out():
    assert not is_exact(Saturating(), 64)


def test_without_an_exact_product_the_single_precision_search_is_used(monkeypatch):
    features = unit(40, 32, 0)
    ids = np.arange(40)
    monkeypatch.setattr(searching, "trusted_product", lambda dim: None)
    monkeypatch.setattr(searching, "FAST_TEMPLATES", 1)
    monkeypatch.setattr(searching, "FAST_DIM", 1)
    monkeypatch.setattr(searching, "FAST_PROBES", 1)
    assert search(features, features, TrialSet(ids, ids)).method == "float32"
    with pytest.raises(ScoringError, match="needs onnx and onnxruntime"):
        search(features, features, TrialSet(ids, ids), method="int8")
    monkeypatch.setattr(searching, "trusted_product", trusted_product)
    assert search(features, features, TrialSet(ids, ids)).method == "int8"


def passes(gallery, probes, monkeypatch=None, survivors=None, tile=256, block=64):
    if survivors is not None:
        monkeypatch.setattr("orchestrator.scoring.first_pass.SURVIVORS", survivors)
    ids = np.arange(len(gallery))
    templates = Templates(gallery, ids, ids, len(ids), np.zeros(len(ids), bool), "mean")
    nobody = MatePairs(np.empty(0, np.intp), np.empty(0, np.intp))
    product = trusted_product(gallery.shape[1])
    return FirstPass(templates, probes, nobody, product, tile, block).run(1, None)


def test_giving_up_a_tile_changes_time_only(monkeypatch):
    gallery, probes = unit(2000, 64, 4), unit(300, 64, 5)
    best, given_up = passes(gallery, probes)
    again, always = passes(gallery, probes, monkeypatch, survivors=-1.0)
    assert always > given_up
    assert np.array_equal(best, again)
    exact = (probes.astype(np.float64) @ gallery.astype(np.float64).T).astype(np.float32)
    assert np.array_equal(best, exact.max(axis=1))


def test_a_dead_board_is_given_up_to_single_precision():
    dead = np.tile(unit(1, 64, 6), (1000, 1))
    best, given_up = passes(dead, dead[:100])
    assert given_up > 0
    assert len(set(best)) == 1


def test_large_gallery_equals_float64_rounded():
    """The fast path's stated claim, against a float64 product of everything."""
    rng = np.random.default_rng(8)
    gallery = rng.standard_normal((13_000, 256)).astype(np.float32)
    probes = gallery[:600] + 3 * rng.standard_normal((600, 256)).astype(np.float32)
    trials = TrialSet(np.arange(13_000), np.r_[np.arange(500), 99_000 + np.arange(100)])
    found = search(gallery, probes, trials)
    assert found.method == "int8"
    g, p = normalize(gallery)[0].astype(np.float64), normalize(probes)[0].astype(np.float64)
    scores = p @ g.T
    own = np.arange(500)
    assert np.array_equal(found.mate[:500], scores[own, own].astype(np.float32))
    scores[own, own] = -np.inf
    assert np.array_equal(found.impostor, scores.max(axis=1).astype(np.float32))
    above = (scores[own].astype(np.float32) >= found.mate[:500, None]).sum(axis=1)
    assert np.array_equal(found.rank[:500], 1 + above)
