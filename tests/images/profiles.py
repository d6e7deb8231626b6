"""ICC profiles made by hand, and what their colours are in sRGB, worked out in numpy alone."""

from __future__ import annotations

import struct

import numpy as np

# D50-adapted XYZ of the primaries (Bradford), as published in the profiles themselves.
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
WHITE = (0.96420, 1.0, 0.82491)


def _number(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_number, values))


def _text(tag: bytes, text: bytes) -> bytes:
    if tag == b"desc":
        return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" * 79
    return b"text\0\0\0\0" + text + b"\0"


def _gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256)) + b"\0\0"


def _srgb_curve() -> bytes:
    levels = np.round(65535 * linear(np.arange(1024) / 1023)).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", 1024) + levels.tobytes()


def _profile(kind: bytes, space: bytes, pcs: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    tags = [
        (b"desc", _text(b"desc", b"made by hand")),
        (b"cprt", _text(b"text", b"none")),
        (b"wtpt", _xyz(WHITE)),
        *tags,
    ]
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags:
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data + b"\0" * (-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", at + len(body), b"\0\0\0\0", 0x02400000, kind, space, pcs)
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    head += b"".join(map(_number, WHITE))
    head = head.ljust(128, b"\0")
    return head + struct.pack(">I", len(tags)) + table + body


def colour_profile(primaries=P3, gamma: float | None = None) -> bytes:
    """RGB by three primaries, with sRGB's curve or a gamma."""
    curve = _srgb_curve() if gamma is None else _gamma(gamma)
    tags = [(name, _xyz(p)) for name, p in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)]
    return _profile(
        b"mntr", b"RGB ", b"XYZ ", tags + [(t, curve) for t in (b"rTRC", b"gTRC", b"bTRC")]
    )


def grey_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", [(b"kTRC", _gamma(gamma))])


def ink_profile(corners: np.ndarray) -> bytes:
    """CMYK by the Lab colours of its 16 corners, (2, 2, 2, 2, 3): L, a, b."""
    lab = corners.reshape(-1, 3)
    coded = np.round(np.stack([lab[:, 0] * 2.55, lab[:, 1] + 128, lab[:, 2] + 128], 1))
    line = bytes(range(256))
    identity = b"".join(_number(float(i % 4 == 0)) for i in range(9))
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity
    table += line * 4 + coded.astype(np.uint8).tobytes() + line * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", [(n, table) for n in (b"A2B0", b"A2B1", b"A2B2")])


def linear(v: np.ndarray) -> np.ndarray:
    """sRGB's curve: 0 to 1, to light."""
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def _encoded(v: np.ndarray) -> np.ndarray:
    v = np.clip(v, 0, 1)
    return np.where(v <= 0.0031308, v * 12.92, 1.055 * v ** (1 / 2.4) - 0.055)


def levels_of_xyz(xyz: np.ndarray) -> np.ndarray:
    """sRGB levels 0 to 255 of XYZ under D50, (..., 3)."""
    return np.round(255 * _encoded(xyz @ np.linalg.inv(np.array(SRGB))))


def levels_of_rgb(levels: np.ndarray, primaries=P3, gamma: float | None = None) -> np.ndarray:
    v = levels / 255
    light = linear(v) if gamma is None else v**gamma
    return levels_of_xyz(light @ np.array(primaries))


def levels_of_grey(levels: np.ndarray, gamma: float) -> np.ndarray:
    return np.round(255 * _encoded((levels / 255) ** gamma))


def levels_of_lab(lab: np.ndarray) -> np.ndarray:
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * np.array(WHITE)
    return levels_of_xyz(xyz)
