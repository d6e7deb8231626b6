"""WIDER FACE's own files: the text with all boxes, and the lists of easy, medium and hard faces.

Source of the format: the readme.txt of WIDER FACE's annotations: a line with the file's name, a
line with the number of faces, then a line for each: x1 y1 w h blur expression illumination invalid
occlusion pose. Where the number is 0, one line of zeros follows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.errors import UserError
from orchestrator.images.annotated_files.file_set import AnnotatedFiles, Face, Photo, file_set

SUBSETS = ("easy", "medium", "hard")
_NUMBERS, _INVALID = 10, 7


@dataclass(frozen=True)
class _Entry:
    name: str
    line: int
    faces: tuple[Face, ...]


def read_widerface(
    images: Path, truth: Path, lists: Mapping[str, Path] | None = None
) -> AnnotatedFiles:
    """Read WIDER FACE, or a set of one's own in its format.

    Args:
        images: the folder with the event folders, as `WIDER_val/images`.
        truth: the text, as `wider_face_val_bbx_gt.txt`.
        lists: `easy`, `medium` and `hard` to the evaluation's lists, as `wider_easy_val.mat`;
            without them there is one subset, `all`.

    Raises:
        UserError: what cannot be read or does not fit together, with file and line.
    """
    entries = list(_entries(truth))
    members = _members(lists, entries) if lists else {}
    subsets = SUBSETS if lists else ("all",)

    def photos() -> Iterator[Photo]:
        for entry in entries:
            count = len(entry.faces)
            yield Photo(
                entry.name,
                entry.faces,
                {
                    name: members[name][entry.name] if lists else np.ones(count, np.bool_)
                    for name in subsets
                },
            )

    return file_set(images, photos(), subsets, str(truth))


def named_files(truth: Path) -> list[str]:
    """The images that the text with all boxes names.

    Raises:
        UserError: it cannot be read.
    """
    return [entry.name for entry in _entries(truth)]


def _entries(path: Path) -> Iterator[_Entry]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"{path} cannot be read: {why}") from error
    at, seen = 0, set()
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        name, first = lines[at].strip(), at + 1
        if name in seen:
            raise UserError(f"{path}:{first}: {name} is listed twice")
        seen.add(name)
        count = _count(path, lines, at + 1, name)
        rows = lines[at + 2 : at + 2 + max(count, 1)]
        if count == 0 and not (rows and rows[0].split() == ["0"] * _NUMBERS):
            rows = []  # sets that others made often leave the line of zeros out
        faces = tuple(_face(path, at + 3 + k, row) for k, row in enumerate(rows) if count)
        if len(faces) != count:
            raise UserError(f"{path}:{first}: {name}: {count} faces said, {len(faces)} lines left")
        yield _Entry(name, first, faces)
        at += 2 + len(rows)
    if not seen:
        raise UserError(f"{path}: no image is listed")


def _count(path: Path, lines: list[str], at: int, name: str) -> int:
    text = lines[at].strip() if at < len(lines) else ""
    if not text.isdecimal():
        raise UserError(
            f"{path}:{at + 1}: after {name}: expected the number of faces, not {text!r}"
        )
    return int(text)


def _face(path: Path, line: int, row: str) -> Face:
    where = f"{path}:{line}"
    try:
        numbers = [float(word) for word in row.split()]
    except ValueError:
        numbers = []
    if len(numbers) not in (4, _NUMBERS):
        raise UserError(f"{where}: expected x1 y1 w h and six attributes, not {row.strip()[:60]!r}")
    x, y, width, height = numbers[:4]
    invalid = len(numbers) == _NUMBERS and numbers[_INVALID] == 1
    # The evaluation reads such boxes too, and finds nothing in them.
    return Face(where, (x, y, x + width, y + height), ignored=invalid or min(width, height) <= 0)


def _members(
    lists: Mapping[str, Path], entries: list[_Entry]
) -> dict[str, dict[str, npt.NDArray[np.bool_]]]:
    """For each subset and file which faces count."""
    if set(lists) != set(SUBSETS):
        raise UserError(
            f"expected the lists {', '.join(SUBSETS)}, not {', '.join(lists) or 'none'}"
        )
    found: dict[str, dict[str, npt.NDArray[np.bool_]]] = {}
    for subset in SUBSETS:
        path = lists[subset]
        chosen = dict(_listed(path))
        found[subset] = {}
        for entry in entries:
            stem = entry.name.rpartition(".")[0]
            if stem not in chosen:
                raise UserError(f"{path}: {entry.name} is not in this list")
            numbers = chosen[stem]
            if numbers.size and not 1 <= numbers.min() <= numbers.max() <= len(entry.faces):
                raise UserError(
                    f"{path}: {entry.name}: face {int(numbers.max())} of {len(entry.faces)}"
                )
            mask = np.zeros(len(entry.faces), np.bool_)
            mask[numbers - 1] = True
            found[subset][entry.name] = mask
    return found


def _listed(path: Path) -> Iterator[tuple[str, npt.NDArray[np.int64]]]:
    """`event/name` without its ending, and the numbers of its faces that count, from 1."""
    from scipy.io import loadmat

    try:
        data: Any = loadmat(str(path))
        events, files, faces = (data[k] for k in ("event_list", "file_list", "gt_list"))
        for event, names, numbers in zip(events[:, 0], files[:, 0], faces[:, 0], strict=True):
            for name, chosen in zip(names[:, 0], numbers[:, 0], strict=True):
                yield f"{event[0]}/{name[0]}", np.asarray(chosen, np.int64).reshape(-1)
    except Exception as error:  # the reader raises all kinds of errors over other files
        raise UserError(f"{path} is no list of WIDER FACE's evaluation: {error}") from error
