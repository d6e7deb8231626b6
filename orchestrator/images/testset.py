"""Rows of a test set: which image stands for whom, and how to get its pixels.

`gallery_rows`, `probe_rows` and `calibration_rows` describe every image without making one, so a
plan costs no rendering; `images(start, stop)` makes or reads pixels when they are needed.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from orchestrator.errors import UserError
from orchestrator.images.files import IMAGE_SUFFIXES, FileRows, ImageFile
from orchestrator.images.renderer import RENDERER_VERSION, SIZE, render
from orchestrator.specs.testset import (
    FolderCalibration,
    FolderSet,
    RenderedCalibration,
    RenderedSet,
)

Pixels = npt.NDArray[np.uint8]


class Rows(Protocol):
    """A list of images. Instances can be pickled and are never changed.

    `identities` names who each image shows, `names` the image itself for messages.
    """

    @property
    def identities(self) -> tuple[str, ...]:
        """Who is shown, row by row."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What to call each image in a message."""
        ...

    def __len__(self) -> int:
        """Number of images."""
        ...

    def images(self, start: int = 0, stop: int | None = None) -> Pixels:
        """Rows `start` to `stop` (exclusive): uint8 (n, height, width, 3), RGB.

        Raises:
            UserError: a file cannot be read or has another size; the file is named.
        """
        ...

    def fingerprint(self) -> str:
        """Hash (hex) of what decides the pixels, row order and identities.

        For rendered faces these are numbers and the renderer's version, so pixels may differ by
        one level between machines: what depends on pixels hashes pixels.
        """
        ...


class RenderedRows:
    """Rows that the renderer makes."""

    def __init__(
        self, ids: npt.NDArray[np.int64], shots: npt.NDArray[np.int64], seed: int, difficulty: float
    ) -> None:
        self._ids, self._shots = ids, shots
        self._seed, self._difficulty = seed, difficulty

    @property
    def identities(self) -> tuple[str, ...]:
        """Identity numbers as text."""
        return tuple(map(str, self._ids.tolist()))

    @property
    def names(self) -> tuple[str, ...]:
        """Identity and shot."""
        pairs = zip(self._ids.tolist(), self._shots.tolist(), strict=True)
        return tuple(f"rendered {i} shot {s}" for i, s in pairs)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._ids)

    def images(self, start: int = 0, stop: int | None = None) -> Pixels:
        """Rendered rows `start` to `stop`: uint8 (n, 112, 112, 3), RGB."""
        part = slice(start, stop)
        return render(self._ids[part], self._shots[part], self._seed, self._difficulty)

    def fingerprint(self) -> str:
        """Hash (hex) of the numbers and the renderer's version."""
        head = {
            "renderer": RENDERER_VERSION,
            "seed": self._seed,
            "difficulty": float(self._difficulty),
        }
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        digest.update(self._ids.astype("<i8").tobytes())
        digest.update(self._shots.astype("<i8").tobytes())
        return digest.hexdigest()


def gallery_rows(
    spec: RenderedSet | FolderSet, *, limit: int | None = None, size: tuple[int, int] | None = None
) -> Rows:
    """The images to enrol.

    Args:
        spec: the test set.
        limit: enrol only this many identities; mated and unknown probes shrink in proportion.
            The rows are among those of the whole set, so what is known of them stays known.
        size: (height, width) that the model wants; None takes that of the first image.

    Raises:
        UserError: the folder or list is missing, empty or wrong, or cannot have this size.
    """
    if isinstance(spec, RenderedSet):
        _check_rendered_size(size)
        mated, distractors, _ = _limited(spec, limit)
        first_distractor = spec.first_identity + spec.identities
        ids = np.concatenate(
            [_range(spec.first_identity, mated), _range(first_distractor, distractors)]
        )
        return RenderedRows(ids, np.zeros_like(ids), spec.seed, spec.difficulty)
    gallery, _ = _read_set(spec)
    return FileRows(_limit_gallery(gallery, limit), size)


def probe_rows(
    spec: RenderedSet | FolderSet, *, limit: int | None = None, size: tuple[int, int] | None = None
) -> Rows:
    """The images to search for: the mated ones first, then the unknown ones.

    Arguments and errors are those of `gallery_rows`.
    """
    if isinstance(spec, RenderedSet):
        _check_rendered_size(size)
        mated, _, unknown = _limited(spec, limit)
        first_unknown = spec.first_identity + spec.identities + spec.distractors
        ids = np.concatenate([_range(spec.first_identity, mated), _range(first_unknown, unknown)])
        return RenderedRows(ids, np.ones_like(ids), spec.seed, spec.difficulty)
    gallery, probes = _read_set(spec)
    whole = {item.identity for item in gallery}
    enrolled = {item.identity for item in _limit_gallery(gallery, limit)}
    mated_files = [item for item in probes if item.identity in enrolled]
    unknown_files = [item for item in probes if item.identity not in whole]
    share = len(enrolled) / len(whole)
    kept = _share(len(unknown_files), share)
    return FileRows([*mated_files, *unknown_files[:kept]], size)


