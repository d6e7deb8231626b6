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
    assert thresholds.entropy(counts, edges, low, high, levels) == expected
    expected = collector.compute_percentile()["x"][:2]
    assert thresholds.percentile(counts, edges, low, high, 99.0) == expected
