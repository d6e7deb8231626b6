"""What is served."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Project:
    """The folders and files that are served; `state` is farm's own folder, with the store."""

    inventory: Path
    runs: Path
    state: Path = Path(".farm")
