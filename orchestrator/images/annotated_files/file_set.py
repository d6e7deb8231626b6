"""Image files with the truth of their faces, checked before anything is measured."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from orchestrator.counting import counted as number_of
from orchestrator.detection.boxes import POINTS
from orchestrator.detection.truth import Truth, TruthSet, box_problem
from orchestrator.errors import UserError
from orchestrator.images.decoder import decode
from orchestrator.images.unreadable import Unreadable

MAX_LISTED = 10
_ORIENTATION, _ON_ITS_SIDE = 0x0112, frozenset({5, 6, 7, 8})


@dataclass(frozen=True)
class Face:
    """An annotated face.

    Attributes:
        where: file and line, or the annotation's id: what an error names.
        box: x1, y1, x2, y2 in pixels.
        ignored: it counts neither way, whatever its box.
        points: 10 numbers, x and y of five points, in pixels; empty where unknown.
    """

    where: str
    box: tuple[float, float, float, float]
    ignored: bool = False
    points: tuple[float, ...] = ()


@dataclass(frozen=True)
class Photo:
    """A file below the images' folder, its faces, and for each subset which of them count."""

    name: str
    faces: Sequence[Face]
    subsets: Mapping[str, npt.NDArray[np.bool_]]


class AnnotatedFiles:
    """Photos with their truth; see `annotated.AnnotatedSet`."""

    def __init__(self, folder: Path, truth: TruthSet) -> None:
        self._folder, self._truth = folder, truth

    def __len__(self) -> int:
        """Number of photos."""
        return len(self._truth)

    @property
    def truth(self) -> TruthSet:
        """Boxes, points and subsets, in the order of the photos."""
        return self._truth

    @property
    def fingerprint(self) -> str:
        """Hash (hex) of all files' bytes and of the truth; reads every file."""
        found = hashlib.sha256(repr(self._truth.subsets).encode())
        for image in self._truth.images:
            found.update(repr((image.name, image.size)).encode())
            found.update(hashlib.sha256(_bytes(self._folder / image.name)).digest())
            for array in (image.boxes, image.points, image.ignored, *image.subsets.values()):
                found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def image(self, number: int) -> npt.NDArray[np.uint8]:
        """Photo `number` (from 0): uint8 (height, width, 3), RGB, upright.

        Raises:
            UserError: its file cannot be read, or has another size than before.
        """
        truth = self._truth.images[number]
        path = self._folder / truth.name
        try:
            pixels = decode(_bytes(path)).pixels
        except Unreadable as error:
            raise UserError(f"{path}: {error}") from error
        if pixels.shape[:2] != truth.size:
            raise UserError(
                f"{path} has changed: it is no longer {truth.size[1]} x {truth.size[0]}"
            )
        return pixels


def file_set(
    folder: Path, photos: Iterable[Photo], subsets: tuple[str, ...], source: str
) -> AnnotatedFiles:
    """Photos and faces as a set.

    Args:
        folder: what the photos' names are relative to.
        photos: in the set's order.
        subsets: names in the table's order.
        source: the annotations' file, for errors.

    Raises:
        UserError: files that are missing or no images, boxes without area or outside their image,
            or nothing to evaluate; the first ten of them.
    """
    truths: list[Truth] = []
    problems: list[str] = []
    for photo in photos:
        size = _size(folder / photo.name)
        if isinstance(size, str):
            problems.append(size)
            continue
        for face in photo.faces:
            problem = "" if face.ignored else box_problem(list(face.box), *size)
            if problem:
                problems.append(f"{face.where}: {photo.name}: {problem}")
        if not problems:
            truths.append(_truth(photo, size))
    if problems:
        more = len(problems) - MAX_LISTED
        listed = problems[:MAX_LISTED] + ([f"and {more} more"] if more > 0 else [])
        raise UserError("\n".join(listed))
    counted = sum(int((~truth.ignored).sum()) for truth in truths)
    if not counted:
        raise UserError(f"{source}: no face that counts in {number_of(len(truths), 'image')}")
    return AnnotatedFiles(folder, TruthSet(tuple(truths), subsets))


def _truth(photo: Photo, size: tuple[int, int]) -> Truth:
    count = len(photo.faces)
    points = np.full((count, POINTS, 2), np.nan, np.float32)
    for number, face in enumerate(photo.faces):
        if face.points:
            points[number] = np.reshape(face.points, (POINTS, 2))
    return Truth(
        photo.name,
        size,
        np.array([face.box for face in photo.faces], np.float32).reshape(-1, 4),
        points,
        np.array([face.ignored for face in photo.faces], np.bool_),
        photo.subsets,
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def _size(path: Path) -> tuple[int, int] | str:
    """Height and width of an image as it is shown, from the file's head; else what is wrong."""
    try:
        with path.open("rb") as stream, Image.open(io.BufferedReader(stream)) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    except FileNotFoundError:
        return f"{path} does not exist"
    except (UnidentifiedImageError, OSError, ValueError) as error:
        return f"{path} is no image that can be read: {error}"
    return (width, height) if turned else (height, width)
