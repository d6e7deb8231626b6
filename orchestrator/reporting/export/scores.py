"""Per-probe scores and features of a run's rows for other programs: CSV, npz, safetensors.

Rows that share their features share a file; `features/index.json` says which row is in which.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.data.features import Features
from orchestrator.errors import UserError
from orchestrator.reporting.analysis.figures import searches_of
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.analysis.rescoring import KeptFeatures
from orchestrator.results import CellResult

KINDS = tuple(
    f"{what}-{suffix}"
    for what in ("scores", "features")
    for suffix in ("csv", "npz", "safetensors")
)


def export_kind(run: Run, folder: Path, kind: str) -> list[Path]:
    """Write `scores/<row>.<suffix>` of every row, or `features/<row>.<role>.<suffix>`.

    Where a row's name has a slash, its file is in a folder below.

    Args:
        run: whose kept searches or features are written.
        folder: exists.
        kind: one of `KINDS`.

    Raises:
        UserError: they are not kept (any more).
    """
    if any(row.task != "recognition" for row in run.results):
        raise UserError(
            f"run {run.name} is of detectors: {kind} has the scores and features of faces",
            "--format csv has the figures of each row",
        )
    what, suffix = kind.split("-")
    target = folder / what
    target.mkdir(exist_ok=True)
    stored = KeptFeatures(run)
    if what == "scores":
        places = [_place(target, f"{row.name}.{suffix}") for row in run.results]
        return [_scores(run, *each, stored) for each in zip(run.results, places, strict=True)]
    return _features(run, stored, target, suffix)


def _place(folder: Path, name: str) -> Path:
    """A row's file, in a folder that exists."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _scores(run: Run, row: CellResult, path: Path, stored: KeptFeatures) -> Path:
    from orchestrator import scoring

    searches = searches_of(run, row)
    if searches is None:
        raise UserError(
            f"row {row.name!r} of run {run.name}: its scores are not in the store any more",
            f"`farm score {run.name}` makes them again from the features",
        )
    trials = scoring.TrialSet(
        np.array(stored.ids(row, "gallery")), np.array(stored.ids(row, "probe"))
    )
    if path.suffix == ".csv":
        scoring.write_scores_csv(path, searches, trials)
        return path
    arrays: dict[str, NDArray[Any]] = {"mate": searches.mate, "impostor": searches.impostor}
    arrays |= {name: getattr(searches, name).astype(np.uint8) for name in ("mated", "failed")}
    if searches.rank is not None:
        arrays["rank"] = searches.rank
    _write(path, arrays, trials.probe_ids, row)
    return path


def _features(run: Run, stored: KeptFeatures, folder: Path, suffix: str) -> list[Path]:
    index: dict[str, dict[str, str]] = {}
    written: dict[str, Path] = {}
    for row in run.results:
        for role in ("gallery", "probe"):
            content = f"{stored.held(row, role).content} {stored.images(row, role)}"
            if content not in written:
                path = _place(folder, f"{row.name}.{role}.{suffix}")
                _side(path, stored.features(row, role), row)
                written[content] = path
            name = written[content].relative_to(folder).as_posix()
            index.setdefault(row.name, {})[role] = name
    listing = folder / "index.json"
    listing.write_text(json.dumps(index, indent=1) + "\n")
    return [*written.values(), listing]


def _side(path: Path, side: Features, row: CellResult) -> None:
    if path.suffix == ".csv":
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            names = [f"f{i}" for i in range(side.rows.shape[1])]
            writer.writerow(["row", "identity", "failed", *names])
            for number, (values, who) in enumerate(zip(side.rows, side.ids, strict=True)):
                texts = [f"{value:.9g}" for value in values.tolist()]
                writer.writerow([number, who, int(side.failed[number]), *texts])
        return
    arrays: dict[str, NDArray[Any]] = {
        "features": side.rows,
        "failed": side.failed.astype(np.uint8),
    }
    _write(path, arrays, np.array(side.ids), row)


def _write(
    path: Path, arrays: Mapping[str, NDArray[Any]], ids: NDArray[Any], row: CellResult
) -> None:
    """npz with the identities as an array; safetensors, which has no texts, as metadata."""
    from orchestrator import scoring

    if path.suffix == ".npz":
        named = {**arrays, "identity": ids}
        np.savez(path, allow_pickle=False, **named)
        return
    about = {
        "row": row.name,
        "model": row.model,
        "executed_by": row.executed_by,
        "identity": json.dumps(ids.tolist()),
    }
    scoring.write_safetensors(path, arrays, about)
