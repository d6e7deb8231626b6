"""Dead boards and wrong preprocessing are seen before anybody believes their score."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.scoring import ScoringError, check_features, dequantize

IDS = np.array([f"person-{row}" for row in range(400)])


def healthy(rows=400):
    return np.random.default_rng(0).standard_normal((rows, 64)).astype(np.float32)


def codes(features, ids=IDS, **options):
    return [
        found.code for found in check_features(features, what="probes of x", ids=ids, **options)
    ]


def test_healthy_features_raise_no_finding():
    assert codes(healthy()) == []


def test_one_vector_for_everybody():
    found = check_features(np.ones((400, 8), np.float32), what="probes of x", ids=IDS)
    assert [finding.code for finding in found] == ["constant", "near_one"]
    assert found[0].message.startswith("probes of x: all 400 feature rows are equal")


def test_hardly_any_different_rows():
    features = healthy(3)[np.arange(400) % 3]
    assert "few_unique" in codes(features)


def test_equal_rows_of_strangers_are_named_and_those_of_one_identity_are_not():
    features = healthy()
    features[90] = features[17]
    found = check_features(features, what="gallery", ids=IDS)
    assert [finding.code for finding in found] == ["duplicates"]
    assert "row 90 (identity person-90) and row 17 (identity person-17)" in found[0].message
    ids = IDS.copy()
    ids[90] = ids[17]
    assert codes(features, ids) == []


def test_an_embedding_with_a_common_offset_is_suspected():
    features = healthy() + 8
    found = check_features(features, what="probes of x", ids=IDS)
    assert [finding.code for finding in found] == ["near_one"]
    assert "colour order" in found[0].message


def test_failed_rows_are_not_looked_at():
    features = healthy()
    failed = np.zeros(400, bool)
    failed[[5, 6]] = True
    features[5], features[6] = np.nan, 0
    assert codes(features, failed=failed) == []


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"probes of x: feature row 399 \(identity person-399\) holds NaN or Inf"),
        (np.inf, "holds NaN or Inf"),
        (0, "is zero"),
        (1e-20, "is zero"),
    ],
)
def test_bad_rows_are_errors(value, message):
    features = healthy()
    features[399] = value
    with pytest.raises(ScoringError, match=message):
        check_features(features, what="probes of x", ids=IDS)


def test_nothing_but_failures_is_an_error():
    with pytest.raises(ScoringError, match="all 400 images failed"):
        check_features(healthy(), what="probes of x", ids=IDS, failed=np.ones(400, bool))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_dequantize(dtype):
    info = np.iinfo(dtype)
    raw = np.arange(info.min, info.max + 1).astype(dtype).reshape(16, 16)
    expected = ((raw.astype(np.float64) - 3) * 0.037).astype(np.float32)
    assert np.array_equal(dequantize(raw, 0.037, 3), expected)
    assert np.array_equal(dequantize(raw[:, ::2], 0.037, 3), expected[:, ::2])
    with pytest.raises(ScoringError, match="positive number"):
        dequantize(raw, 0.0, 3)
    with pytest.raises(ScoringError, match="uint8 or int8"):
        dequantize(raw.astype(np.int32), 0.1, 3)
