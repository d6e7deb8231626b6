"""From a file's bytes to the pixels that every viewer shows: uint8, RGB, sRGB, upright.

The rules are in docs/reference/images.md. A change of what comes out for some file raises `RULES`,
which is, with the libraries' versions, in the fingerprint of every set of files.
"""

from __future__ import annotations

import functools
import importlib.metadata
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageFile, UnidentifiedImageError, features

from orchestrator.images.deep import deep_image
from orchestrator.images.kinds import HEAD_BYTES, kind_of, what_instead
from orchestrator.images.profiles import to_srgb
from orchestrator.images.tiff import sample_form
from orchestrator.images.unreadable import Unreadable

RULES = 1
MAX_SIDE = 4096
MAX_BYTES = 256 * 2**20

Mark = Literal["alpha", "frames", "profile", "colours"]
"""What is to be said of an image: its alpha was composited, it has more frames than the one that
is taken, it carries a colour profile that cannot be used, it names colours that are not sRGB's."""

# What a damaged file says of itself in warnings is said by the error that follows, or harmless.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

_FORMATS = {
    "PNG": ("PNG",),
    "JPEG": ("JPEG", "MPO"),
    "TIFF": ("TIFF",),
    "WebP": ("WEBP",),
    "AVIF": ("AVIF",),
    "HEIC": ("HEIF",),
    "GIF": ("GIF",),
    "BMP": ("BMP",),
    "PPM": ("PPM",),
}
_SEVERAL = frozenset({"GIF", "TIFF", "WebP", "PNG", "AVIF"})
_ORIENTATION = 0x0112
_THUMBNAIL, _BITS, _DNG_VERSION = 254, 258, 50706

