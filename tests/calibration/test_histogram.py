"""Counting and preprocessing, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from orchestrator.calibration.histogram import Histogrammer
from orchestrator.calibration.preprocess import preprocess
from orchestrator.calibration.thresholds import bin_edges
from orchestrator.errors import UserError

FLOATS = st.floats(-1e6, 1e6, width=32).map(lambda x: 0.0 if abs(x) < 1e-20 else x)


def ours(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    edges = bin_edges(values.min(), values.max(), bins)
    counts = np.zeros(bins, np.int64)
    Histogrammer(bins).add(values, edges, counts)
    return counts, edges


def numpys(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """As onnxruntime's HistogramCollector calls it."""
    top = np.array(max(abs(values.min()), abs(values.max())), np.float32)
    return np.histogram(values, bins, range=(-top, top))


@settings(deadline=None)
@given(arrays(np.float32, st.integers(1, 200), elements=FLOATS), st.sampled_from([2, 128, 2048]))
def test_counts_equal_numpys(values, bins):
    counts, edges = ours(values, bins)
    expected, expected_edges = numpys(values, bins)
    assert edges.tobytes() == expected_edges.astype(np.float32).tobytes()
    np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("scale", [1e-20, 0.37, 1.0, 3e30])
@pytest.mark.parametrize("bins", [128, 2048, 16384])
def test_values_on_and_beside_every_edge(scale, bins):
    edges = bin_edges(np.float32(-scale), np.float32(scale * 0.7), bins)
    below = np.nextafter(edges, np.float32(-np.inf))[1:]
    above = np.nextafter(edges, np.float32(np.inf))[:-1]
    values = np.concatenate([edges, below, above])
    np.testing.assert_array_equal(ours(values, bins)[0], numpys(values, bins)[0])


def test_a_range_too_small_for_bins_counts_as_zero():
    counts, edges = ours(np.array([1e-45, -1e-40], np.float32), 128)
    assert edges[0] == -0.5
    assert counts.sum() == counts[63:65].sum() == 2


def test_many_values():
    values = np.random.default_rng(1).standard_t(3, 300_000).astype(np.float32)
    np.testing.assert_array_equal(ours(values, 2048)[0], numpys(values, 2048)[0])


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_a_constant_tensor(value):
    values = np.full(10, value, np.float32)
    np.testing.assert_array_equal(ours(values, 256)[0], numpys(values, 256)[0])


def test_preprocess_is_one_subtraction_and_one_division_in_float32():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    found = preprocess(images, mean=127.5, std=128.0)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    for n, h, w, c in ((0, 0, 0, 0), (1, 3, 4, 2)):
        expected = (np.float32(images[n, h, w, c]) - np.float32(127.5)) / np.float32(128.0)
        assert found[n, c, h, w] == expected
    blue_first = preprocess(
        images, layout="NHWC", colour_order="BGR", mean=[10, 20, 30], std=[1, 2, 4]
    )
    assert blue_first[1, 2, 3, 0] == np.float32(images[1, 2, 3, 2]) - np.float32(10)
    assert blue_first[1, 2, 3, 2] == (np.float32(images[1, 2, 3, 0]) - np.float32(30)) / 4


def test_preprocess_refuses_what_is_no_image():
    with pytest.raises(UserError, match="expected uint8"):
        preprocess(np.zeros((1, 3, 4, 4), np.uint8))
    with pytest.raises(UserError, match="std is 0"):
        preprocess(np.zeros((1, 4, 4, 3), np.uint8), std=0)
