"""The suspects as one picture, side by side, for a person to judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from orchestrator.results import AuditExample, AuditFinding, AuditImage

TILE = 128
"""A side of an image on the sheet, in pixels; small faces are enlarged to it."""

_GAP = 8
_LINE = 16
_CAPTION = 3 * _LINE
_COLUMNS = 3
_CELL = 2 * TILE + 3 * _GAP
_WIDTH = _COLUMNS * (_CELL + _GAP) + _GAP
_COLOURS = {"leak": (176, 0, 32), "warning": (150, 90, 0), "note": (60, 60, 60)}


def draw(
    findings: Sequence[AuditFinding], read: Callable[[AuditImage], npt.NDArray[np.uint8]]
) -> Image.Image:
    """Every example that a finding names, below the finding's words.

    Args:
        findings: those without examples are left out.
        read: an image's pixels, uint8 (height, width, 3), RGB.

    Raises:
        UserError: an image cannot be read.
    """
    shown = [finding for finding in findings if finding.examples]
    fonts = _font(12), _font(10)
    heads = [_wrapped(_heading(finding), fonts[0]) for finding in shown]
    heights = [
        len(head) * (_LINE + 4) + _rows(finding) * (TILE + _CAPTION + 2 * _GAP) + 2 * _GAP
        for head, finding in zip(heads, shown, strict=True)
    ]
    sheet = Image.new("RGB", (_WIDTH, max(sum(heights), _LINE) + _GAP), "white")
    pen = ImageDraw.Draw(sheet)
    top = _GAP
    for finding, head, height in zip(shown, heads, heights, strict=True):
        for number, line in enumerate(head):
            place = (_GAP, top + number * (_LINE + 4))
            pen.text(place, line, _COLOURS[finding.severity], font=fonts[0])
        start = top + len(head) * (_LINE + 4) + _GAP
        for number, example in enumerate(finding.examples):
            row, column = divmod(number, _COLUMNS)
            left = _GAP + column * (_CELL + _GAP)
            down = start + row * (TILE + _CAPTION + 2 * _GAP)
            _example(sheet, pen, fonts[1], example, (left, down), read)
        top += height
    return sheet


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu, which matplotlib brings: Pillow's own font has no accents."""
    import matplotlib

    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(file), size)


def _rows(finding: AuditFinding) -> int:
    return -(-len(finding.examples) // _COLUMNS)


def _heading(finding: AuditFinding) -> str:
    shown = len(finding.examples)
    some = f" (the first {shown} are shown)" if shown < finding.count else ""
    return f"{finding.severity.upper()}: {finding.sentence}{some}"


def _example(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont,
    example: AuditExample,
    place: tuple[int, int],
    read: Callable[[AuditImage], npt.NDArray[np.uint8]],
) -> None:
    left, top = place
    box = (left, top, left + _CELL, top + TILE + _CAPTION + _GAP)
    pen.rectangle(box, outline=(210, 210, 210))
    for number, image in enumerate(example.images):
        x = left + _GAP + number * (TILE + _GAP)
        sheet.paste(_tile(read(image)), (x, top + _GAP // 2))
        who = f"{image.role}: {image.identity}" if image.identity else image.role
        for line, words in enumerate((who, image.name)):
            text = _shortened(words, font, TILE, front=line == 0)
            pen.text((x, top + TILE + _GAP + line * _LINE), text, (0, 0, 0), font=font)
    if len(example.images) == 2:
        alike = (
            "identical to the pixel"
            if example.bits is None
            else f"near-identical: {example.bits} of 256 bits differ"
        )
        pen.text((left + _GAP, top + TILE + _GAP + 2 * _LINE), alike, (90, 90, 90), font=font)


def _tile(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """The image within a square, its shape kept."""
    image = Image.fromarray(pixels)
    scale = TILE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    tile = Image.new("RGB", (TILE, TILE), (235, 235, 235))
    tile.paste(image.resize(size), ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: int, *, front: bool) -> str:
    """As much as fits, of a role from the front, of a path from its end."""
    text = text.encode("utf-8", "replace").decode()
    if font.getlength(text) <= width:
        return text
    cut = text
    while cut and font.getlength(f"…{cut}") > width:
        cut = cut[:-1] if front else cut[1:]
    return f"{cut}…" if front else f"…{cut}"


def _wrapped(text: str, font: ImageFont.FreeTypeFont) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > _WIDTH - 2 * _GAP and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
