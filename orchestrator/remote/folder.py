"""The folder of a run that goes on elsewhere: as a local run's, and `remote.json` says where."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.request import Request
from orchestrator.store.run_folder import REMOTE, REQUEST, make_folder


@dataclass(frozen=True)
class Where:
    """Where a run is.

    Attributes:
        url: of the server.
        run: its name there and here.
        job: the number under which it was asked for; empty of a run that somebody else began.
        token_file: the file that has the token; empty where it was given otherwise. A token itself
            is never stored.
    """

    url: str
    run: str
    job: str = ""
    token_file: str = ""


def where_of(folder: Path) -> Where | None:
    """Where a run is; None for one of this computer."""
    try:
        return Where(**json.loads((folder / REMOTE).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def make_remote(folder: Path, where: Where, request: Request) -> None:
    """Make the folder of a run, or note where it is now; it becomes the latest once it has begun.

    Raises:
        UserError: it cannot be made, or is that of a run of this computer.
    """
    if not folder.is_dir():
        make_folder(folder, request.to_json(), latest=False)
    elif not (folder / REMOTE).is_file():
        raise UserError(
            f"{folder} is a run of this computer", "name another folder for runs: --runs DIR"
        )
    fresh = folder / f".{REMOTE}.{os.getpid()}"
    fresh.write_text(json.dumps(asdict(where), indent=1) + "\n")
    fresh.replace(folder / REMOTE)


def forget(folder: Path) -> None:
    """Take away the folder of a run that was refused."""
    for name in (REMOTE, REQUEST):
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()
