"""The images that a plan's rows need: every file is checked, none is rendered."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UserError
from orchestrator.planning.cells import Cell, Encoder
from orchestrator.planning.tasks import TASKS
from orchestrator.request import Request
from orchestrator.specs.manifests import load_detector
from orchestrator.specs.matrix import Matrix
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.photos import AnyPhotos
from orchestrator.specs.scenes import ScenesCalibration
from orchestrator.specs.sets import FaceSet, scenes_like
from orchestrator.specs.testset import FolderSet, RenderedCalibration, RenderedSet
from orchestrator.specs.yamlfile import fail

if TYPE_CHECKING:
    from orchestrator.images import Checker, Rows

MANY_FILES = 2000


def image_rows(
    matrix: Matrix, models: Mapping[str, ModelSpec], cells: Sequence[Cell], request: Request
) -> dict[tuple[str, str], Rows]:
    """(model, role) to its images, for the roles that the cells need; every file is checked.

    Raises:
        UserError: files that are not taken, all of them.
    """
    from orchestrator import images

    checker = images.Checker(Path(request.state), _say_checked)
    sizes = {cell.model: models[cell.model].input.size for cell in cells}
    # A given file is compared with the float32 model on calibration images.
    calibrated = {cell.model for cell in cells if not cell.probe.quantization.is_float}
    if isinstance(matrix.test_set, RenderedSet | FolderSet):
        calibration = matrix.calibration
        if isinstance(calibration, ScenesCalibration):  # refused by the matrix itself
            raise TypeError("scenes do not calibrate a recognition model")
        images.check_sets(
            matrix.test_set, calibration if calibrated else None, list(sizes.values()), checker
        )
    detector = load_detector(matrix)
    rows: dict[tuple[str, str], Rows] = {}
    for model, size in sizes.items():
        for role in TASKS[models[model].task].roles:
            rows[model, role] = _rows(matrix, role, size, request.limit, checker, detector)
        if model in calibrated:
            rows[model, "calibration"] = _calibration(matrix, size, checker)
    if detector is not None:
        rows |= _of_detectors(matrix, detector, cells, request.limit, checker)
    return rows


def _of_detectors(
    matrix: Matrix,
    detector: ModelSpec,
    cells: Sequence[Cell],
    limit: int | None,
    checker: Checker,
) -> dict[tuple[str, str], Rows]:
    """The photos as a detector on a board takes them; nothing where none works on a board."""
    from orchestrator import images
    from orchestrator.aligning.photo_rows import photos_of
    from orchestrator.images.photos import LetterboxedRows

    photos = matrix.test_set
    on_board = [each for cell in cells for each in detectors_of(cell)]
    if not on_board or not isinstance(photos, AnyPhotos):
        return {}
    size = detector.input.size
    rows: dict[tuple[str, str], Rows] = {
        (detector.name, role): LetterboxedRows(
            photos_of(photos, role, limit=limit, checker=checker), size
        )
        for role in TASKS[matrix.task].roles
    }
    if not all(each.quantization.is_float for each in on_board):
        spec = matrix.detector_calibration or scenes_like(photos)
        rows[detector.name, "calibration"] = images.picture_calibration(spec, size, checker)
    return rows


def detectors_of(cell: Cell) -> list[Encoder]:
    """The detectors that work on boards for a row."""
    return [
        encoder.detector for encoder in (cell.gallery, cell.probe) if encoder.detector is not None
    ]


def _rows(
    matrix: Matrix,
    role: str,
    size: tuple[int, int],
    limit: int | None,
    checker: Checker,
    detector: ModelSpec | None,
) -> Rows:
    from orchestrator import images

    if isinstance(matrix.test_set, AnyPhotos):
        from orchestrator.aligning.photo_rows import HostAlignedRows, photos_of

        assert detector is not None
        photos = photos_of(matrix.test_set, role, limit=limit, checker=checker)
        return HostAlignedRows(photos, detector, matrix.test_set.min_score)
    if not isinstance(matrix.test_set, FaceSet):
        try:
            return images.picture_rows(matrix.test_set, size, limit)
        except UserError as error:
            fail([matrix.source.problem(("test_set",), error.message)], error.hint)
            raise
    of_role = images.gallery_rows if role == "gallery" else images.probe_rows
    return of_role(matrix.test_set, limit=limit, size=size, checker=checker)


def _calibration(matrix: Matrix, size: tuple[int, int], checker: Checker) -> Rows:
    from orchestrator import images

    spec = matrix.calibration
    if matrix.task == "recognition" and not isinstance(spec, ScenesCalibration):
        return images.calibration_rows(spec, size=size, checker=checker)
    if isinstance(spec, RenderedCalibration):  # refused by the matrix itself
        raise TypeError("aligned faces do not calibrate a detector")
    return images.picture_calibration(spec, size, checker)


def _say_checked(done: int, total: int) -> None:
    """A first look at many files takes a while: say so to whoever sits there."""
    if total >= MANY_FILES and sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r  {done:,} of {total:,} images checked", end=end, file=sys.stderr, flush=True)
