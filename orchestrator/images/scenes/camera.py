"""The camera: defocus, exposure, white balance, contrast, noise, and what a JPEG leaves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from orchestrator.images.counter import normal
from orchestrator.images.renderer import noise_bank
from orchestrator.images.scenes.drawing import Array, f4
from orchestrator.images.scenes.layout import CAMERA, numbers

_BLOCK = 8


@dataclass(frozen=True)
class Camera:
    """How a scene is photographed.

    Attributes:
        blur: standard deviation of the defocus, pixels.
        gain: (3,), of the channels.
        contrast, saturation: 1 leaves as is.
        noise: standard deviation, levels of 255.
        noise_start: where in the bank its numbers begin, 0 to 1.
        coarse: width of the steps that the luma's DCT is rounded to, levels of 255; 0 for none.
    """

    blur: float
    gain: tuple[float, float, float]
    contrast: float
    saturation: float
    noise: float
    noise_start: float
    coarse: float


def camera_of(seed: int, scene: int, difficulty: float) -> Camera:
    """The camera of a scene."""
    u = numbers(seed, CAMERA, scene, 16)
    n = normal(u)
    gains = np.exp(0.18 * difficulty * n[0] + 0.07 * difficulty * n[1:4]).tolist()
    return Camera(
        blur=0.35 + difficulty * (0.35 * abs(float(n[4])) + (1.4 * float(u[5]) ** 8)),
        gain=(gains[0], gains[1], gains[2]),
        contrast=float(np.exp(0.13 * difficulty * n[6])),
        saturation=float(np.clip(1 + 0.25 * difficulty * n[7], 0, 1.7)),
        noise=1.0 + difficulty * 3.0 * abs(float(n[8])),
        noise_start=float(u[9]),
        coarse=difficulty * 24 * float(u[11]) if u[10] < 0.5 else 0.0,
    )


def photograph(picture: Array, camera: Camera) -> npt.NDArray[np.uint8]:
    """float32 (3, height, width), levels 0 to 1, as uint8 (height, width, 3)."""
    picture = _blurred(picture, camera.blur)
    picture *= (np.array(camera.gain) * 255 * camera.contrast).astype(f4)[:, None, None]
    grey = (picture[0] + picture[1] + picture[2]) / f4(3)
    picture -= grey
    picture *= f4(camera.saturation)
    picture += grey + f4((1 - camera.contrast) * 115)
    bank = noise_bank()
    start = int(camera.noise_start * 7919)
    plane = picture.shape[1] * picture.shape[2]
    for channel in range(3):
        noise = np.resize(np.roll(bank, -start - channel * 349_525)[:plane], plane)
        picture[channel] += f4(camera.noise) * noise.reshape(picture.shape[1:])
    np.clip(picture, 0, 255, out=picture)
    if camera.coarse:
        _compress(picture, camera.coarse)
    picture += f4(0.5)
    np.clip(picture, 0, 255, out=picture)
    return np.ascontiguousarray(picture.astype(np.uint8).transpose(1, 2, 0))


def _blurred(picture: Array, sigma: float) -> Array:
    reach = max(int(np.ceil(2.5 * sigma)), 1)
    weights = np.exp(-0.5 * (np.arange(reach + 1) / max(sigma, 1e-3)) ** 2)
    weights = (weights / (weights[0] + 2 * weights[1:].sum())).astype(f4)
    for axis in (1, 2):
        length = picture.shape[axis]
        edge = [(0, 0), (0, 0), (0, 0)]
        edge[axis] = (reach, reach)
        wide = np.pad(picture, edge, mode="edge")
        parts = [
            wide[:, k : k + length] if axis == 1 else wide[:, :, k : k + length]
            for k in range(2 * reach + 1)
        ]
        picture = parts[reach] * weights[0]
        for k in range(1, reach + 1):
            picture += weights[k] * (parts[reach - k] + parts[reach + k])
    return picture


@cache
def _cosines() -> Array:
    """The orthonormal DCT-II of 8 numbers, (8, 8)."""
    k, n = np.mgrid[0:_BLOCK, 0:_BLOCK]
    matrix = np.cos(np.pi * (2 * n + 1) * k / (2 * _BLOCK)) * np.sqrt(2 / _BLOCK)
    matrix[0] /= np.sqrt(2)
    found: Array = matrix.astype(f4)
    return found


def _compress(picture: Array, coarse: float) -> None:
    """Round the luma's DCT in blocks of 8 x 8, softly: a rounding error moves it little.

    x - 0.9 sin(2 pi x) / (2 pi) is nearly flat at whole numbers and has a slope of 1.9 at most.
    """
    rows, columns = (length // _BLOCK * _BLOCK for length in picture.shape[1:])
    part = picture[:, :rows, :columns]
    luma = f4(0.299) * part[0] + f4(0.587) * part[1] + f4(0.114) * part[2]
    cosines = _cosines()
    blocks = luma.reshape(rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK).swapaxes(1, 2)
    k = np.arange(_BLOCK, dtype=f4)
    steps = f4(coarse) * (f4(0.5) + (k[:, None] + k[None]) / f4(7))
    coded = cosines @ blocks @ cosines.T / steps
    turn = f4(2 * np.pi)
    coded -= f4(0.9) / turn * np.sin(turn * coded)
    back = (cosines.T @ (coded * steps) @ cosines).swapaxes(1, 2).reshape(rows, columns)
    part += back - luma
