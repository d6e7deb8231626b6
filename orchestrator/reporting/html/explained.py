"""What `farm explain --run` kept beside a run, for its report."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = "explained"


def keep(run: Path, explanation: Mapping[str, Any]) -> Path:
    """Write an explanation (the object of `farm explain --json`) beside its run, atomically.

    A row's earlier explanation is replaced.
    """
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    path = folder / f"{explanation['cell'].rstrip('*').replace('/', '+')}.json"
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(explanation, indent=1), encoding="utf-8")
    partial.replace(path)
    return path


def stored(run: Path) -> list[dict[str, Any]]:
    """A run's explanations by row; a damaged file is left out."""
    found = []
    for path in sorted((run / FOLDER).glob("*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(data, dict) and data["layers"] and data["cell"]:
                found.append(data)
        except (OSError, ValueError, KeyError):
            continue
    return found
