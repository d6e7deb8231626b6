"""Embedded colour profiles: pixels are brought to sRGB by LittleCMS where they are not there.

Relative colorimetric with black-point compensation. A profile that means sRGB (no colour of a
grid moves by more than two levels) leaves the bytes as they are.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

_TOLERANCE = 2
_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}


def to_srgb(image: Image.Image, profile: bytes) -> tuple[Image.Image, bool]:
    """(the image in sRGB: RGB or RGBA, or as it was where nothing is to do; profile usable).

    Args:
        image: L, LA, RGB, RGBA or CMYK.
        profile: ICC profile.
    """
    mode = {"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode)
    space = _space(profile)
    if mode == "L" and space == "RGB":
        # Software that turns colour to grey keeps the profile. Where its greys are sRGB's there is
        # nothing to say.
        return image, _grey_axis_is_srgb(profile)
    if space != mode:
        return image, False
    transform = _transform(profile, mode)
    if transform is None:
        return image, True
    bands = image.split()
    alpha = bands[-1] if image.mode in ("LA", "RGBA") else None
    colours = Image.merge(mode, bands[:-1]) if alpha is not None else image
    converted = ImageCms.applyTransform(colours, transform)
    if converted is None:  # only where it is asked to work in place
        raise RuntimeError("no image came back")
    if alpha is not None:
        converted.putalpha(alpha)
    return converted, True


@functools.lru_cache(maxsize=64)
def _space(profile: bytes) -> str:
    """Mode of the images that the profile is for; empty where it cannot be read or used."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _SPACES.get(opened.profile.xcolor_space.strip(), "")
        if mode:
            _build(profile, mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return ""
    return mode


def _build(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


@functools.lru_cache(maxsize=64)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """How its colours become sRGB's; None where they are."""
    transform = _build(profile, mode)
    if mode == "CMYK":
        return transform
    probe = _grid() if mode == "RGB" else Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    return None if _moved(probe, transform) <= _TOLERANCE else transform


@functools.lru_cache(maxsize=64)
def _grey_axis_is_srgb(profile: bytes) -> bool:
    greys = Image.fromarray(np.arange(256, dtype=np.uint8)[None]).convert("RGB")
    return _moved(greys, _build(profile, "RGB")) <= _TOLERANCE


def _moved(probe: Image.Image, transform: ImageCms.ImageCmsTransform) -> int:
    after = ImageCms.applyTransform(probe, transform)
    if after is None:
        raise RuntimeError("no image came back")
    return int(np.abs(np.asarray(after).astype(int) - np.asarray(probe.convert("RGB"))).max())


def _grid() -> Image.Image:
    """Colours of the whole cube in steps of 17 levels, and all greys."""
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(1, -1, 3)
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    return Image.fromarray(np.concatenate([cube, greys], 1))
