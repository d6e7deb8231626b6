"""`farm data check`: the audit of a folder of faces, without a model, a matrix or a board."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.audit import Images
    from orchestrator.images import Rows
    from orchestrator.results import AuditFinding, AuditImage

LEAKS = 1
SHOWN = 5


def add_parser(commands: Any) -> None:
    """Add `data` to the command line."""
    group = commands.add_parser("data", help="look at a test set before it is used")
    words = group.add_subparsers(dest="data_command", metavar="COMMAND", required=True)
    group.words = ("check",)
    made = words.add_parser(
        "check",
        help="images that stand where they must not: copies across roles and identities",
        description="Compare all images of a test set with one another, and with those that "
        "calibrate: identical and near-identical ones across roles and identities are leaks. "
        "Exit code 0 when there is none, 1 when there are.",
    )
    made.set_defaults(call=check)
    made.add_argument(
        "folder",
        metavar="DIR",
        help="gallery/<identity>/<image> and probe/<identity>/<image>, or <identity>/<image>; "
        "or a CSV list with the columns file, identity, role",
    )
    made.add_argument(
        "--calibration", metavar="DIR", help="the images that calibrate: a folder, or a CSV list"
    )
    made.add_argument(
        "--model", metavar="FILE", help="a model's manifest, whose input size all images must have"
    )
    made.add_argument("--json", action="store_true", help="for programs")
    made.add_argument("--sheet", metavar="FILE", help="write a picture (PNG) of the suspects")


def check(arguments: argparse.Namespace) -> int:
    """Audit and tell; 1 when there are leaks."""
    from orchestrator.audit import audit, false_alarms, leaks
    from orchestrator.specs.matrix import ScoringPolicy

    size = _size(arguments.model)
    sets = _sets(Path(arguments.folder), arguments.calibration, size)
    parts = [_images(role, rows) for role, rows in sets.items()]
    found = audit(parts)
    if "gallery" in sets and "probe" in sets:
        policy = ScoringPolicy()
        identities = sets["probe"].identities, sets["gallery"].identities
        found.append(false_alarms(*identities, policy.far, policy.table_far))
    if arguments.sheet:
        _write_sheet(Path(arguments.sheet), found, sets)
    if arguments.json:
        told = {
            "images": {role: len(rows) for role, rows in sets.items()},
            "leaks": sum(finding.count for finding in leaks(found)),
            "findings": [finding.model_dump(mode="json") for finding in found],
        }
        print(json.dumps(told, indent=1))
    else:
        _show(found, sets)
    return LEAKS if leaks(found) else 0


def _size(manifest: str | None) -> tuple[int, int] | None:
    if manifest is None:
        return None
    from orchestrator.specs.model import load_model

    return load_model(Path(manifest)).input.size


def _sets(folder: Path, calibration: str | None, size: tuple[int, int] | None) -> dict[str, Rows]:
    """Rows by role; images in one folder of identities have the role `face`.

    Raises:
        UserError: nothing of the kind is there.
    """
    from orchestrator.images import calibration_rows, gallery_rows, probe_rows
    from orchestrator.specs.testset import FolderCalibration, FolderSet

    sets: dict[str, Rows] = {}
    if folder.is_file() or any((folder / role).is_dir() for role in ("gallery", "probe")):
        spec = FolderSet(source="list" if folder.is_file() else "folder", path=folder)
        sets["gallery"] = gallery_rows(spec, size=size)
        sets["probe"] = probe_rows(spec, size=size)
    else:
        sets["face"] = _faces(folder, size)
    if calibration is not None:
        path = Path(calibration)
        told = FolderCalibration(
            source="list" if path.is_file() else "folder", path=path, images=None
        )
        sets["calibration"] = calibration_rows(told, size=size)
    return sets


def _faces(folder: Path, size: tuple[int, int] | None) -> Rows:
    from orchestrator.errors import UserError
    from orchestrator.images import people_rows

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder or list of images")
    rows = people_rows(folder, size=size)
    if not len(rows):
        raise UserError(
            f"{folder}: no images in folders of identities",
            "A folder holds <identity>/<image>, or gallery/ and probe/ with such folders.",
        )
    return rows


def _images(role: Any, rows: Rows) -> Images:
    from orchestrator.audit import Images, prints_of

    progress = None
    if sys.stderr.isatty():

        def progress(done: int) -> None:
            end = "\n" if done == len(rows) else ""
            words = f"\r  {role}: {done:,} of {len(rows):,} images read"
            print(words, end=end, file=sys.stderr, flush=True)

    return Images(role, rows.names, rows.identities, prints_of(rows, progress))


def _show(found: list[AuditFinding], sets: dict[str, Rows]) -> None:
    from orchestrator.reporting.audit import example_words

    for role, rows in sets.items():
        whom = "" if role == "calibration" else f" of {len(set(rows.identities)):,} identities"
        print(f"{role}: {len(rows):,} images{whom}")
    for finding in found:
        print(f"\n{finding.severity.upper():<8} {finding.sentence}")
        for example in finding.examples[:SHOWN]:
            print(f"         {example_words(example)}")
        if finding.examples and finding.count > SHOWN:
            print(f"         and {finding.count - SHOWN:,} more (--json, --sheet FILE.png)")
    if not any(finding.severity == "leak" for finding in found):
        print("\nno leaks")


def _write_sheet(file: Path, found: list[AuditFinding], sets: dict[str, Rows]) -> None:
    from orchestrator.audit import draw
    from orchestrator.errors import UserError

    places = {
        (role, name): (rows, index)
        for role, rows in sets.items()
        for index, name in enumerate(rows.names)
    }

    def read(image: AuditImage) -> Any:
        rows, index = places[image.role, image.name]
        return rows.images(index, index + 1)[0]

    try:
        draw(found, read).save(file, "PNG")
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {error.strerror or error}") from error
