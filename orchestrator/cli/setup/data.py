"""`farm data check`: the audit of a folder of faces, without a board."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.counting import counted

if TYPE_CHECKING:
    from orchestrator.audit.checks import Images
    from orchestrator.images import Rows
    from orchestrator.results import AuditFinding, AuditImage
    from orchestrator.specs.model import ModelSpec

LEAKS = 1


def check(
    folder: Path,
    *,
    calibration: str | None,
    manifest: str | None,
    matrix: str | None,
    sheet: str | None,
    as_json: bool,
) -> int:
    """Audit and report; 1 when there are leaks. The false-alarm rates are the matrix's, if any."""
    from orchestrator.audit.alarms import false_alarms
    from orchestrator.audit.checks import audit, leaks
    from orchestrator.specs.matrix import ScoringPolicy, load_matrix
    from orchestrator.specs.model import load_model

    policy = ScoringPolicy() if matrix is None else load_matrix(matrix).scoring
    model = None if manifest is None else load_model(Path(manifest))
    size = None if model is None else model.input.size
    sets = _sets(folder, calibration, size)
    parts = [_images(role, rows) for role, rows in sets.items()]
    found = audit(parts)
    if model is not None:
        found += _colours(model, sets)
    if "gallery" in sets and "probe" in sets:
        identities = sets["probe"].identities, sets["gallery"].identities
        found.append(false_alarms(*identities, policy.far, policy.table_far))
    if sheet:
        _write_sheet(Path(sheet), found, sets)
    if as_json:
        report = {
            "images": {role: len(rows) for role, rows in sets.items()},
            "notes": _notes(sets),
            "leaks": sum(finding.count for finding in leaks(found)),
            "findings": [finding.model_dump(mode="json") for finding in found],
        }
        print(json.dumps(report, indent=1))
    else:
        _show(found, sets)
    return LEAKS if leaks(found) else 0


def _sets(folder: Path, calibration: str | None, size: tuple[int, int] | None) -> dict[str, Rows]:
    """Rows by role; images in one folder of identities have the role `face`.

    Raises:
        UserError: nothing of the kind is there.
    """
    from orchestrator.images import Checker, calibration_rows, gallery_rows, probe_rows
    from orchestrator.specs.testset import FolderCalibration, FolderSet

    checker = Checker()
    sets: dict[str, Rows] = {}
    if folder.is_file() or any((folder / role).is_dir() for role in ("gallery", "probe")):
        spec = FolderSet(source="list" if folder.is_file() else "folder", path=folder)
        sets["gallery"] = gallery_rows(spec, size=size, checker=checker)
        sets["probe"] = probe_rows(spec, size=size, checker=checker)
    else:
        sets["face"] = _faces(folder, size)
    if calibration is not None:
        path = Path(calibration)
        calibrating = FolderCalibration(
            source="list" if path.is_file() else "folder", path=path, images=None
        )
        sets["calibration"] = calibration_rows(calibrating, size=size, checker=checker)
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


def _colours(model: ModelSpec, sets: dict[str, Rows]) -> list[AuditFinding]:
    from orchestrator.intake.normalizing import normalize
    from orchestrator.intake.reading import read
    from orchestrator.stages.colours import colour_finding

    asks = model.input
    original = read(model.path)
    normal = normalize(original, size=asks.size, output=model.output, layout_said=asks.layout)
    gallery, probes = (sets.get(role) or sets["face"] for role in ("gallery", "probe"))
    return colour_finding(model, normal.data, gallery, probes)


def _images(role: Any, rows: Rows) -> Images:
    from orchestrator.audit.checks import Images
    from orchestrator.audit.prints import prints_of

    progress = None
    if sys.stderr.isatty():

        def progress(done: int) -> None:
            end = "\n" if done == len(rows) else ""
            words = f"\r  {role}: {done:,} of {len(rows):,} images read"
            print(words, end=end, file=sys.stderr, flush=True)

    return Images(role, rows.names, rows.identities, prints_of(rows, progress))


def _show(found: list[AuditFinding], sets: dict[str, Rows]) -> None:
    from orchestrator.audit.sentences import example_lines

    for role, rows in sets.items():
        whom = (
            "" if role == "calibration" else f" of {counted(len(set(rows.identities)), 'identity')}"
        )
        print(f"{role}: {counted(len(rows), 'image')}{whom}")
    for note in _notes(sets):
        print(note)
    for finding in found:
        print(f"\n{finding.severity.upper():<8} {finding.sentence}")
        for line in example_lines(finding):
            print(f"         {line}")
    if not any(finding.severity == "leak" for finding in found):
        print("\nno leaks")


def _notes(sets: dict[str, Rows]) -> list[str]:
    return list(dict.fromkeys(note for rows in sets.values() for note in rows.notes))


def _write_sheet(file: Path, found: list[AuditFinding], sets: dict[str, Rows]) -> None:
    from orchestrator.audit.sentences import shown_name
    from orchestrator.audit.sheet import draw
    from orchestrator.errors import UserError

    places = {
        (role, shown_name(name)): (rows, index)
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
