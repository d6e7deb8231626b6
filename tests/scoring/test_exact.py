"""The fast certified sums equal math.fsum, and scores do not depend on how they are computed."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.scoring.exact import chosen_scores, error32, error64, normalize, pair_scores
from tests.scoring import reference


def rows(n, dim, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, dim)) * rng.lognormal(0, 2, (n, dim))).astype(np.float32)


@pytest.mark.parametrize("dim", [1, 3, 128, 512])
def test_unit_rows_are_those_of_an_exact_norm(dim):
    features = rows(60, dim)
    unit, norms = normalize(features)
    assert np.array_equal(unit, np.array([reference.unit(row) for row in features]))
    assert norms == pytest.approx(np.linalg.norm(features.astype(np.float64), axis=1))


def test_a_quotient_next_to_a_rounding_edge_is_settled_exactly():
    """3-4-5 rows: the norm is exact, the interval around it is not, and 3/5 sits on no edge but
    (1 + 2**-24) * n does: half way between two float32."""
    length = 1.0 + 2.0**-24
    row = np.array([[length, 0.0]])  # float64 input: unit value is exactly 1
    assert normalize(row)[0].tolist() == [[1.0, 0.0]]
    edge = np.array([[1.0 + 2.0**-24, 1e-9]])
    assert np.array_equal(normalize(edge)[0][0], reference.unit(edge[0]))


def test_unusable_rows_keep_the_norm_that_says_why():
    features = np.array([[0, 0], [np.nan, 1], [np.inf, 1], [3, 4]], np.float32)
    unit, norms = normalize(features)
    assert norms[0] == 0
    assert not np.isfinite(norms[1:3]).any()
    assert np.array_equal(unit[3], np.array([0.6, 0.8], np.float32))


@pytest.mark.parametrize("dim", [2, 64, 512])
def test_pair_scores_are_exactly_rounded(dim):
    probes, _ = normalize(rows(200, dim, 1))
    gallery, _ = normalize(rows(200, dim, 2))
    expected = np.array([reference.score(p, g) for p, g in zip(probes, gallery, strict=True)])
    assert np.array_equal(pair_scores(probes, gallery), expected)


def test_a_sum_on_a_rounding_edge_is_settled_by_fsum():
    """1/2 + 2**-25 lies half way between two float32, less a crumb that plain sums cannot see."""
    probe = np.array([[0.5, 2.0**-13, 2.0**-40]], np.float32)
    gallery = np.array([[1.0, 2.0**-12, -(2.0**-40)]], np.float32)
    assert pair_scores(probe, gallery)[0] == reference.score(probe[0], gallery[0])
    gallery[0, 2] = 2.0**-20
    assert pair_scores(probe, gallery)[0] == reference.score(probe[0], gallery[0])


def test_many_and_few_pairs_are_scored_alike():
    probes, _ = normalize(rows(40, 96, 3))
    gallery, _ = normalize(rows(70, 96, 4))
    row, column = (index.ravel() for index in np.indices((40, 70)))
    whole = chosen_scores(probes, gallery, row, column)
    some = np.arange(0, row.size, 97)
    assert np.array_equal(chosen_scores(probes, gallery, row[some], column[some]), whole[some])
    assert np.array_equal(whole, pair_scores(probes[row], gallery[column]))


@pytest.mark.parametrize("dim", [4, 128, 512])
def test_the_bounds_hold_for_blas(dim):
    probes, _ = normalize(np.abs(rows(64, dim, 5)))  # no cancellation: errors add up
    gallery, _ = normalize(np.abs(rows(64, dim, 6)))
    exact = np.array([[reference.score(p, g) for g in gallery] for p in probes], np.float64)
    assert np.abs((probes @ gallery.T) - exact).max() <= error32(dim) + 2.0**-24
    wide = probes.astype(np.float64) @ gallery.astype(np.float64).T
    assert np.abs(wide - exact).max() <= error64(dim) + 2.0**-24
