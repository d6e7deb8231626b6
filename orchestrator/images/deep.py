"""Images of more than 8 bits a sample, scaled to 8: level v of `top` becomes round(v * 255 / top).

Pillow keeps grey of 16 bits as it is, but of colours it unpacks the high byte only. The low byte
comes from the same decoder with the other byte order, so both are had exactly.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from orchestrator.images.unreadable import Unreadable

_OTHER_ORDER = {
    "B": "L",
    "L": "B",
    "N": "B" if sys.byteorder == "little" else "L",
}
_COLOURS = ("RGB", "RGBX", "RGBA", "CMYK")
_WHITE_IS_ZERO = 262  # PhotometricInterpretation, 0: white


def deep_image(
    image: Image.Image, bits: int, again: Callable[[], Image.Image]
) -> Image.Image | None:
    """The image with 8 bits a sample: L, LA, RGB, RGBA or CMYK; None where it is not deep.

    Args:
        image: opened, not loaded.
        bits: bits a sample where the file says so, else 0.
        again: opens the same file once more.

    Raises:
        Unreadable: levels whose range is not certain.
    """
    key = image.info.get("transparency")
    raw = _raw_mode(image)
    if image.mode.startswith("I;16"):
        return _grey(image, bits or 16, key)
    if image.mode == "I" and image.format == "PPM":
        image.load()
        return _eight(np.asarray(image).astype(np.uint16)[..., None], 65535, "L")
    if image.mode in ("I", "F"):
        raise Unreadable(
            "numbers of 32 bits or with a sign, whose range is not certain; save it as 8 or 16 bit"
        )
    if ";16" not in raw:
        if bits > 8:
            raise Unreadable(f"{bits} bits a sample in a form that is not known; save it as PNG")
        return None
    if raw == "LA;16B":
        return _grey_alpha(image)
    name, _, order = raw.partition(";16")
    if name not in _COLOURS or order not in _OTHER_ORDER:
        raise Unreadable(f"16 bits a sample in the form {raw}; save it as PNG")
    with again() as other:
        _set_raw_mode(other, f"{name};16{_OTHER_ORDER[order]}")
        other.load()
        low = np.asarray(other).astype(np.uint16)
    image.load()
    samples = (np.asarray(image).astype(np.uint16) << 8) | low
    if isinstance(key, tuple) and image.mode == "RGB":
        alpha = np.where((samples == np.asarray(key, np.uint16)).all(2), 0, 65535)
        samples = np.dstack([samples, alpha.astype(np.uint16)])
        return _eight(samples, 65535, "RGBA")
    return _eight(samples, 65535, image.mode)


def _grey(image: Image.Image, bits: int, key: object) -> Image.Image:
    tags: Any = getattr(image, "tag_v2", {})
    inverted = tags.get(_WHITE_IS_ZERO) == 0
    image.load()
    top = 2**bits - 1
    samples = np.asarray(image).astype(np.uint16)[..., None]
    if samples.max(initial=0) > top:
        raise Unreadable(f"levels above {top} in an image of {bits} bits")
    if inverted:
        samples = (top - samples).astype(np.uint16)
    if isinstance(key, int):
        alpha = np.where(samples == key, 0, top).astype(np.uint16)
        return _eight(np.dstack([samples, alpha]), top, "LA")
    return _eight(samples, top, "L")


def _grey_alpha(image: Image.Image) -> Image.Image:
    """Four bytes a pixel, which are taken as they stand: high and low, of grey and of alpha."""
    _set_raw_mode(image, "RGBA")
    image.load()
    data = np.asarray(image).astype(np.uint16)
    return _eight((data[..., 0::2] << 8) | data[..., 1::2], 65535, "LA")


def _eight(samples: npt.NDArray[Any], top: int, mode: str) -> Image.Image:
    scaled = ((samples.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)
    height, width = scaled.shape[:2]
    data = np.ascontiguousarray(scaled).tobytes()
    return Image.frombytes(mode, (width, height), data)


def _raw_mode(image: Image.Image) -> str:
    tiles: Any = getattr(image, "tile", None)
    if not tiles:
        return ""
    args = tiles[0].args
    return str(args[0] if isinstance(args, tuple) and args else args)


def _set_raw_mode(image: Image.Image, raw: str) -> None:
    holder: Any = image
    holder.tile = [
        tile._replace(args=(raw, *tile.args[1:]) if isinstance(tile.args, tuple) else raw)
        for tile in holder.tile
    ]
