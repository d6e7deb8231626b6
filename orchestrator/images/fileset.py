"""Sets of files: read, checked, and every file in its role or named as not taken."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from orchestrator.counting import counted
from orchestrator.errors import UserError
from orchestrator.images.checking import Checked, Checker
from orchestrator.images.files import ImageFile
from orchestrator.images.naming import alike, spelled
from orchestrator.images.walking import walk
from orchestrator.specs.photos import PhotosSet
from orchestrator.specs.testset import FolderCalibration, FolderSet

LAYOUT = (
    "A folder holds gallery/<identity>/<image> and probe/<identity>/<image>; "
    "a list is a CSV file with the columns file, identity, role."
)
ROLES = ("gallery", "probe")
_NAMED = 3


@dataclass
class SetFiles:
    """A set's files.

    Attributes:
        files: those that are taken, gallery first, each role in the order of its folder or list.
        notes: what must be said in every table.
        unreadable: what is not taken, `place: reason`; with `skip_unreadable` it is in `notes`.
        never: what is refused whatever was said, `place: reason`.
        sizes: (height, width) of each file.
    """

    shown: str
    files: list[ImageFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def role(self, name: str) -> list[ImageFile]:
        """The files of a role."""
        return [item for item in self.files if item.role == name]

    def of_other_size(self, size: tuple[int, int] | None) -> list[str]:
        """Files that are not `size` (None: the first file's), each with its own size."""
        if not self.files:
            return []
        want = size or self.sizes[0]
        return [
            f"{item.path}: {height} x {width}"
            for item, (height, width) in zip(self.files, self.sizes, strict=True)
            if (height, width) != want
        ]


def read_set(spec: FolderSet | PhotosSet, checker: Checker) -> SetFiles:
    """Read and check a test set; refuses nothing but what leaves no set at all.

    Raises:
        UserError: the folder or list is not there, or a line of the list is wrong.
    """
    if spec in checker.memo:
        return cast(SetFiles, checker.memo[spec])
    files = SetFiles(str(spec.path))
    if spec.source == "list":
        listed = _read_list(spec.path, roles=True)
        where = {item.path: place for item, place in listed}
        items = [item for role in ROLES for item, _ in listed if item.role == role]
        meant = {item.identity for item in items if item.role == "gallery"}
        _missing(items, where, files)
    else:
        where, items, meant = {}, [], set()
        for role in ROLES:
            items += _read_role(spec.path, role, files, meant)
    _take(items, where, checker, files)
    _same_people([*meant, *(item.identity for item in items)], files)
    if spec.skip_unreadable:
        _skip(files, meant, "test set")
    checker.memo[spec] = files
    return files


def read_people(root: Path, checker: Checker, *, skip_unreadable: bool = False) -> SetFiles:
    """Read and check a folder of `<identity>/<image>`, all of one role.

    Raises:
        UserError: there is no such folder.
    """
    files = SetFiles(str(root))
    meant: set[str] = set()
    items = _read_people(folder(root), "", files, meant)
    _take(items, {}, checker, files)
    _same_people(meant, files)
    if skip_unreadable:
        _skip(files, set(), "images")
    return files


def read_calibration(spec: FolderCalibration, checker: Checker) -> SetFiles:
    """Read and check calibration images: as many as are asked for, all where no number is given.

    Raises:
        UserError: as for `read_set`.
    """
    if spec in checker.memo:
        return cast(SetFiles, checker.memo[spec])
    files = SetFiles(str(spec.path))
    where: dict[Path, str] = {}
    if spec.source == "folder":
        found = walk(folder(spec.path))
        files.unreadable += [f"{path}: {why}" for path, why in found.odd.items()]
        items = [ImageFile(path, path.name) for path in found.files]
    else:
        listed = _read_list(spec.path, roles=False)
        where = {item.path: place for item, place in listed}
        items = [item for item, _ in listed]
        _missing(items, where, files)
    wanted = len(items) if spec.images is None else spec.images
    at = 0
    # Of a large collection only so many are looked at as are needed.
    while at < len(items) and len(files.files) < wanted:
        stop = at + wanted - len(files.files)
        _take(items[at:stop], where, checker, files)
        at = stop
    if spec.skip_unreadable:
        _skip(files, set(), "calibration")
    checker.memo[spec] = files
    return files


def listed(path: Path, *, roles: bool) -> list[Path]:
    """The files that a list of images names, in its order; whether they are there is not looked at.

    Args:
        path: the CSV file.
        roles: whether it is a test set's, with identities and roles.

    Raises:
        UserError: there is no such list, or a line of it is wrong.
    """
    return [item.path for item, _ in _read_list(path, roles=roles)]


def folder(path: Path) -> Path:
    """`path`, which is a folder.

    Raises:
        UserError: it is not.
    """
    if not path.is_dir():
        raise UserError(f"{path}: no such folder of images")
    return path


def _read_role(root: Path, role: str, files: SetFiles, meant: set[str]) -> list[ImageFile]:
    place = folder(root) / role
    if not place.is_dir():
        raise UserError(f"{root}: there is no folder {role!r} in it", LAYOUT)
    people: set[str] = set()
    items = _read_people(place, role, files, people)
    if role == "gallery":
        meant |= people
    return items


def _same_people(identities: Iterable[str], files: SetFiles) -> None:
    for names in alike(identities):
        files.never.append(f"identities that differ only in form: {spelled(names)}")


def _read_people(place: Path, role: str, files: SetFiles, people: set[str]) -> list[ImageFile]:
    """Files of `<identity>/<image>` in `place`; adds everybody who was meant to `people`."""
    found = walk(place)
    files.unreadable += [f"{path}: {why}" for path, why in found.odd.items()]
    items = []
    before = len(os.fspath(place)) + 1
    for path in found.files:
        identity, below, _ = os.fspath(path)[before:].partition(os.sep)
        if below:
            items.append(ImageFile(path, identity, role))
        else:
            files.never.append(f"{path}: lies in no identity's folder")
    odd = {path.relative_to(place).parts[:1] for path in found.odd}
    known = {item.identity for item in items} | {name for parts in odd for name in parts}
    people |= known | {path.name for path in found.folders}
    files.unreadable += [
        f"{path}: an identity without an image" for path in found.folders if path.name not in known
    ]
    return items


def _missing(items: Iterable[ImageFile], where: dict[Path, str], files: SetFiles) -> None:
    files.never += [
        f"{where[item.path]}: {item.path} is not there" for item in items if not item.path.is_file()
    ]


def _take(
    items: Sequence[ImageFile], where: dict[Path, str], checker: Checker, files: SetFiles
) -> None:
    """Check files, and sort them into those that are taken and those that are not."""
    there = [item for item in items if item.path not in where or item.path.is_file()]
    marks: Counter[str] = Counter()
    for item, checked in zip(there, checker.check([i.path for i in there]), strict=True):
        if checked.error:
            at = f"{where[item.path]}: " if item.path in where else ""
            files.unreadable.append(f"{at}{item.path}: {checked.error}")
        else:
            marks.update(checked.marks)
            files.files.append(replace(item, sha256=checked.sha256))
            files.sizes.append(_size(checked))
    files.notes += [
        words.format(counted(marks[mark], "image")) for mark, words in _MARKS if marks[mark]
    ]


_MARKS = (
    ("alpha", "{} with transparency: composited over black"),
    ("frames", "{} with several frames or pages: the first is used"),
    ("profile", "{} with a colour profile that cannot be used: taken as sRGB"),
    ("colours", "{} in other colours than sRGB's, said without a profile: not converted"),
)


def _size(checked: Checked) -> tuple[int, int]:
    return checked.height, checked.width


def _skip(files: SetFiles, meant: set[str], what: str) -> None:
    """Say what is skipped; probes of people who were to be enrolled and cannot be go with it."""
    said: list[str] = []
    if files.unreadable:
        first = "; ".join(files.unreadable[:_NAMED])
        more = len(files.unreadable) - _NAMED
        said.append(
            f"{what}: {len(files.unreadable)} skipped as unreadable (skip_unreadable): {first}"
            + (f"; and {more} more" if more > 0 else "")
        )
    enrolled = {item.identity for item in files.files if item.role == "gallery"}
    lost = {
        item.identity for item in files.files if item.role == "probe" and item.identity in meant
    } - enrolled
    if lost:
        readable = [
            (item, size)
            for item, size in zip(files.files, files.sizes, strict=True)
            if item.role != "probe" or item.identity not in lost
        ]
        gone = len(files.files) - len(readable)
        files.files, files.sizes = [i for i, _ in readable], [s for _, s in readable]
        said.append(
            f"{what}: probes left out, since none of their identity's gallery images can be "
            f"read: {gone} (identities: {len(lost)})"
        )
    files.notes[:0] = said
    files.unreadable = []


def _read_list(path: Path, *, roles: bool) -> list[tuple[ImageFile, str]]:
    """Each line's file, and where it stands."""
    columns = ["file", "identity", "role"] if roles else ["file"]
    items: list[tuple[ImageFile, str]] = []
    seen: dict[Path, int] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            missing = [c for c in columns if c not in (reader.fieldnames or [])]
            if missing:
                raise UserError(f"{path}:1: the column {missing[0]!r} is missing", LAYOUT)
            for row in reader:
                where = f"{path}:{reader.line_num}"
                for column in columns:
                    if not row[column]:
                        raise UserError(f"{where}: {column} is empty")
                if None in row:
                    raise UserError(
                        f"{where}: more fields than columns",
                        'a name that holds a comma stands in quotes: "Lee, Ann"',
                    )
                if roles and row["role"] not in ROLES:
                    raise UserError(f"{where}: role must be gallery or probe, not {row['role']!r}")
                image = path.parent / row["file"]
                first = seen.setdefault(image, reader.line_num)
                if first != reader.line_num:
                    raise UserError(
                        f"{where}: {row['file']!r} is defined twice (first on line {first})"
                    )
                identity, role = (row["identity"], row["role"]) if roles else (image.name, "")
                items.append((ImageFile(image, identity, role), where))
    except FileNotFoundError:
        raise UserError(f"{path}: no such list of images") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8: {error}") from None
    return items