_UPRIGHT: dict[int, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@dataclass(frozen=True)
class Decoded:
    """An image: `pixels` uint8 (height, width, 3) RGB, its kind, and what is to be said of it."""

    pixels: npt.NDArray[np.uint8]
    kind: str
    marks: frozenset[Mark]


def decoder_identity() -> dict[str, str]:
    """What decides how bytes become pixels: the rules' version, the libraries and theirs."""
    found = {"rules": str(RULES), "Pillow": PIL.__version__}
    for name in ("jpg", "libtiff", "webp", "avif", "littlecms2", "zlib"):
        # The stubs' names of features are fewer than Pillow's.
        version: Any = features.version(name)
        found[name] = str(version)
    try:
        found["pillow-heif"] = importlib.metadata.version("pillow-heif")
    except importlib.metadata.PackageNotFoundError:
        found["pillow-heif"] = "none"
    return found


def decode(data: bytes) -> Decoded:
    """Decode a file's bytes.

    Raises:
        Unreadable: no image that farm takes, damaged, or of a kind whose right pixels are not
            certain.
    """
    kind = kind_of(data[:HEAD_BYTES])
    if kind is None:
        raise Unreadable(what_instead(data[:HEAD_BYTES]))
    try:
        return _decode(data, kind)
    except Unreadable:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        if "exceeds" in str(error):
            raise Unreadable(f"{kind}, larger than an aligned face") from error
        form = sample_form(data) if kind == "TIFF" else ""
        raise Unreadable(form or f"{kind}, damaged") from error
    except Exception as error:  # the decoders raise all kinds of errors over damaged files
        raise Unreadable(f"{kind}, damaged: {_words(error)}") from error


def _decode(data: bytes, kind: str) -> Decoded:
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # another library may have set it
    marks: set[Mark] = set()
    if kind == "PNG":
        with opened(data, kind) as image:
            image.verify()  # checksums; decoding looks at none
    if kind in ("AVIF", "HEIC"):
        marks |= _named_colours(data)
    with opened(data, kind) as image:
        if max(image.size) > MAX_SIDE:
            raise Unreadable(f"{kind}, larger than {MAX_SIDE} pixels on a side; no aligned face")
        if kind in _SEVERAL and _frames(image) > 1:
            marks.add("frames")
        bits = _bits(image)
        if kind == "TIFF":
            _refuse_raw(image)
        profile = image.info.get("icc_profile")
        flat = deep_image(image, bits, lambda: opened(data, kind)) or _shallow(image)
        # Pillow turns TIFF by itself.
        turn = 1 if kind == "TIFF" else image.getexif().get(_ORIENTATION, 1)
    if profile:
        flat, usable = to_srgb(flat, profile)
        if not usable:
            marks.add("profile")
        elif "colours" in marks:
            marks.remove("colours")
    if flat.mode == "CMYK":
        flat = flat.convert("RGB")
    pixels, transparent = _over_black(flat)
    if transparent:
        marks.add("alpha")
    upright = _UPRIGHT.get(turn)
    pixels = pixels if upright is None else upright(pixels)
    return Decoded(np.ascontiguousarray(pixels), kind, frozenset(marks))


def opened(data: bytes, kind: str) -> Image.Image:
    """The image with its header read, by the decoder of its kind and no other."""
    if kind == "HEIC":
        _register_heif()
    return Image.open(io.BytesIO(data), formats=_FORMATS[kind])


@functools.cache
def _register_heif() -> None:
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise Unreadable("HEIC, which pillow-heif reads: pip install pillow-heif") from None
    register_heif_opener(thumbnails=False)


def _bits(image: Image.Image) -> int:
    """Bits a sample, where a TIFF says so; else 0."""
    tags = getattr(image, "tag_v2", None)
    return max(tags.get(_BITS, (1,))) if tags is not None else 0


def _refuse_raw(image: Image.Image) -> None:
    tags: Any = getattr(image, "tag_v2", {})
    if _DNG_VERSION in tags or tags.get(_THUMBNAIL, 0) & 1:
        raise Unreadable("a camera's raw file, of which only its thumbnail can be read")


def _frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # later frames are damaged, which the first does not mind
        return 2


def _shallow(image: Image.Image) -> Image.Image:
    """An image of 8 bits or fewer as L, LA, RGB, RGBA or CMYK."""
    image.load()
    mode, key = image.mode, image.info.get("transparency")
    if mode == "1":
        image, mode = image.convert("L"), "L"
    if mode == "L" and isinstance(key, int):
        alpha = np.where(np.asarray(image) == key, 0, 255).astype(np.uint8)
        return Image.merge("LA", (image, Image.fromarray(alpha)))
    if mode in ("P", "PA", "RGB") and (mode == "PA" or key is not None):
        return image.convert("RGBA")
    if mode in ("P", "RGBX", "YCbCr"):
        return image.convert("RGB")
    if mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return image
    raise Unreadable(f"pixels of the form {mode}, whose levels are not certain; save it as PNG")


def _over_black(image: Image.Image) -> tuple[npt.NDArray[np.uint8], bool]:
    """(pixels, whether anything was transparent)."""
    if image.mode not in ("LA", "RGBA"):
        return np.asarray(image.convert("RGB")), False
    alpha = np.asarray(image.getchannel("A")).astype(np.uint32)[..., None]
    colours = np.asarray(image.convert("RGBA"))[..., :3]
    if alpha.min(initial=255) == 255:
        return colours, False
    return ((colours * alpha * 2 + 255) // 510).astype(np.uint8), True


# ITU-T H.273: BT.709 and sRGB, not said, BT.601 (whose primaries hardly differ).
_SRGB_PRIMARIES = (1, 2, 5, 6)
_HDR_TRANSFERS = (16, 18)


def _named_colours(data: bytes) -> set[Mark]:
    """Of AVIF and HEIC, which may name their colours by numbers instead of a profile."""
    at = data.find(b"colrnclx", 0, 65536)
    if at < 0:
        return set()
    primaries = int.from_bytes(data[at + 8 : at + 10], "big")
    transfer = int.from_bytes(data[at + 10 : at + 12], "big")
    if transfer in _HDR_TRANSFERS:
        raise Unreadable("an HDR image (PQ or HLG); save it as an sRGB image")
    return set() if primaries in _SRGB_PRIMARIES else {"colours"}


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__
