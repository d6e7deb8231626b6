"""The audit of a plan's images; what it found is kept in the state folder."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.audit.sentences import refusal, shown_name
from orchestrator.errors import UserError
from orchestrator.hashing import digest
from orchestrator.results import AuditFinding
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.photos import PhotosSet
from orchestrator.specs.testset import FolderCalibration, FolderSet

if TYPE_CHECKING:
    from orchestrator.audit.prints import Prints

FOLDER = "audit"
"""Name of the folder in the state folder; it may be deleted at any time."""

MOST_FILES = 24
"""Files of each sort that are kept, the newest."""

_ROLES = ("gallery", "probe", "calibration")


class AuditFiles:
    """What was worked out of images, by what they hold."""

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    def findings(self, key: str) -> list[AuditFinding] | None:
        """Findings that were kept under a key."""
        try:
            stored = json.loads((self._folder / f"{key}.json").read_text())
            return [AuditFinding.model_validate(one) for one in stored]
        except (OSError, ValueError, TypeError):
            return None

    def keep_findings(self, key: str, found: Sequence[AuditFinding]) -> None:
        """Keep findings."""
        fields = [finding.model_dump(mode="json") for finding in found]
        self._write(f"{key}.json", json.dumps(fields).encode())

    def prints(self, rows: Any) -> Prints:
        """The prints of images; those that are not known are read.

        Raises:
            UserError: an image cannot be read.
        """
        from orchestrator.audit.prints import VERSION, Prints, prints_of

        key = digest({"prints": VERSION, "rows": rows.fingerprint()})
        name = f"{key}.npz"
        try:
            stored = Prints.from_bytes((self._folder / name).read_bytes())
            if len(stored) == len(rows):
                return stored
        except (OSError, ValueError):
            pass
        computed = prints_of(rows)
        self._write(name, computed.to_bytes())
        return computed

    def _write(self, name: str, data: bytes) -> None:
        # A state folder that cannot be written to costs only the time to look again.
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = self._folder / f".{name}.{os.getpid()}"
            temporary.write_bytes(data)
            temporary.replace(self._folder / name)
            alike = self._folder.glob(f"*{Path(name).suffix}")
            for old in sorted(alike, key=lambda path: -path.stat().st_mtime)[MOST_FILES:]:
                old.unlink(missing_ok=True)


def audit_of(
    matrix: Any,
    rows: Mapping[tuple[str, str], Any],
    models: Mapping[str, ModelSpec],
    state: Path,
) -> list[AuditFinding]:
    """Audit the images of a plan: the arithmetic of any set, the pictures of the user's own.

    Args:
        matrix: what is to be run.
        rows: (model, role) to images; all models have the same images.
        models: by name; only those that have rows are looked at.
        state: farm's own folder.

    Raises:
        UserError: leaks that are not allowed, with their first images; an image cannot be read.
    """
    from orchestrator.audit.alarms import false_alarms

    # A detector before the recognizer is shown the same photos.
    sets = {role: found for (name, role), found in rows.items() if name != matrix.detector_name}
    if "gallery" not in sets or "probe" not in sets:
        return []
    files = AuditFiles(state)
    found = allowed(_of_pictures(matrix, sets, files), matrix)
    if isinstance(matrix.test_set, FolderSet):
        for name, model in models.items():
            if (name, "gallery") in rows:
                found += _of_colours(model, rows[name, "gallery"], rows[name, "probe"], files)
    policy = matrix.scoring
    found.append(
        false_alarms(
            sets["probe"].identities, sets["gallery"].identities, policy.far, policy.table_far
        )
    )
    return found


def allowed(found: Sequence[AuditFinding], matrix: Any) -> list[AuditFinding]:
    """The findings, leaks marked as allowed where the matrix says so.

    Raises:
        UserError: there are others.
    """
    whole = bool(getattr(matrix.test_set, "allow_leaks", False))
    calibration = whole or bool(getattr(matrix.calibration, "allow_leaks", False))
    findings: list[AuditFinding] = []
    refused: list[AuditFinding] = []
    for finding in found:
        if finding.severity != "leak":
            findings.append(finding)
        elif calibration if finding.kind == "calibration-in-test" else whole:
            findings.append(finding.model_copy(update={"allowed": True}))
        else:
            refused.append(finding)
    if refused:
        where = " and ".join(
            dict.fromkeys(
                "calibration:" if f.kind == "calibration-in-test" else "test_set:" for f in refused
            )
        )
        raise UserError(
            f"{matrix.source.file}: the images leak, so figures would say too much\n"
            + refusal(refused),
            f"fix the images: farm data check {shown_name(str(matrix.test_set.path))} "
            f"--sheet suspects.png shows them; or write allow_leaks: true beside path: of {where} "
            "and every table says so",
        )
    return findings


def _of_pictures(matrix: Any, sets: Mapping[str, Any], files: AuditFiles) -> list[AuditFinding]:
    """What the pictures show; rendered faces are what they are said to be."""
    own = dict(sets) if isinstance(matrix.test_set, FolderSet | PhotosSet) else {}
    if isinstance(matrix.test_set, PhotosSet):
        from orchestrator.aligning.photo_rows import HostAlignedRows

        # The whole picture is looked at: no detector runs before the run does.
        photos = {r: rows for r, rows in own.items() if isinstance(rows, HostAlignedRows)}
        own |= {r: rows.letterboxed() for r, rows in photos.items()}
    if not isinstance(matrix.calibration, FolderCalibration):
        own.pop("calibration", None)
    if not own:
        return []
    from orchestrator.audit.checks import CHECKS, Images, audit
    from orchestrator.audit.prints import VERSION

    parts = [role for role in _ROLES if role in own]
    known = {role: [own[role].fingerprint(), *_names(own[role])] for role in parts}
    key = digest({"checks": CHECKS, "prints": VERSION, "images": known})
    stored = files.findings(key)
    if stored is not None:
        return stored
    found = audit(
        [
            Images(role, own[role].names, own[role].identities, files.prints(own[role]))  # type: ignore[arg-type]
            for role in parts
        ]
    )
    files.keep_findings(key, found)
    return found


def _of_colours(
    model: ModelSpec, gallery: Any, probes: Any, files: AuditFiles
) -> list[AuditFinding]:
    from orchestrator.stages.colours import VERSION, colour_finding

    key = digest(
        {
            "colours": VERSION,
            "model": [model.name, model.sha256, model.input_meta],
            "images": [gallery.fingerprint(), probes.fingerprint()],
        }
    )
    stored = files.findings(key)
    if stored is None:
        stored = colour_finding(model, model.path.read_bytes(), gallery, probes)
        files.keep_findings(key, stored)
    return stored


def _names(rows: Any) -> list[str]:
    return [shown_name(name) for name in rows.names]
