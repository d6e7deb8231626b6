"""What `farm explain --run` kept beside a run, as charts of its report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.reporting.html import svg
from orchestrator.reporting.text import plain

FOLDER = "explained"
WIDTH = 8.4


def keep(run: Path, explanation: Mapping[str, Any]) -> Path:
    """Write an explanation (the object of `farm explain --json`) beside its run, atomically.

    A row's earlier explanation is replaced.
    """
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / f"{explanation['cell'].rstrip('*').replace('/', '+')}.json"
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(explanation, indent=1), encoding="utf-8")
    partial.replace(path)
    return path


def kept(run: Path) -> list[dict[str, Any]]:
    """A run's explanations by row; a damaged file is left out."""
    found = []
    for path in sorted((run / FOLDER).glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(data, dict) and data["layers"] and data["cell"]:
                found.append(data)
        except (OSError, ValueError, KeyError):
            continue
    return found


def charts(explanations: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """A drawing and its caption for each explanation."""
    return [(_chart(number, each), _said(each)) for number, each in enumerate(explanations)]


def _chart(number: int, found: Mapping[str, Any]) -> str:
    layers = found["layers"]
    named = found["first_bad"]
    tips = svg.Tips()
    with svg.style():
        figure = svg.new_figure(max(WIDTH, 0.2 * len(layers)), 3.6)
        ax = figure.subplots()
        for place, layer in enumerate(layers):
            colour = svg.BAD if layer["name"] == named else svg.SERIES[0]
            (bar,) = ax.bar([place], [layer["own_channel_db"]], color=colour)
            tips.add(
                bar,
                f"{layer['name']} ({layer['operator']}): own {layer['own_channel_db']:.1f} dB, "
                f"cosine {layer['own_cosine']:.5f}; reached {layer['reached_db']:.1f} dB, "
                f"cosine {layer['reached_cosine']:.5f}",
            )
        ax.plot(
            range(len(layers)),
            [layer["reached_db"] for layer in layers],
            color=svg.SERIES[1],
            marker=".",
            label="with every error before it",
        )
        ax.axhline(found["usual_channel_db"], color=svg.FAINT, linestyle=":", label="median of own")
        ax.set_xticks(
            range(len(layers)),
            [plain(str(layer["name"])) for layer in layers],
            rotation=90,
            fontsize=7,
        )
        ax.set_xlim(-0.6, len(layers) - 0.4)
        ax.set_ylabel("signal to quantization noise, dB")
        ax.set_title(plain(f"{found['cell']}: {found['scheme']}"), loc="left")
        ax.legend(fontsize=8)
    said = f"Quantization error of {len(layers)} layers of {plain(str(found['cell']))}."
    return svg.inline(figure, f"layers{number}", said, tips)


def _said(found: Mapping[str, Any]) -> str:
    worst = found["first_bad"] or found["worst"]
    text = (
        f"Executed by {found['executed_by']}, {found['images']} probe images. Bars: the layer's "
        "own error, given float32 inputs. "
        + (
            f"First bad layer: {worst}."
            if found["first_bad"]
            else f"No layer is known to cost accuracy; the noisiest is {worst}."
        )
    )
    effect = found["effect"]
    if effect:
        text += (
            f" With {effect['layer']} kept float, Rank-1 goes from {100 * effect['quantized']:.2f} "
            f"to {100 * effect['kept']:.2f} % (float32: {100 * effect['float32']:.2f} %), "
            f"p = {effect['p']:.2g}, over {effect['mated']:,} mated probes."
        )
    return plain(text)
