"""Rendered faces: aligned 112 x 112 RGB pictures of nobody, made from numbers alone.

Only numpy is used. The same numbers give the same picture up to one level (of 256) between
machines, because matrix products round differently; whoever needs identity hashes the bytes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from orchestrator.images.counter import normal, uniform
from orchestrator.images.face import Faces, shape_faces
from orchestrator.images.rendered import SIZE

_BATCH = 32  # faces shaped at once
_PAINTED = 8  # faces painted at once: the working set stays within a core's cache

Array = npt.NDArray[np.float32]
f4 = np.float32


def light_patterns(x: Array, y: Array) -> Array:
    """Eight patterns of light at places of the aligned image (two arrays of one shape).

    Returns:
        float32 (8, number of places).
    """
    u, v = (x - 56) / 50, (y - 62) / 66
    patterns = np.stack(
        [
            np.ones_like(u),
            u,
            v,
            np.sqrt(np.clip(1 - 0.8 * u**2 - 0.8 * v**2, 0.02, 1)),
            u * v,
            u**2 - v**2,
            np.sin(3.1 * u + 1.0),
            np.sin(2.3 * v + 0.5),
        ]
    )
    flat: Array = patterns.reshape(8, -1).astype(f4)
    return flat


_y, _x = np.mgrid[0:SIZE, 0:SIZE].astype(f4)
_LIGHT = light_patterns(_x, _y)
_ROW = np.arange(SIZE, dtype=f4)


def render(
    ids: npt.ArrayLike, shots: npt.ArrayLike, seed: int = 0, difficulty: float = 1.0
) -> npt.NDArray[np.uint8]:
    """Pictures of faces.

    Args:
        ids: identity numbers, integers (N,).
        shots: numbers that tell pictures of one identity apart, integers (N,).
        seed: another seed is another population.
        difficulty: how much pose, expression, light, blur, noise and occlusion vary; 0 is none.

    Returns:
        uint8 (N, 112, 112, 3), RGB.
    """
    ids, shots = np.asarray(ids), np.asarray(shots)
    out = np.empty((len(ids), SIZE, SIZE, 3), np.uint8)
    for i in range(0, len(ids), _BATCH):
        part = slice(i, i + _BATCH)
        faces = shape_faces(ids[part], shots[part], seed, difficulty)
        light = _light(faces, difficulty)
        for j in range(0, len(light), _PAINTED):
            k = min(j + _PAINTED, len(light))
            _paint(faces.part(j, k), light[j:k], difficulty, out[i + j : i + k])
    return out


@cache
def noise_bank() -> Array:
    """Normal numbers for cameras' noise, float32 (1,048,576,)."""
    u = uniform(77, 9, np.arange(64), np.zeros(64), 1 << 14)
    return normal(u).astype(f4).ravel()


def _column(values: npt.NDArray[np.floating]) -> Array:
    return np.asarray(values, f4)[:, None]