def calibration_rows(
    spec: RenderedCalibration | FolderCalibration, *, size: tuple[int, int] | None = None
) -> Rows:
    """The images that calibrate; `identities` of a folder's are the files' own names.

    Raises:
        UserError: as for `gallery_rows`.
    """
    if isinstance(spec, RenderedCalibration):
        _check_rendered_size(size)
        ids = _range(spec.first_identity, spec.images)
        return RenderedRows(ids, np.zeros_like(ids), spec.seed, spec.difficulty)
    if spec.source == "folder":
        found = sorted(_images_below(_folder(spec.path)))
    else:
        found = [item.path for item in _read_list(spec.path, roles=False)]
    if not found:
        raise UserError(
            f"{spec.path}: no images ({', '.join(sorted(IMAGE_SUFFIXES))}) to calibrate"
        )
    if spec.images is not None and len(found) < spec.images:
        raise UserError(f"{spec.path}: {spec.images} images are asked for, {len(found)} are there")
    return FileRows([ImageFile(path, path.name) for path in found[: spec.images]], size)


def _check_rendered_size(size: tuple[int, int] | None) -> None:
    if size not in (None, (SIZE, SIZE)):
        raise UserError(
            f"rendered faces are {SIZE} x {SIZE} pixels; {size[0]} x {size[1]} (high x wide) "
            "is asked for",
            "Give the test set or calibration a folder of images of that size.",
        )


def _range(first: int, count: int) -> npt.NDArray[np.int64]:
    return np.arange(first, first + count, dtype=np.int64)


def _share(count: int, share: float) -> int:
    """`count` times `share`, rounded; at least 1 of what there is."""
    return min(count, max(round(count * share), 1)) if count else 0


def _limited(spec: RenderedSet, limit: int | None) -> tuple[int, int, int]:
    """Mated, distractors, unknown under `limit`, in the proportions of the whole."""
    whole = spec.identities + spec.distractors
    if limit is None or limit >= whole:
        return spec.identities, spec.distractors, spec.unknown
    _check_limit(limit)
    share = limit / whole
    mated = min(limit, _share(spec.identities, share))
    return mated, limit - mated, _share(spec.unknown, share)


def _check_limit(limit: int) -> None:
    if limit < 1:
        raise UserError(f"a limit of {limit} leaves nobody to enrol; it must be 1 or more")


def _limit_gallery(gallery: Sequence[ImageFile], limit: int | None) -> list[ImageFile]:
    if limit is None:
        return list(gallery)
    _check_limit(limit)
    first = set(list(dict.fromkeys(item.identity for item in gallery))[:limit])
    return [item for item in gallery if item.identity in first]


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder of images")
    return path


def _images_below(folder: Path) -> Iterable[Path]:
    return (p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())


def _read_set(spec: FolderSet) -> tuple[list[ImageFile], list[ImageFile]]:
    """(gallery, probes), each sorted so that no file system's order shows."""
    if spec.source == "list":
        items = _read_list(spec.path, roles=True)
        gallery = [item for item in items if item.role == "gallery"]
        probes = [item for item in items if item.role == "probe"]
    else:
        gallery, probes = (
            _read_role(_folder(spec.path), role, spec.path) for role in ("gallery", "probe")
        )
    for role, found in (("gallery", gallery), ("probe", probes)):
        if not found:
            raise UserError(f"{spec.path}: no {role} images", _LAYOUT)
    if not {item.identity for item in gallery} & {item.identity for item in probes}:
        raise UserError(
            f"{spec.path}: no identity has both a gallery and a probe image",
            _LAYOUT,
        )
    return gallery, probes


_LAYOUT = (
    "A folder holds gallery/<identity>/<image> and probe/<identity>/<image>; "
    "a list is a CSV file with the columns file, identity, role."
)


def _read_role(folder: Path, role: str, shown: Path) -> list[ImageFile]:
    if not (folder / role).is_dir():
        raise UserError(f"{shown}: there is no folder {role!r} in it", _LAYOUT)
    items = []
    for path in sorted(_images_below(folder / role)):
        parts = path.relative_to(folder / role).parts
        if len(parts) < 2:
            raise UserError(f"{path}: lies in no identity's folder", _LAYOUT)
        items.append(ImageFile(path, parts[0], role))
    return items


def _read_list(path: Path, *, roles: bool) -> list[ImageFile]:
    columns = ["file", "identity", "role"] if roles else ["file"]
    items: list[ImageFile] = []
    seen: dict[Path, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [c for c in columns if c not in (reader.fieldnames or [])]
            if missing:
                raise UserError(f"{path}:1: the column {missing[0]!r} is missing", _LAYOUT)
            for row in reader:
                where = f"{path}:{reader.line_num}"
                for column in columns:
                    if not row[column]:
                        raise UserError(f"{where}: {column} is empty")
                if roles and row["role"] not in ("gallery", "probe"):
                    raise UserError(f"{where}: role must be gallery or probe, not {row['role']!r}")
                image = path.parent / row["file"]
                first = seen.setdefault(image, reader.line_num)
                if first != reader.line_num:
                    raise UserError(
                        f"{where}: {row['file']!r} stands twice (first in line {first})"
                    )
                identity, role = (row["identity"], row["role"]) if roles else (image.name, "")
                items.append(ImageFile(image, identity, role))
    except FileNotFoundError:
        raise UserError(f"{path}: no such list of images") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8: {error}") from None
    return items
