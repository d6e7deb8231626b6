"""Damaged image files, seeded: `python -m tests.images.mutated 300` says what became of them."""

from __future__ import annotations

import io
import random
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
from PIL import Image

from orchestrator.images.decoder import decode
from orchestrator.images.unreadable import Unreadable

KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "HEIF")


def sound() -> dict[str, bytes]:
    """A file of each kind, 112 x 112, with some metadata."""
    from pillow_heif import register_heif_opener

    register_heif_opener()
    noise = np.random.default_rng(0).normal(0, 6, (112, 112, 3))
    y, x = np.mgrid[0:112, 0:112]
    smooth = np.stack([x * 2, y * 2, (x + y)], -1) + noise
    image = Image.fromarray(np.clip(smooth, 0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {}
    for kind in KINDS:
        out = io.BytesIO()
        options = {"exif": exif.tobytes()} if kind in ("PNG", "JPEG", "WEBP", "AVIF") else {}
        if kind == "TIFF":
            options = {"compression": "tiff_lzw"}
        image.save(out, kind, **options)
        files[kind] = out.getvalue()
    return files


def mutated(count: int, seed: int = 0) -> Iterator[tuple[str, str, bytes]]:
    """(kind, how, bytes): flipped, cut, with a hole, longer, or with its head of another file."""
    draw = random.Random(seed)
    files = sound()
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        data = bytearray(files[kind])
        how = draw.choice(("flip", "flip head", "cut", "hole", "zero", "longer", "mix", "numbers"))
        if how == "flip":
            for _ in range(draw.randint(1, 20)):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        elif how == "flip head":
            for _ in range(draw.randint(1, 6)):
                data[draw.randrange(min(200, len(data)))] = draw.randrange(256)
        elif how == "cut":
            del data[draw.randrange(len(data)) :]
        elif how == "hole":
            start = draw.randrange(len(data))
            del data[start : start + draw.randint(1, 400)]
        elif how == "zero":
            start = draw.randrange(len(data))
            stop = min(len(data), start + draw.randint(1, 2000))
            data[start:stop] = bytes(stop - start)
        elif how == "longer":
            data += draw.randbytes(draw.randint(1, 5000))
        elif how == "mix":
            other = files[draw.choice(KINDS)]
            cut = draw.randrange(min(len(data), len(other)))
            data[cut:] = other[cut:]
        else:  # a length or an offset becomes huge
            start = draw.randrange(min(len(data) - 4, 300))
            data[start : start + 4] = draw.choice((b"\xff" * 4, b"\x7f\xff\xff\xff", b"\0\0\0\0"))
        yield kind, how, bytes(data)


def outcome(data: bytes) -> str:
    """`read` or `refused`; anything else is an error of farm's, which is raised."""
    try:
        found = decode(data)
    except Unreadable as error:
        words = str(error)
        return "refused" if words and "\n" not in words else f"a bad reason: {words!r}"
    assert found.pixels.dtype == np.uint8
    assert found.pixels.ndim == 3
    return "read"


def main(count: int, seed: int) -> None:
    table = Counter((kind, outcome(data)) for kind, _, data in mutated(count, seed))
    for kind in KINDS:
        print(f"{kind:5} read {table[kind, 'read']:4}  refused {table[kind, 'refused']:4}")
    print("total", sum(table.values()))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
