"""A folder of photos into a folder of aligned faces, with a record of every photo."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from orchestrator.aligning.detector import Detector
from orchestrator.counting import counted
from orchestrator.detection import DetectionError, Detections
from orchestrator.detection.align import aligned
from orchestrator.errors import UserError
from orchestrator.images.decoder import decode, decoder_identity
from orchestrator.images.unreadable import Unreadable
from orchestrator.images.walking import walk
from orchestrator.version import __version__

PROVENANCE = "provenance.json"
MAX_LISTED = 10


@dataclass(frozen=True)
class PhotoResult:
    """What became of a photo.

    Attributes:
        photo: below the photos' folder.
        face: below the folder of faces; None where no face was found.
        reason: why there is none; empty where there is.
        faces: how many were found; one of them was taken.
        score: of the face that was taken.
        box: its x1, y1, x2, y2 in pixels of the photo.
        points: its five points, x and y each.
    """

    photo: str
    face: str | None
    reason: str = ""
    faces: int = 0
    score: float | None = None
    box: tuple[float, ...] = ()
    points: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Aligned:
    """All photos, in their folder's order; `unreadable` ones are among them without a face."""

    photos: tuple[PhotoResult, ...]
    unreadable: int

    @property
    def missing(self) -> tuple[PhotoResult, ...]:
        """Failures to acquire: photos without a face."""
        return tuple(photo for photo in self.photos if photo.face is None)


def align_folder(
    photos: Path,
    to: Path,
    detector: Detector,
    *,
    skip_unreadable: bool,
    progress: Callable[[int, int], None],
) -> Aligned:
    """Write each photo's face as PNG, 112 x 112, under the photo's own name.

    All is written beside `to` and takes its name at the end, so a stopped run leaves nothing.

    Args:
        photos: a folder; what lies below it keeps its place.
        to: must not exist, or be an empty folder.
        skip_unreadable: photos that cannot be read count as failures to acquire.
        progress: called with (photos done, photos in all).

    Raises:
        UserError: no photos, photos that cannot be read, two that would have one name, no face in
            any of them, or `to` is in use.
    """
    files = _files(photos, to)
    to.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    try:
        found, unreadable = [], []
        # Decoding, the detector and PNG release Python's lock; each takes one processor.
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="align") as pool:
            results = pool.map(lambda file: _taken(photos, file, detector, part), files)
            try:
                for file, (result, readable) in zip(files, results, strict=True):
                    found.append(result)
                    unreadable += [] if readable else [f"{file}: {result.reason}"]
                    progress(len(found), len(files))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if unreadable and not skip_unreadable:
            more = len(unreadable) - MAX_LISTED
            listed = unreadable[:MAX_LISTED] + ([f"and {more} more"] if more > 0 else [])
            raise UserError(
                "\n".join(listed), "--skip-unreadable counts these as photos without a face"
            )
        every = Aligned(tuple(found), len(unreadable))
        if len(every.missing) == len(files):
            height, width = detector.size
            raise UserError(
                f"no face in {counted(len(files), 'photo')} at an input of {height} x {width}",
                "give the detector a larger input (--size 480x640) or lower --min-score",
            )
        (part / PROVENANCE).write_text(_provenance(every, detector), encoding="utf-8")
        os.chmod(part, 0o755)
        if to.is_dir():
            to.rmdir()  # it is empty
        part.rename(to)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return every


def _files(photos: Path, to: Path) -> list[Path]:
    if not photos.is_dir():
        raise UserError(f"{photos} is no folder", "name the folder with the photos")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise UserError(f"{to} exists and is not empty", "name another folder, or remove this one")
    if photos.resolve() in (to.resolve(), *to.resolve().parents):
        raise UserError(f"{to} lies within {photos}", "name a folder outside of the photos")
    files = walk(photos).files
    if not files:
        raise UserError(f"{photos} has no photos")
    names: dict[Path, Path] = {}
    for file in files:
        other = names.setdefault(file.with_suffix(".png"), file)
        if other is not file:
            raise UserError(f"{other} and {file.name} would both become {file.stem}.png")
    return files


def _taken(photos: Path, file: Path, detector: Detector, to: Path) -> tuple[PhotoResult, bool]:
    """A photo's result, and whether it could be read."""
    place = file.relative_to(photos)
    try:
        pixels = decode(file.read_bytes()).pixels
    except (Unreadable, OSError) as error:
        return PhotoResult(str(place), None, f"{error}"), False
    return _align(place, pixels, detector, to), True


def _align(
    photo: Path,
    pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    detector: Detector,
    to: Path,
) -> PhotoResult:
    found = detector.find(pixels)
    if len(found) == 0:
        return PhotoResult(str(photo), None, "no face found")
    best = chosen(found)
    assert found.points is not None
    place = photo.with_suffix(".png")
    facts = (
        len(found),
        round(float(found.scores[best]), 4),
        tuple(round(float(v), 2) for v in found.boxes[best]),
        tuple(tuple(round(float(v), 2) for v in point) for point in found.points[best]),
    )
    try:
        face = aligned(pixels, found.points[best])
    except DetectionError as error:
        return PhotoResult(str(photo), None, str(error), *facts)
    (to / place).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(face).save(to / place)
    return PhotoResult(str(photo), str(place), "", *facts)


def chosen(found: Detections) -> int:
    """Which face of a photo is taken: the largest box; of equal ones the best score."""
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    return int(np.lexsort((-found.scores, -sides.prod(1)))[0])


def _provenance(result: Aligned, detector: Detector) -> str:
    spec = detector.spec
    about = {
        "farm": __version__,
        "detector": {
            "sha256": detector.sha256,
            "head": spec.head,
            "input_size": spec.input_size,
            "min_score": spec.min_score,
            "nms_iou": spec.nms_iou,
            **asdict(detector.pixels),
        },
        "decoder": decoder_identity(),
        "photos": len(result.photos),
        "failures_to_acquire": len(result.missing),
        "unreadable": result.unreadable,
        "results": [asdict(photo) for photo in result.photos],
    }
    return json.dumps(about, indent=1) + "\n"
