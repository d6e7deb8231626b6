"""All files that a matrix and its manifests lead to, those that lists in them name included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.images.annotated_files import coco, widerface
from orchestrator.images.fileset import listed
from orchestrator.specs.annotated import CocoSet, WiderSet
from orchestrator.specs.matrix import Matrix
from orchestrator.specs.photos import PhotosSet
from orchestrator.specs.scenes import ScenesCalibration
from orchestrator.specs.testset import FolderCalibration, FolderSet, RenderedCalibration

ROLES = ("gallery", "probe")


@dataclass(frozen=True)
class Reached:
    """What a key of a matrix leads to.

    Attributes:
        key: of the matrix.
        path: the file or folder that the key names.
        below: files that `path` names; empty where it names none.
        roots: folders of which every file counts.
        is_list: whether `path` is a CSV file whose column `file` names `below`.
    """

    key: str
    path: Path
    below: tuple[Path, ...] = ()
    roots: tuple[Path, ...] = ()
    is_list: bool = False


def reached(matrix: Matrix) -> Iterator[Reached]:
    """What test set and calibrations lead to; nothing of rendered ones.

    Raises:
        UserError: a list or a file of annotations cannot be read.
    """
    for key in ("test_set", "calibration", "detector_calibration"):
        part = getattr(matrix, key)
        match part:
            case FolderSet(source="list", path=path) | FolderCalibration(source="list", path=path):
                files = listed(path, roles=isinstance(part, FolderSet))
                yield Reached(key, path, tuple(files), is_list=True)
            case FolderSet(path=path) | PhotosSet(path=path):
                yield Reached(key, path, roots=tuple(path / role for role in ROLES))
            case FolderCalibration(path=path):
                yield Reached(key, path, roots=(path,))
            case WiderSet(images=images, truth=truth):
                below = tuple(images / name for name in widerface.named_files(truth))
                yield Reached(key, images, below)
                yield Reached(key, truth)
                for each in _lists(part):
                    yield Reached(key, each)
            case CocoSet(images=images, annotations=annotations):
                below = tuple(images / name for name in coco.named_files(annotations))
                yield Reached(key, images, below)
                yield Reached(key, annotations)
            case _:
                assert part is None or _is_rendered(part), f"{key}: unknown {type(part).__name__}"


def _lists(part: WiderSet) -> tuple[Path, ...]:
    found = part.lists
    return () if found is None else (found.easy, found.medium, found.hard)


def _is_rendered(part: object) -> bool:
    from orchestrator.specs.photos import RenderedPhotosSet
    from orchestrator.specs.scenes import ScenesSet
    from orchestrator.specs.testset import RenderedSet

    kinds = (RenderedSet, RenderedPhotosSet, ScenesSet, ScenesCalibration, RenderedCalibration)
    return isinstance(part, kinds)
