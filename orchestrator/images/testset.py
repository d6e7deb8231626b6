"""Rows of a test set: which image stands for whom, and how to get its pixels.

`gallery_rows`, `probe_rows` and `calibration_rows` describe every image without making one, so a
plan costs no rendering; `images(start, stop)` makes or reads pixels when they are needed.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from orchestrator.counting import counted, form
from orchestrator.errors import UserError
from orchestrator.images.checking import Checker
from orchestrator.images.files import FileRows, ImageFile
from orchestrator.images.fileset import LAYOUT, SetFiles, read_calibration, read_people, read_set
from orchestrator.images.kinds import TAKEN
from orchestrator.images.refusing import refuse
from orchestrator.images.rendered import SIZE
from orchestrator.images.rendered_rows import RenderedRows
from orchestrator.specs.testset import (
    FolderCalibration,
    FolderSet,
    Population,
    RenderedCalibration,
    RenderedSet,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Pixels: TypeAlias = "npt.NDArray[np.uint8]"


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

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be said beside figures that were made of them."""
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

    def beside(self) -> Mapping[str, bytes]:
        """Files that are stored beside the images, by name."""
        ...

    def lost(self, images: Pixels) -> Sequence[int]:
        """Which of the images (all of them) are of a photo without a face."""
        ...

    def fingerprint(self) -> str:
        """Hash (hex) of what decides the pixels, row order and identities.

        For rendered faces these are numbers and the renderer's version, so pixels may differ by
        one level between machines: what depends on pixels hashes pixels.
        """
        ...


def gallery_rows(
    spec: RenderedSet | FolderSet,
    *,
    limit: int | None = None,
    size: tuple[int, int] | None = None,
    checker: Checker | None = None,
) -> Rows:
    """The images to enrol.

    Args:
        spec: the test set.
        limit: enrol only this many identities; mated and unknown probes shrink in proportion.
            The rows are among those of the whole set, so what is known of them stays known.
        size: (height, width) that the model wants; None takes that of the first image.
        checker: what checks files; it may know them already.

    Raises:
        UserError: the folder or list is missing, empty or wrong, or cannot have this size; files
            that are not taken, all of them.
    """
    if isinstance(spec, RenderedSet):
        _check_rendered_size(size)
        ids = gallery_ids(spec, limit)
        return RenderedRows(ids, 0, spec.seed, spec.difficulty)
    checked = _checked_set(spec, size, checker)
    return FileRows(limited_gallery(checked.role("gallery"), limit), size, checked.notes)


def probe_rows(
    spec: RenderedSet | FolderSet,
    *,
    limit: int | None = None,
    size: tuple[int, int] | None = None,
    checker: Checker | None = None,
) -> Rows:
    """The images to search for: the mated ones first, then the unknown ones.

    Arguments and errors are those of `gallery_rows`.
    """
    if isinstance(spec, RenderedSet):
        _check_rendered_size(size)
        ids = probe_ids(spec, limit)
        return RenderedRows(ids, 1, spec.seed, spec.difficulty)
    checked = _checked_set(spec, size, checker)
    files = limited_probes(checked.role("gallery"), checked.role("probe"), limit)
    return FileRows(files, size, checked.notes)


def people_rows(
    folder: Path, *, size: tuple[int, int] | None = None, checker: Checker | None = None
) -> FileRows:
    """The images of a folder of `<identity>/<image>`, without roles.

    Raises:
        UserError: the folder is not there; files that are not taken, all of them.
    """
    people = read_people(folder, checker or Checker())
    refuse([people], [size])
    return FileRows(people.files, size, people.notes)


def calibration_rows(
    spec: RenderedCalibration | FolderCalibration,
    *,
    size: tuple[int, int] | None = None,
    checker: Checker | None = None,
) -> Rows:
    """The images that calibrate; `identities` of a folder's are the files' own names.

    Raises:
        UserError: as for `gallery_rows`.
    """
    if isinstance(spec, RenderedCalibration):
        _check_rendered_size(size)
        ids = _range(spec.first_identity, spec.images)
        return RenderedRows(ids, 0, spec.seed, spec.difficulty)
    calibration = read_calibration(spec, checker or Checker())
    refuse([calibration], [size])
    check_calibration(spec, calibration)
    return FileRows(calibration.files, size, calibration.notes)


