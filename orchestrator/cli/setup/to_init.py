"""What `farm init` was told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ToInit:
    """What `farm init` was told; None and empty where it was told nothing.

    Attributes:
        model: the ONNX file; None for farm's own model.
        images, calibration: folders of aligned faces.
        boards: kinds, with commas between them.
        size: (height, width) where the model leaves them open.
        output: the embedding's name.
        mean, std: one number or three.
        asks: whether a person may be asked for what was not said.
    """

    folder: str
    model: str | None
    name: str | None
    images: str | None
    skip_unreadable: bool
    calibration: str | None
    boards: str | None
    size: tuple[int, int] | None
    output: str | None
    identities: int
    colour: str | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    force: bool
    asks: bool
    as_json: bool