def _sigmoid(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """1 / (1 + exp(x)) with x cut at 20: falls from 1 to 0."""
    x = np.clip(x, -20, 20)
    np.exp(x, out=x)
    x += 1
    np.divide(1, x, out=x)
    return x


def _paint(faces: Faces, light: Array, difficulty: float, out: npt.NDArray[np.uint8]) -> None:
    picture = paint_blobs(faces, _ROW, _ROW)
    picture *= light
    _surround(picture, faces, light, difficulty)
    _occlude(picture, faces, difficulty)
    _photograph(picture, faces, difficulty)
    levels = picture.astype(np.uint8)
    for channel in range(3):
        out[..., channel] = levels[:, channel]


def paint_blobs(faces: Faces, x: Array, y: Array) -> Array:
    """Skin with all blobs, in columns `x` and rows `y` of the aligned image: a product of bells.

    Returns:
        float32 (faces, 3, rows, columns).
    """

    def bell(
        place: Array, middle: npt.NDArray[np.float64], spread: npt.NDArray[np.float64]
    ) -> Array:
        t = (place - middle.astype(f4)[:, :, None]) / spread.astype(f4)[:, :, None]
        np.square(t, out=t)
        t *= f4(-0.5)
        np.exp(t, out=t)
        return t

    across, down = bell(x, faces.x, faces.width), bell(y, faces.y, faces.height)
    weighted = faces.colour.astype(f4)[:, :, :, None] * down[:, None]
    left = weighted.transpose(0, 1, 3, 2).reshape(len(faces.x), 3 * len(y), -1)
    picture: Array = np.matmul(left, across).reshape(-1, 3, len(y), len(x))
    picture += faces.skin.astype(f4)[:, :, None, None]
    return picture


def light_mix(faces: Faces, difficulty: float) -> Array:
    """How much of each of the eight patterns lights a face, float32 (faces, 8)."""
    shake = faces.nuisance
    mix = np.empty((len(shake), 8), f4)
    mix[:, 0] = 0.62 + 0.10 * difficulty * shake[:, 30]
    mix[:, 1] = difficulty * 0.20 * shake[:, 31] - 0.15 * faces.yaw
    mix[:, 2] = -0.06 + difficulty * 0.12 * shake[:, 32]
    mix[:, 3] = 0.42 + 0.08 * difficulty * shake[:, 33]
    mix[:, 4:6] = difficulty * 0.07 * shake[:, 34:36]
    mix[:, 6:8] = difficulty * 0.05 * shake[:, 36:38]
    return mix


def _light(faces: Faces, difficulty: float) -> Array:
    """How bright each place is, float32 (faces, 1, 112, 112): eight patterns mixed."""
    # One product a face: in a product of many rows a row's rounding depends on its place, and a
    # face must not depend on which others are rendered with it.
    mix = light_mix(faces, difficulty)
    light: Array = np.matmul(mix[:, None], _LIGHT).reshape(-1, 1, SIZE, SIZE)
    np.clip(light, 0.08, 1.8, out=light)
    return light


def _surround(picture: Array, faces: Faces, light: Array, difficulty: float) -> None:
    """Cut the face out by its outline; put background and hair around and on it."""
    row = np.arange(SIZE, dtype=f4)
    shake, chance = faces.nuisance, faces.chance
    scale, centre_x, centre_y = (
        _column(v) for v in (faces.scale, faces.centre.real, faces.centre.imag)
    )
    soft = np.sqrt(1.2 + faces.blur**2).astype(f4)[:, None, None] * f4(0.7)
    # The head's half width in each row.
    down = (row[None] - centre_y) / (scale * (_column(faces.chin) - 66))
    widest = _column(faces.half_width) * scale * (1 - 0.10 * np.abs(_column(np.sin(faces.yaw))))
    power = np.clip(2.7 + 0.35 * _column(faces.jaw), 1.7, 4)
    profile = np.where(down > 0, np.clip(down, 0, 1.2) ** power, (down * 0.72) ** 2)
    half = widest * np.sqrt(np.clip(1 - profile, 0, 1))
    outside = -((half[:, :, None] - np.abs(row[None, None] - centre_x[:, :, None])) / soft)
    inside_share = _sigmoid(outside)[:, None]
    outside -= 9
    outside /= 2.0
    near_share = _sigmoid(outside)[:, None]

    wall = chance[:, 40:43].astype(f4)[:, :, None, None] * 0.9
    slope = chance[:, 43].astype(f4)[:, None, None, None] - 0.5
    ground = wall * (0.8 + 0.4 * slope * (_y / 56 - 1))
    hair = faces.hair.astype(f4) * (1 + 0.15 * difficulty * shake[:, 44:45]).astype(f4)
    length = np.where(faces.long_hair, 112, 60 + 8 * shake[:, 45]).astype(f4)[:, None]
    side_share = _sigmoid((row[None] - length) / 3)[:, None, :, None]
    lit_hair = hair[:, :, None, None] * np.clip(light, 0.4, 1.3)
    lit_hair -= ground
    lit_hair *= side_share * near_share
    ground += lit_hair

    picture -= ground
    picture *= inside_share
    picture += ground

    middle = _column(faces.identity[:, 46])
    bend = 1 + 0.3 * _column(faces.identity[:, 45])
    line = centre_y + scale * (_column(faces.hairline) - 66)
    line = line + 0.010 * (row[None] - centre_x + 6 * middle) ** 2 * bend
    hair_share = _sigmoid((row[None, :, None] - line[:, None, :]) / (soft * 1.4))[:, None]
    top = hair[:, :, None, None] * (0.75 + 0.35 * light)
    top -= picture
    top *= hair_share
    picture += top


def _occlude(picture: Array, faces: Faces, difficulty: float) -> None:
    """Cover some faces by a mask or by a rectangle (hand, phone, scarf)."""
    chance = faces.chance
    for i in np.nonzero(chance[:, 50] < 0.12 * difficulty)[0]:
        colour = chance[i, 51:54].astype(f4)[:, None, None]
        if chance[i, 54] < 0.35:
            picture[i, :, int(74 + 6 * chance[i, 55]) :, 14:98] = colour
        else:
            height, width = int(12 + 26 * chance[i, 55]), int(12 + 34 * chance[i, 56])
            top, left = int(chance[i, 57] * (SIZE - height)), int(chance[i, 58] * (SIZE - width))
            picture[i, :, top : top + height, left : left + width] = colour


def _photograph(picture: Array, faces: Faces, difficulty: float) -> None:
    """The camera: gain, white balance, saturation, contrast, noise; levels 0 to 255."""
    shake = faces.nuisance
    gain = np.exp(0.16 * difficulty * shake[:, 46]).astype(f4)[:, None]
    gain = gain * np.exp(0.05 * difficulty * shake[:, 47:50]).astype(f4)
    picture *= (gain * 255)[:, :, None, None]
    saturation = np.clip(1 + 0.25 * difficulty * shake[:, 59], 0, 1.6).astype(f4)[:, None, None]
    contrast = np.exp(0.10 * difficulty * shake[:, 60]).astype(f4)[:, None, None]
    grey = ((picture[:, 0] + picture[:, 1] + picture[:, 2]) / f4(3))[:, None]
    picture -= grey
    picture *= saturation[:, None]
    picture += grey
    picture *= contrast[:, None]
    picture += ((1 - contrast) * 110)[:, None]
    bank, length = noise_bank(), 3 * SIZE * SIZE
    strength = (2.0 + 5.0 * difficulty * np.abs(shake[:, 61])).astype(f4)
    starts = (faces.chance[:, 62] * (bank.size - length - 1)).astype(np.int64)
    for i, start in enumerate(starts):
        noise = bank[start : start + length].reshape(3, SIZE, SIZE)
        picture[i] += strength[i] * noise
    np.clip(picture, 0, 255, out=picture)