def check_sets(
    spec: RenderedSet | FolderSet,
    calibration: RenderedCalibration | FolderCalibration | None,
    sizes: Sequence[tuple[int, int]],
    checker: Checker,
) -> None:
    """Check every file of a test set and of calibration before anything starts.

    Args:
        spec: the test set.
        calibration: None where nothing is calibrated.
        sizes: (height, width) that each model wants.
        checker: remembers what it found, so that the rows need no second look.

    Raises:
        UserError: what is refused in both, told at once.
    """
    sets = []
    if isinstance(spec, FolderSet):
        sets.append(read_set(spec, checker))
    if isinstance(calibration, FolderCalibration):
        sets.append(read_calibration(calibration, checker))
    refuse(sets, sizes, checker.state)


def _checked_set(
    spec: FolderSet, size: tuple[int, int] | None, checker: Checker | None
) -> SetFiles:
    checked = read_set(spec, checker or Checker())
    refuse([checked], [size])
    gallery, probes = checked.role("gallery"), checked.role("probe")
    for role, found in (("gallery", gallery), ("probe", probes)):
        if not found:
            raise UserError(f"{spec.path}: no {role} images", LAYOUT)
    if not {item.identity for item in gallery} & {item.identity for item in probes}:
        raise UserError(
            f"{spec.path}: no identity has both a gallery and a probe image",
            LAYOUT,
        )
    return checked


def check_calibration(spec: FolderCalibration, calibration: SetFiles) -> None:
    """See that a calibration has the images that are asked for; UserError where it has not."""
    if not calibration.files:
        raise UserError(f"{spec.path}: no images ({', '.join(TAKEN)}) to calibrate")
    if spec.images is not None and len(calibration.files) < spec.images:
        raise UserError(
            f"{spec.path}: {counted(spec.images, 'image')} {form(spec.images, 'is')} asked for, "
            f"{len(calibration.files)} {form(len(calibration.files), 'is')} there"
        )


def _check_rendered_size(size: tuple[int, int] | None) -> None:
    if size not in (None, (SIZE, SIZE)):
        raise UserError(
            f"rendered faces are {SIZE} x {SIZE} pixels; {size[0]} x {size[1]} (high x wide) "
            "is asked for",
            "Give the test set or calibration a folder of images of that size.",
        )


def _range(first: int, count: int) -> array[int]:
    return array("q", range(first, first + count))


def gallery_ids(spec: Population, limit: int | None) -> array[int]:
    """Whom to enrol: int64, identities that are searched for first."""
    mated, distractors, _ = _limited(spec, limit)
    first_distractor = spec.first_identity + spec.identities
    return _range(spec.first_identity, mated) + _range(first_distractor, distractors)


def probe_ids(spec: Population, limit: int | None) -> array[int]:
    """Whom to search for: int64, the mated ones first, then the unknown ones."""
    mated, _, unknown = _limited(spec, limit)
    first_unknown = spec.first_identity + spec.identities + spec.distractors
    return _range(spec.first_identity, mated) + _range(first_unknown, unknown)


def _share(count: int, share: float) -> int:
    """`count` times `share`, rounded; at least 1 of what there is."""
    return min(count, max(round(count * share), 1)) if count else 0


def _limited(spec: Population, limit: int | None) -> tuple[int, int, int]:
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


def limited_probes(
    gallery: Sequence[ImageFile], probes: Sequence[ImageFile], limit: int | None
) -> list[ImageFile]:
    """The probes of a limited gallery: the mated ones, then unknown ones in proportion."""
    whole = {item.identity for item in gallery}
    enrolled = {item.identity for item in limited_gallery(gallery, limit)}
    mated = [item for item in probes if item.identity in enrolled]
    unknown = [item for item in probes if item.identity not in whole]
    return [*mated, *unknown[: _share(len(unknown), len(enrolled) / len(whole))]]


def limited_gallery(gallery: Sequence[ImageFile], limit: int | None) -> list[ImageFile]:
    """The images of the first `limit` identities; all where it is None."""
    if limit is None:
        return list(gallery)
    _check_limit(limit)
    first = set(list(dict.fromkeys(item.identity for item in gallery))[:limit])
    return [item for item in gallery if item.identity in first]
