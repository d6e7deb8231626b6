"""Thresholds against onnxruntime's histogram collector, over kinds of distribution."""

from __future__ import annotations

import numpy as np
import pytest
from onnxruntime.quantization.calibrate import HistogramCollector

from orchestrator.calibration import thresholds

KINDS = {
    "normal": lambda random, n: random.normal(0, 1, n),
    "heavy tails": lambda random, n: random.standard_t(2, n),
    "after a relu": lambda random, n: np.maximum(random.normal(0, 1, n), 0),
    "positive with outliers": lambda random, n: np.abs(random.standard_cauchy(n)),
    "lopsided": lambda random, n: random.uniform(-1, 0.2, n),
    "few values": lambda random, n: np.round(random.normal(0, 3, n)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("bins", "levels", "count"), [(257, 64, 40), (300, 128, 3000), (256, 127, 300)]
)
def test_entropy_and_percentile_are_bit_equal(kind, bins, levels, count, capsys):
    random = np.random.default_rng([bins, count])
    values = KINDS[kind](random, count).astype(np.float32)
    collector = HistogramCollector("entropy", False, bins, levels, 99.0, "same")
    collector.collect({"x": values})
    counts = collector.histogram_dict["x"][0]
    low, high = values.min(), values.max()
    edges = thresholds.bin_edges(low, high, bins)
    expected = collector.compute_entropy()["x"][:2]
    found = thresholds.entropy(counts[None], [edges], np.array([low]), np.array([high]), levels)
    assert found == [expected]
    expected = collector.compute_percentile()["x"][:2]
    assert thresholds.percentile(counts, edges, low, high, 99.0) == expected


def test_each_tensor_of_many_has_the_range_that_it_has_alone():
    random = np.random.default_rng(3)
    values = [
        make(random, count).astype(np.float32)
        for make in KINDS.values()
        for count in (1, 7, 40, 300, 3000, 20_000)
    ]
    values += [np.zeros(5, np.float32), np.full(3, 2.5, np.float32)]
    lowest = np.array([v.min() for v in values])
    highest = np.array([v.max() for v in values])
    edges = [thresholds.bin_edges(*pair, 300) for pair in zip(lowest, highest, strict=True)]
    counts = np.array([np.histogram(v, e)[0] for v, e in zip(values, edges, strict=True)])
    assert len(counts) > thresholds._TOGETHER
    together = thresholds.entropy(counts, edges, lowest, highest, 128)
    for i, found in enumerate(together):
        one = slice(i, i + 1)
        alone = thresholds.entropy(counts[one], edges[one], lowest[one], highest[one], 128)
        assert [found] == alone
    assert len(set(together)) > 30
