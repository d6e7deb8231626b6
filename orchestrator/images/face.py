"""The shape of rendered faces: soft blobs in three dimensions, posed, projected and aligned.

A face is a few dozen blobs (eyes, brows, nose, mouth, cheeks, moles, beard, glasses, relief) on a
head. Who it is depends on (seed, identity) alone; pose, expression, light and camera depend on
(seed, identity, shot). After the pose the head is projected and aligned to ArcFace's five-point
template by a least-squares similarity, with the errors of a landmark detector.

Lengths are in pixels of the aligned 112 x 112 image, angles in radians, colours from 0 to 1. The
constants are drawn by eye: their only source is that the outcome looks like a face.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from orchestrator.detection.align import TEMPLATE
from orchestrator.images.counter import Floats, normal, uniform

IDENTITY_NUMBERS = 64
NUISANCE_NUMBERS = 64
RELIEF_BLOBS = 14
_HEAD_Y = 66  # height of the head's turning point
_HEAD_DEPTH = 12  # how far it lies behind the features' plane


@dataclass
class Blobs:
    """Blobs as they are added, then as arrays (faces, blobs)."""

    faces: int
    _x: list[Floats] = field(default_factory=list)
    _y: list[Floats] = field(default_factory=list)
    _depth: list[Floats] = field(default_factory=list)
    _width: list[Floats] = field(default_factory=list)
    _height: list[Floats] = field(default_factory=list)
    _colour: list[Floats] = field(default_factory=list)

    def add(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        depth: npt.ArrayLike,
        width: npt.ArrayLike,
        height: npt.ArrayLike,
        red: npt.ArrayLike,
        green: npt.ArrayLike | None = None,
        blue: npt.ArrayLike | None = None,
    ) -> None:
        """Add one blob to each face: its centre, its standard deviations, what it adds to skin."""
        self._x.append(self._full(x))
        self._y.append(self._full(y))
        self._depth.append(self._full(depth))
        self._width.append(self._full(width))
        self._height.append(self._full(height))
        colours = (red, red if green is None else green, red if blue is None else blue)
        self._colour.append(np.stack([self._full(c) for c in colours], 1))

    def _full(self, value: npt.ArrayLike) -> Floats:
        return np.broadcast_to(np.asarray(value, np.float64), (self.faces,))

    def arrays(self) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
        """x, y, depth, width, height (faces, blobs), and colour (faces, 3, blobs)."""
        lists = (self._x, self._y, self._depth, self._width, self._height)
        x, y, depth, width, height = (np.stack(values, 1) for values in lists)
        return x, y, depth, width, height, np.stack(self._colour, 2)


@dataclass(frozen=True)
class Faces:
    """A batch of faces, projected and aligned; everything the painter needs.

    Blob arrays are (faces, blobs), `colour` (faces, 3, blobs), the rest (faces,) or as said.
    """

    x: Floats
    y: Floats
    width: Floats
    height: Floats
    colour: Floats
    skin: Floats  # (faces, 3)
    hair: Floats  # (faces, 3)
    identity: Floats  # (faces, IDENTITY_NUMBERS), normal
    nuisance: Floats  # (faces, NUISANCE_NUMBERS), normal
    chance: Floats  # the same as uniform numbers
    jaw: Floats
    half_width: Floats
    chin: Floats
    hairline: Floats
    long_hair: npt.NDArray[np.bool_]
    centre: npt.NDArray[np.complex128]
    scale: Floats
    yaw: Floats
    blur: Floats
    landmarks: npt.NDArray[np.complex128]  # (faces, 5), x + iy of the template's five, as drawn

    def part(self, start: int, stop: int) -> Faces:
        """Faces `start` to `stop` (exclusive) of the batch."""
        return Faces(**{f.name: getattr(self, f.name)[start:stop] for f in fields(self)})


@dataclass(frozen=True)
class _Pose:
    """What pose and expression do, (faces,) each."""

    yaw: Floats
    pitch: Floats
    roll: Floats
    mouth_open: Floats
    smile: Floats
    eyes_closed: Floats
    brow_raise: Floats


def shape_faces(
    ids: npt.NDArray[np.integer], shots: npt.NDArray[np.integer], seed: int, difficulty: float
) -> Faces:
    """The faces of identities `ids` in their `shots` (both (faces,)), ready to be painted."""
    count = len(ids)
    nobody = np.zeros(count)
    trait_chance = uniform(seed, 1, ids, nobody, IDENTITY_NUMBERS)
    chance = uniform(seed, 2, ids, shots, NUISANCE_NUMBERS)
    trait, shake = normal(trait_chance), normal(chance)
    pose = _Pose(
        yaw=difficulty * 0.23 * shake[:, 0],
        pitch=difficulty * 0.13 * shake[:, 1],
        roll=difficulty * 0.15 * shake[:, 2],
        mouth_open=np.clip(difficulty * 2.2 * (shake[:, 3] - 0.4), 0, 6),
        smile=difficulty * 1.3 * shake[:, 4],
        eyes_closed=np.clip(difficulty * 0.45 * (shake[:, 5] - 0.5), 0, 0.95),
        brow_raise=difficulty * 1.1 * shake[:, 6],
    )
    eye_x, eye_y = 17.6 * (1 + 0.07 * trait[:, 0]), 51.6
    nose_y, nose_depth = 71.7 + 2.0 * trait[:, 10], 14 + 2.5 * trait[:, 12]
    mouth_y, mouth_width = 92.3 + 2.0 * trait[:, 14], 14.6 * (1 + 0.09 * trait[:, 15])
    blobs = Blobs(count)
    _add_features(
        blobs,
        trait,
        trait_chance,
        shake,
        chance,
        difficulty,
        pose,
        eye_x,
        eye_y,
        nose_y,
        nose_depth,
        mouth_y,
        mouth_width,
    )
    relief = normal(uniform(seed, 3, ids, nobody, RELIEF_BLOBS * 4))
    for k in range(RELIEF_BLOBS):
        r = relief[:, 4 * k : 4 * k + 4]
        size = 3 + 4 * np.abs(r[:, 2])
        x, y = 15 * np.clip(r[:, 0], -2, 2), 64 + 20 * np.clip(r[:, 1], -2, 2)
        blobs.add(x, y, 0, size, size, 0.045 * r[:, 3])

    smile = pose.smile
    landmark_x = np.stack(
        [-eye_x, eye_x, 0 * eye_x, -mouth_width - 0.3 * smile, mouth_width + 0.3 * smile], 1
    )
    corner_y = mouth_y - 0.8 * smile
    landmark_y = np.stack([eye_y + 0 * eye_x, eye_y + 0 * eye_x, nose_y, corner_y, corner_y], 1)
    blur = np.clip(0.75 + difficulty * 0.75 * np.abs(shake[:, 14]), 0.6, 3.5)
    errors = difficulty * 0.75 * (shake[:, 20:25] + 1j * shake[:, 25:30])
    jitter = np.asarray(errors, np.complex128)
    x, y, width, height, colour, centre, scale, landmarks = _project(
        blobs, pose, landmark_x, landmark_y, nose_depth, jitter, blur
    )
    tone, warm, hair_colour = trait[:, 18], trait[:, 19], trait[:, 25]
    skin = np.stack(
        [
            0.68 + 0.085 * tone,
            0.50 + 0.085 * tone - 0.012 * warm,
            0.40 + 0.085 * tone - 0.03 * warm,
        ],
        1,
    )
    hair = np.stack(
        [0.20 + 0.10 * hair_colour, 0.15 + 0.075 * hair_colour, 0.11 + 0.04 * hair_colour], 1
    )
    return Faces(
        x=x,
        y=y,
        width=width,
        height=height,
        colour=colour,
        skin=skin,
        hair=np.clip(hair, 0.03, 0.8),
        identity=trait,
        nuisance=shake,
        chance=chance,
        jaw=trait[:, 21],
        half_width=44 + 2.6 * trait[:, 22],
        chin=116 + 3.5 * trait[:, 23],
        hairline=14 + 5.5 * trait[:, 24] + difficulty * 2.5 * shake[:, 13],
        long_hair=trait_chance[:, 32] < 0.45,
        centre=centre,
        scale=scale,
        yaw=pose.yaw,
        blur=blur,
        landmarks=landmarks,
    )


def _add_features(
    blobs: Blobs,
    trait: Floats,
    trait_chance: Floats,
    shake: Floats,
    chance: Floats,
    difficulty: float,
    pose: _Pose,
    eye_x: Floats,
    eye_y: float,
    nose_y: Floats,
    nose_depth: Floats,
    mouth_y: Floats,
    mouth_width: Floats,
) -> None:
    add = blobs.add
    smile, opened, raised = pose.smile, pose.mouth_open, pose.brow_raise
    eye_width, eye_height, tilt = 1 + 0.13 * trait[:, 1], 1 + 0.18 * trait[:, 2], 0.9 * trait[:, 3]
    brow_y, brow_thick = 9.5 + 1.5 * trait[:, 4], 1.6 * np.exp(0.25 * trait[:, 5])
    brow_arch, brow_tilt = 1.8 + 1.2 * trait[:, 6], 1.2 * trait[:, 7]
    brow_width, brow_dark = 6.8 + 0.8 * trait[:, 8], 0.16 + 0.06 * trait[:, 9]
    nose_width, nose_relief = np.exp(0.16 * trait[:, 11]), 1 + 0.3 * trait[:, 13]
    upper_lip, lower_lip = 1.7 * np.exp(0.25 * trait[:, 16]), 2.2 * np.exp(0.25 * trait[:, 17])
    lip_red = 0.08 + 0.035 * trait[:, 20]
    age = np.clip(0.5 + 0.5 * trait[:, 26], 0, 2)
    bag = np.clip(0.5 + 0.5 * trait[:, 27], 0, 2)
    cheek, beard, iris = trait[:, 28], np.clip(trait[:, 29] - 0.6, 0, 1.6), trait[:, 30]
    gaze, age = 1.0 * difficulty * shake[:, 7], age * np.exp(0.25 * difficulty * shake[:, 8])
    makeup = 1 + 0.25 * difficulty * shake[:, 9]
    stubble = np.clip(beard * np.exp(0.35 * difficulty * shake[:, 10]), 0, 1.8)
    glasses = (trait_chance[:, 31] < 0.22) ^ (chance[:, 11] < 0.08 * difficulty)
    sunglasses = glasses & (chance[:, 12] < 0.10 * difficulty)
    seen = 1 - pose.eyes_closed
    for s in (-1, 1):
        e = s * eye_x
        add(e, eye_y - 5 - 0.4 * raised, 0, 7, 3.2, -0.09 * nose_relief)
        add(e, eye_y + 5, 0, 5.2, 1.7, -0.07 * bag)
        white = 1.7 * eye_height * (0.45 + 0.55 * seen)
        add(e, eye_y, 0, 4.4 * eye_width, white, 0.26 * seen, 0.26 * seen, 0.27 * seen)
        add(
            e + gaze,
            eye_y,
            0,
            2.0,
            2.0 * (0.5 + 0.5 * seen),
            (-0.50 + 0.05 * iris) * seen,
            (-0.50 + 0.04 * iris) * seen,
            (-0.48 + 0.09 * iris) * seen,
        )
        lash_y = eye_y - 2.1 * eye_height * (0.3 + 0.7 * seen) + 0.3 * tilt
        add(e + s * 1.2, lash_y, 0, 4.6 * eye_width, 0.9, -0.26 * makeup)
        add(e + s * 4.8 * eye_width, eye_y - tilt, 0, 1.8, 1.0, -0.14)
        for j, q in enumerate((-0.95, -0.35, 0.3, 0.95)):
            bent = eye_y - brow_y - brow_arch * (1 - (q - 0.25) ** 2)
            add(
                s * (eye_x + 0.6 + q * brow_width),
                bent + brow_tilt * q - raised * (1.2 - 0.4 * q),
                0,
                3.2,
                brow_thick * (1.1 - 0.18 * j),
                -brow_dark * 1.5,
                -brow_dark * 1.6,
                -brow_dark * 1.55,
            )
        add(s * 4.2 * nose_width, (eye_y + nose_y) / 2, 4, 1.9, 8, -0.085 * nose_relief)
        add(s * 3.7 * nose_width, nose_y + 3.6, nose_depth - 4, 1.35, 0.95, -0.30)
        add(s * 6.2 * nose_width, nose_y + 1.2, nose_depth - 7, 1.5, 2.4, -0.12 * nose_relief)
        add(
            s * mouth_width * 0.36,
            mouth_y - 1.6 - 0.2 * opened,
            1,
            mouth_width * 0.30,
            upper_lip,
            -0.02 + lip_red,
            -0.13 * makeup,
            -0.09 * makeup,
        )
        add(s * (mouth_width + 0.3 * smile), mouth_y - 0.8 * smile, 0, 1.7, 1.2, -0.17)
        flush = -0.015 * cheek
        add(s * 23, 76 - 0.6 * smile, 0, 7.5, 8.5, 0.04 + 0.03 * cheek, flush, flush)
        add(s * (21 + 0.8 * cheek), 64 - 0.5 * smile, 0, 7, 3.6, 0.055 + 0.03 * cheek)
        fold = -0.07 * age - 0.02 * np.clip(smile, 0, 3)
        add(s * (14.5 + 0.4 * smile), 82, 0, 1.5, 5.5, fold)
        add(s * 20, 104, 0, 7.5, 7.5, -0.13 * stubble, -0.12 * stubble, -0.10 * stubble)
        rim = np.where(glasses, -0.42, 0.0)
        add(s * eye_x, eye_y - 7.2, 5, 8, 1.0, rim)
        add(s * eye_x, eye_y + 7.4, 5, 7, 0.8, rim * 0.8)
        add(s * (eye_x + 9.2), eye_y, 3, 1.0, 5.4, rim * 0.9)
        add(s * (eye_x - 9), eye_y, 6, 0.9, 5, rim * 0.8)
        add(s * eye_x, eye_y, 5, 7.6, 6, np.where(sunglasses, -0.42, 0.0))
    add(0, (eye_y + nose_y) / 2 - 2, 8, 2.1 * nose_width, 9, 0.075 * nose_relief)
    add(0, nose_y - 1, nose_depth, 3.0 * nose_width, 2.6, 0.09)
    add(0, nose_y + 5, nose_depth - 6, 6.2 * nose_width, 1.3, -0.13)
    add(
        0,
        mouth_y + 2.6 + 1.0 * opened,
        1,
        mouth_width * 0.50,
        lower_lip,
        lip_red,
        -0.11 * makeup,
        -0.07 * makeup,
    )
    gap = 0.75 + 0.55 * opened
    add(0, mouth_y + 0.25 * opened, 0, mouth_width * 0.62, gap, -0.28 - 0.03 * opened)
    teeth = np.clip(0.12 * smile * (opened > 0.3), 0, 0.4)
    add(0, mouth_y - 0.3 + 0.1 * opened, 0, mouth_width * 0.45, 0.9, teeth)
    add(0, mouth_y + 8.5 + opened, 0, 6, 1.8, -0.07)
    add(0, 108 + opened, 2, 7, 4, 0.04 * trait[:, 33])
    add(0, 84, 3, 9.5, 2.0, -0.16 * stubble)
    add(0, 106, 2, 9, 6, -0.15 * stubble)
    add(0, 26, 2, 17, 8, 0.04 + 0.025 * trait[:, 34])
    for k in range(2):
        wrinkle = -0.05 * age - 0.02 * np.clip(raised, 0, 3)
        add(0, 24 + 7 * k + 0.5 * trait[:, 35], 2, 14, 0.8, wrinkle)
    for j in (36, 39, 42):
        mole = np.where(trait_chance[:, j + 2] < 0.4, -0.30, 0.0)
        x, y = (trait_chance[:, j] - 0.5) * 56, 30 + trait_chance[:, j + 1] * 70
        add(x, y, 0, 0.9, 0.9, mole)


def _project(
    blobs: Blobs,
    pose: _Pose,
    landmark_x: Floats,
    landmark_y: Floats,
    nose_depth: Floats,
    jitter: npt.NDArray[np.complex128],
    blur: Floats,
) -> tuple[
    Floats,
    Floats,
    Floats,
    Floats,
    Floats,
    npt.NDArray[np.complex128],
    Floats,
    npt.NDArray[np.complex128],
]:
    """Turn the head, align it by its jittered landmarks, blur what is drawn on it."""
    x, y, depth, width, height, colour = blobs.arrays()
    cos_yaw, sin_yaw = np.cos(pose.yaw)[:, None], np.sin(pose.yaw)[:, None]
    cos_pitch, sin_pitch = np.cos(pose.pitch)[:, None], np.sin(pose.pitch)[:, None]

    def surface(x: Floats, y: Floats) -> Floats:
        ellipsoid = 1 - (x / 46) ** 2 - ((y - _HEAD_Y) / 66) ** 2
        return 30 * np.sqrt(np.clip(ellipsoid, 0, 1))

    z = surface(x, y) + depth - _HEAD_DEPTH
    turned_x = x * cos_yaw + z * sin_yaw
    turned_z = -x * sin_yaw + z * cos_yaw
    turned_y = (y - _HEAD_Y) * cos_pitch - turned_z * sin_pitch
    side = np.sqrt(np.clip(1 - (x / 50) ** 2, 0.02, 1))
    facing = np.clip(cos_yaw * side - sin_yaw * x / 50, 0.12, 1)
    width = width * np.clip(facing * 1.15, 0.3, 1)
    colour = colour * np.clip(1.8 * facing, 0, 1)[:, None]

    landmark_z = surface(landmark_x, landmark_y) - _HEAD_DEPTH
    landmark_z[:, 2] += nose_depth
    landmark_turned_z = -landmark_x * sin_yaw + landmark_z * cos_yaw
    true = (landmark_x * cos_yaw + landmark_z * sin_yaw) + 1j * (
        (landmark_y - _HEAD_Y) * cos_pitch - landmark_turned_z * sin_pitch
    )
    roll = np.exp(1j * pose.roll[:, None])
    found = true * roll + jitter
    # Least-squares similarity from the landmarks found to the template, as complex numbers.
    template = (TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1])[None]
    found_mean, template_mean = found.mean(1, keepdims=True), template.mean()
    spread = (np.abs(found - found_mean) ** 2).sum(1, keepdims=True)
    turn = ((template - template_mean) * np.conj(found - found_mean)).sum(1, keepdims=True) / spread
    turn, offset = turn * roll, template_mean - turn * found_mean

    placed = turn * (turned_x + 1j * turned_y) + offset
    scale = np.abs(turn)
    centre = turn * (-8 * sin_yaw + 0j) + offset  # the head's centre lies behind the features
    blur_squared = blur[:, None] ** 2
    sharp_width, sharp_height = width * scale, height * scale
    soft_width = np.sqrt(sharp_width**2 + blur_squared)
    soft_height = np.sqrt(sharp_height**2 + blur_squared)
    colour = colour * (sharp_width * sharp_height / (soft_width * soft_height))[:, None]
    return (
        placed.real,
        placed.imag,
        soft_width,
        soft_height,
        colour,
        centre[:, 0],
        scale[:, 0],
        turn * true + offset,
    )
