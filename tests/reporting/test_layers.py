"""The drawing of a layer report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.reporting.html.layers import draw_layers


@dataclass(frozen=True)
class Layer:
    name: str
    own_channel_db: float
    reached_db: float


LAYERS = [Layer("stem.conv", 30.0, 28.0), Layer("fc", 12.0, 10.0)]


def test_layers_are_drawn_by_name_and_twice_alike(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg", "c.png"):
        draw_layers(tmp_path / name, "a title", LAYERS, "fc", 21.0)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert b"stem.conv" in drawn
    assert b"a title" in drawn
    assert drawn == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"written as \.svg or \.png"):
        draw_layers(tmp_path / "a.jpg", "", LAYERS, "fc", 21.0)
    with pytest.raises(UserError, match="cannot be written: No such file"):
        draw_layers(tmp_path / "none" / "a.svg", "", LAYERS, "fc", 21.0)
