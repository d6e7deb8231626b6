"""What a file is, by its first bytes: names and extensions are not looked at."""

from __future__ import annotations

HEAD_BYTES = 64
"""So many first bytes of a file are enough for `kind_of`."""

TAKEN = ("PNG", "JPEG", "TIFF", "WebP", "AVIF", "HEIC", "GIF", "BMP", "PPM")
"""Kinds of images that farm decodes."""

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
)
_OTHERS = (
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "a Photoshop file"),
    (b"%PDF", "a PDF file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML file"),
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself: git lfs pull"),
)
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})


def kind_of(head: bytes) -> str | None:
    """The kind of image, one of `TAKEN`, or None.

    Args:
        head: the first `HEAD_BYTES` bytes, or all of a shorter file.
    """
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return None if kind == "TIFF" and head[8:10] == b"CR" else kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        size = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIC" if brands & _HEIC else None
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    return None


def what_instead(head: bytes) -> str:
    """Words for a file that `kind_of` does not know."""
    if not head:
        return "an empty file"
    if head.startswith(b"II*\x00") and head[8:10] == b"CR":
        return "a camera's raw file"
    for magic, name in _OTHERS:
        if head.startswith(magic):
            return name
    return f"no image that farm reads ({', '.join(TAKEN)})"
