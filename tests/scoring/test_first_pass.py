"""The integer pass: its bound holds, its product is checked, and it gives up where it must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orchestrator.scoring import ScoringError, TrialSet, search, searching
from orchestrator.scoring.exact import normalize
from orchestrator.scoring.first_pass import FirstPass
from orchestrator.scoring.integer_product import (
    LIMITS,
    OnnxruntimeProduct,
    is_exact,
    trusted_product,
)
from orchestrator.scoring.quantized import (
    SEGMENT,
    Turn,
    estimate_error,
    measure,
    padded,
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


def turned(rows, probes):
    """Quantized templates in the order of their largest values, and that order."""
    turn = Turn(probes)
    with np.errstate(over="ignore", invalid="ignore"):
        mixed = turn(rows)
    extents = measure(mixed)
    order = np.argsort(extents.inverse * extents.peak, kind="stable")
    return turn, mixed, extents, order


def per_template(values, count):
    return np.repeat(values, SEGMENT)[:count]


@st.composite
def features(draw):
    """Templates as they come, of any length that is measured in float32, and unit probes."""
    dim = draw(st.sampled_from([1, 2, 3, 24, 96, 130, 512]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spread = draw(st.sampled_from([0.0, 0.5, 2.0]))
    rows = rng.standard_normal((draw(st.integers(1, 150)), dim)) * rng.lognormal(0, spread, dim)
    if draw(st.booleans()):  # integers: largest values on a step, sums without a rounding
        rows = np.rint(rows * 3)
    rows[~rows.any(axis=1), 0] = 1
    lengths = 10.0 ** draw(st.integers(-4, 8)) * rng.lognormal(0, 1, (len(rows), 1))
    rows = (rows * lengths).astype(np.float32)
    probes = normalize(rng.standard_normal((40, dim)).astype(np.float32))[0]
    like = min(draw(st.integers(0, 20)), len(rows))  # also the tightest: scores of 1
    probes[:like] = normalize(rows[:like])[0]
    return rows, probes


@settings(max_examples=150, deadline=None)
@given(features(), st.sampled_from([64, 127]))
def test_the_bound_holds_for_every_pair(made, limit):
    rows, probes = made
    turn, mixed, extents, order = turned(rows, probes)
    assume(extents.safe)
    tile, small = quantize_tile(mixed, extents, order), quantize_probes(probes, turn, limit)
    count = len(rows)
    assert tile.values.shape == (padded(count), rows.shape[1])
    assert (tile.values[count:] == 128).all()
    assert np.abs(small.values.astype(int)).max() <= limit
    integers = (tile.values[:count].astype(np.int64) - 128) @ small.values.astype(np.int64).T
    estimate = integers * per_template(tile.scale, count)[:, None] * small.scale
    unit_templates = normalize(rows)[0][order].astype(np.float64)
    true = unit_templates @ probes.astype(np.float64).T
    slack = np.repeat(score_slack(small).of(tile), SEGMENT, axis=0)[:count]
    assert ((true - estimate) <= slack).all()
    # What float32 makes of the survivors is within its own bound.
    about = (rows[order] @ probes.T).astype(np.float64)
    about *= extents.inverse[order][:, None]
    assert (np.abs(about - true) <= estimate_error(rows.shape[1])).all()


@pytest.mark.parametrize("dim", [3, 96, 512])
@pytest.mark.parametrize("outliers", [False, True])
def test_the_bound_is_no_empty_promise(dim, outliers):
    probes, rows = unit(150, dim, 2, outliers), unit(130, dim, 3, outliers)
    rows[:20] = probes[:20]  # also the tightest: scores of 1
    turn, mixed, extents, order = turned(rows, probes)
    tile, small = quantize_tile(mixed, extents, order), quantize_probes(probes, turn, 64)
    integers = (tile.values[:130].astype(np.int64) - 128) @ small.values.astype(np.int64).T
    estimate = integers * per_template(tile.scale, 130)[:, None] * small.scale
    true = rows[order].astype(np.float64) @ probes.astype(np.float64).T
    slack = np.repeat(score_slack(small).of(tile), SEGMENT, axis=0)[:130]
    assert ((true - estimate) > 0.05 * slack).any()


@pytest.mark.parametrize("dim", [3, 96, 512])
@pytest.mark.parametrize("seed", range(4))
def test_what_a_tile_drops_is_no_more_than_it_says(dim, seed):
    rows = unit(700, dim, seed, outliers=seed % 2 == 1)
    if seed == 3:  # the largest lies exactly on a step, the others just beside one
        rows[:, 0] = rows[0, 0] = np.abs(rows).max()
        rows[1:, 1:] = np.rint(rows[1:, 1:] * 127 / rows[0, 0]) * rows[0, 0] / 127
        rows = normalize(rows)[0]
    lengths = np.random.default_rng(seed).lognormal(0, 3, (700, 1)).astype(np.float32)
    extents = measure(rows * lengths)
    tile = quantize_tile(rows * lengths, extents, np.arange(700))
    values = tile.values[:700].astype(int) - 128
    assert np.abs(values).max() == 127
    exact = (rows * lengths).astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    dropped = exact - values * per_template(tile.scale, 700)[:, None]
    lost = np.sqrt((dropped**2).sum(axis=1))
    true = np.maximum.reduceat(lost, np.arange(0, 700, SEGMENT))
    assert (true <= tile.error).all()
    assert (tile.error <= true * 1.001 + (dim + 12) * 2.0**-24).all()


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e-30, 1e25])
def test_rows_that_float32_cannot_measure_are_not_safe(value):
    rows = unit(20, 8, 0)
    assert measure(rows).safe
    rows[7] = value
    assert not measure(rows).safe


@pytest.mark.parametrize("scale", [1e-11, 1e-30, 1e18])
def test_features_of_any_length_give_the_same_scores(scale):
    gallery, probes = unit(500, 16, 1), unit(90, 16, 2)
    trials = TrialSet(np.arange(500), np.arange(90) + 450)
    odd = (gallery * np.where(np.arange(500) % 7, 1, scale)[:, None]).astype(np.float32)
    if scale == 1e-30:
        with pytest.raises(ScoringError, match=r"gallery: feature row \d+ .* is zero"):
            search(odd, probes, trials, method="int8")
        return
    fast = search(odd, probes, trials, method="int8", tile=100)
    slow = search(odd, probes, trials, method="float32")
    assert np.array_equal(fast.impostor, slow.impostor)
    assert np.array_equal(fast.rank, slow.rank)


def test_every_limit_gives_the_same_scores():
    gallery, probes = unit(900, 64, 1), unit(200, 64, 2)
    exact = [each for each in map(OnnxruntimeProduct, LIMITS) if is_exact(each, 64)]
    assert exact[-1].limit == min(LIMITS)  # the larger one only where the processor has it
    expected, _ = passes(gallery, probes)
    for product in exact:
        found, _ = passes(gallery, probes, product=product)
        assert np.array_equal(found, expected)


@pytest.mark.parametrize("dim", [1, 31, 128, 512])
def test_the_integer_product_is_exact_on_this_machine(dim):
    assert is_exact(OnnxruntimeProduct(64), dim)


class Saturating:
    """A CPU without VNNI: 16-bit sums of two products."""

    def __init__(self, limit):
        self.limit = limit

    def prepare(self, probes):
        def multiply(templates, result):
            terms = templates.astype(np.int64)[:, None, :] * probes.astype(np.int64)[None]
            pairs = np.clip(terms[..., ::2] + terms[..., 1::2], -32768, 32767)
            result[:] = pairs.sum(axis=2) - 128 * probes.astype(np.int64).sum(axis=1)

        return multiply


def test_a_saturating_product_is_found_out_and_used_where_it_does_not_saturate(monkeypatch):
    assert not is_exact(Saturating(127), 64)
    assert is_exact(Saturating(64), 64)
    monkeypatch.setattr("orchestrator.scoring.integer_product.OnnxruntimeProduct", Saturating)
    assert trusted_product.__wrapped__(64).limit == 64


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


def passes(gallery, probes, monkeypatch=None, survivors=None, tile=256, block=64, product=None):
    if survivors is not None:
        monkeypatch.setattr("orchestrator.scoring.first_pass.SURVIVORS", survivors)
    ids = np.arange(len(gallery))
    templates = Templates(gallery, ids, ids, len(ids), np.zeros(len(ids), bool), "mean")
    nobody = MatePairs(np.empty(0, np.intp), np.empty(0, np.intp))
    product = product or trusted_product(gallery.shape[1])
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
