"""The layer report as a drawing: each layer's own error and what has gathered up to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from orchestrator.errors import UserError

FORMATS = (".svg", ".png")
_OWN, _REACHED, _BAD = "#4c78a8", "#7f7f7f", "#d62728"


class Layer(Protocol):
    """What is drawn of a layer."""

    @property
    def name(self) -> str:
        """The node's."""

    @property
    def own_channel_db(self) -> float:
        """Mean of its channels' SQNR with float32 inputs, dB."""

    @property
    def reached_db(self) -> float:
        """SQNR with every error before it, dB."""


def draw_layers(path: Path, title: str, layers: Sequence[Layer], named: str, usual: float) -> None:
    """Write the plot.

    Args:
        path: to a .svg or .png file.
        title: above it.
        layers: in the order they are computed.
        named: the layer to point at.
        usual: the median that layers are held against, dB.

    Raises:
        UserError: another kind of file, or it cannot be written.
    """
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: a plot is written as {' or '.join(FORMATS)}")
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(7.0, 0.24 * len(layers)), 4.6), layout="constrained")
    ax = figure.subplots()
    places = range(len(layers))
    colours = [_BAD if layer.name == named else _OWN for layer in layers]
    ax.bar(places, [layer.own_channel_db for layer in layers], color=colours, label="own")
    ax.plot(
        places,
        [layer.reached_db for layer in layers],
        color=_REACHED,
        marker=".",
        label="with every error before it",
    )
    ax.axhline(usual, color=_OWN, linewidth=0.8, linestyle=":", label="median of own")
    ax.set_xticks(places, [layer.name for layer in layers], rotation=90, fontsize=7)
    ax.set_xlim(-0.6, len(layers) - 0.4)
    ax.set_ylabel("signal to quantization noise, dB")
    ax.set_title(title, loc="left", fontsize=10)
    ax.legend(frameon=False, fontsize=8)
    try:
        with matplotlib.rc_context({"svg.hashsalt": "farm", "svg.fonttype": "none"}):
            metadata = {"Date": None} if path.suffix.lower() == ".svg" else None
            figure.savefig(path, metadata=metadata)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error
