"""What a run leaves on its server beside its log: its report, what its driver printed, and, of runs
that were sent from here, the scores and raw times that reports and comparisons are drawn from.

They go into the run's own folder, never into the store of this computer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from orchestrator.bundle.wire import HELD_STAGES
from orchestrator.errors import UserError
from orchestrator.remote.link import Conflict, Link, LinkCut, NotFound
from orchestrator.results import CellResult
from orchestrator.store.run_folder import LOG

REPORT = "report.html"
FETCH_S = 60.0
"""How long a cut link is tried again once the run is over."""
KEY, NAME = re.compile(r"[0-9a-f]{64}"), re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
Say = Callable[[str, str], None]


def fetch(link: Link, folder: Path, rows: Iterable[CellResult], say: Say) -> None:
    """Fetch all of it.

    The run is over and its table is here: what cannot be fetched is said, and that is all.

    Args:
        folder: the run's, here.
        rows: its finished rows.
    """
    end = time.monotonic() + FETCH_S

    def ask(what: str, path: str, get: Callable[[str], Any]) -> Any:
        try:
            return link.patiently(lambda: get(f"/runs/{folder.name}/{path}"), end)
        except NotFound:
            return None
        except (LinkCut, Conflict, UserError) as error:
            say(f"{what} was not fetched: {error.message}", "yellow")
            return None

    for name in (REPORT, LOG):
        data = ask(name, f"files/{name}", link.file)
        if data is not None:
            _write(folder / name, data)
    for stage, key in sorted(_keys(rows)):
        place = folder / "store" / stage / key
        listed = None if place.is_dir() else ask(stage, f"held/{stage}/{key}", link.get)
        names = [str(name) for name in listed["files"]] if listed is not None else []
        if not all(NAME.fullmatch(name) for name in names):
            say(f"{stage} was not fetched: the server names odd files", "yellow")
            continue
        # The manifest last: without it the store counts it as not there.
        for name in sorted(names, key=lambda name: name == "manifest.json"):
            data = ask(f"{stage}: {name}", f"held/{stage}/{key}/{name}", link.file)
            if data is None:
                break
            place.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(place / name, data)


def _keys(rows: Iterable[CellResult]) -> set[tuple[str, str]]:
    found = set()
    for row in rows:
        keys = row.provenance.get("keys", {})
        found |= {(stage, keys[stage]) for stage in HELD_STAGES if stage in keys}
    return {(s, k) for s, k in found if isinstance(k, str) and KEY.fullmatch(k)}


def _write(path: Path, data: bytes) -> None:
    fresh = path.with_name(f".{path.name}.part")
    fresh.write_bytes(data)
    fresh.replace(path)
