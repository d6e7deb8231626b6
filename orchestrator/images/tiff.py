"""What a TIFF is that Pillow knows no form of: read from its tags, not from its pixels."""

from __future__ import annotations

import io

from PIL import TiffImagePlugin

BITS, SAMPLES, FORMAT = 258, 277, 339
_NAMES = {1: "unsigned integer", 2: "signed integer", 3: "floating-point"}
_INSTEAD = (
    "farm reads unsigned integers of 8 or 16 bits; scale the levels to 0 to 65535 and save them "
    "so, or as PNG"
)


def sample_form(data: bytes) -> str:
    """Why an intact TIFF is not taken: the form of its samples; empty where that is not why.

    Args:
        data: the file.
    """
    try:
        header = data[: 16 if data[2:4] in (b"+\0", b"\0+") else 8]
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        stream = io.BytesIO(data)
        stream.seek(tags.next)
        tags.load(stream)
        bits = tuple(tags.get(BITS, (1,)))
        forms = tuple(tags.get(FORMAT, (1,)))
        count = int(tags.get(SAMPLES, 1))
    except Exception:  # a damaged file raises all kinds of errors
        return ""
    if forms[0] == 1 and max(bits) <= 16:
        return ""
    name = _NAMES.get(forms[0], "other")
    return f"TIFF of {max(bits)}-bit {name} samples, {count} a pixel, is not supported: {_INSTEAD}"
