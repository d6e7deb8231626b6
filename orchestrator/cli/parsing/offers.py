"""Words of the project for completion: runs, boards, rows, kinds.

Read at each Tab, so quickly and without judging: a file that is wrong has nothing to offer.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click

from orchestrator.cli.parsing.root import find_root

if TYPE_CHECKING:
    from pathlib import Path

_BOARD = re.compile(r"^\s*-\s*\{?\s*name:\s*([^\s,}#]+)", re.MULTILINE)


def runs(ctx: click.Context) -> list[str]:
    """Names of kept runs, the newest first."""
    folder = _place(ctx, "runs", "runs")
    try:
        found = sorted(os.listdir(folder), reverse=True)
    except OSError:
        found = []
    return ["latest", *(name for name in found if name[0].isdigit() and (folder / name).is_dir())]


def boards(ctx: click.Context) -> list[str]:
    """Names of the inventory's boards."""
    try:
        text = _place(ctx, "inventory", "device_inventory.yaml").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return [name.strip("'\"") for name in _BOARD.findall(text)]


def boards_or_all(ctx: click.Context) -> list[str]:
    """The boards, and the word for all of them."""
    return ["all", *boards(ctx)]


def rows(ctx: click.Context) -> list[str]:
    """Names of the newest run's rows."""
    import json

    try:
        with open(_place(ctx, "runs", "runs") / "latest" / "events.jsonl") as log:
            started = json.loads(log.readline())
        return [str(cell["name"]) for cell in started["cells"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def rows_and_boards(ctx: click.Context) -> list[str]:
    """Rows of the newest run, then boards."""
    return [*rows(ctx), *boards(ctx)]


def kinds(_: click.Context) -> list[str]:
    """Kinds of boards that farm knows."""
    from pathlib import Path

    folder = Path(__file__).resolve().parents[2] / "kinds"
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _place(ctx: click.Context, param: str, usual: str) -> Path:
    """What was typed for a parameter, else the usual file of the project."""
    from pathlib import Path

    typed = ctx.params.get(param)
    if isinstance(typed, str) and typed != usual:
        return Path(typed).expanduser()
    return (find_root(Path.cwd()) or Path()) / usual
