"""Pictures of the tutorials, drawn from the default model when the site is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from orchestrator.calibration.table import Counts, Floats
from orchestrator.calibration.thresholds import Range

ROOT = Path(__file__).parents[2]
TENSOR = "block1.prelu"
GREY, COLOURS = "#808080", {"minmax": "#4c78a8", "percentile": "#f58518", "entropy": "#54a24b"}


def calibrators(path: Path) -> None:
    """The histogram of one tensor of the default model, with each calibrator's range."""
    from orchestrator.calibration import calibrate, preprocess, thresholds
    from orchestrator.graphs.prepare import prepare
    from orchestrator.images import render

    model = prepare((ROOT / "models" / "synthface-ir.onnx").read_bytes())
    people = np.arange(2_000_000, 2_000_016)
    faces = preprocess(render(people, np.zeros(16), difficulty=1.5))
    table = calibrate(model, lambda: [faces], "entropy")
    assert table.histograms is not None
    at = table.tensors.index(TENSOR)
    counts, low, high = table.histograms[at], table.lowest[at], table.highest[at]
    edges = thresholds.bin_edges(low, high, table.bins)
    ranges = {method: table.ranges(method)[TENSOR] for method in COLOURS}
    _draw(path, counts, edges, ranges)


def _draw(path: Path, counts: Counts, edges: Floats, ranges: Mapping[str, Range]) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(
        {"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}
    ):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        groups = counts.reshape(-1, 8).sum(axis=1)  # 256 bars
        axes.stairs(np.maximum(groups, 0.5), edges[::8], fill=True, color=GREY, alpha=0.45)
        axes.set(
            yscale="log", ylim=(0.5, None), xlim=(ranges["minmax"][0] - 1, ranges["minmax"][1] + 1)
        )
        for name, (low, high) in ranges.items():
            label = f"{name}: {low:.2f} to {high:.2f}"
            axes.axvline(float(low), color=COLOURS[name], linewidth=1.4, linestyle="--")
            axes.axvline(
                float(high), color=COLOURS[name], linewidth=1.4, linestyle="--", label=label
            )
        figure.legend(loc="outside upper center", ncols=3, frameon=False, labelcolor="linecolor")
        axes.set_xlabel(f"value of {TENSOR}", color=GREY)
        axes.set_ylabel("how often, 16 images", color=GREY)
        axes.tick_params(colors=GREY)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(GREY)
        figure.savefig(path, transparent=True, metadata={"Date": None})


PICTURES: Mapping[str, Callable[[Path], None]] = {"images/calibrators.svg": calibrators}
