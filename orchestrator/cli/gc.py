"""`farm gc`: keep the store within a size, without touching what a kept run needs."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.cli import project

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def add_parser(commands: Any) -> None:
    """Add `gc` to the command line."""
    made = commands.add_parser(
        "gc",
        help="keep the store within a size",
        description="Remove what no kept run needs, the longest unused first, until the store is "
        "within a size. A run is kept as long as its folder is there.",
    )
    made.set_defaults(call=gc)
    made.add_argument(
        "--max-size", metavar="SIZE", type=size, default="10G", help="such as 500M (%(default)s)"
    )
    made.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    made.add_argument("--state", metavar="DIR", default=project.STATE, help=argparse.SUPPRESS)
    made.add_argument(
        "--runs", metavar="DIR", default=project.RUNS, help="where runs are kept (%(default)s)"
    )
    made.add_argument("--json", action="store_true", help="for programs")


def size(text: str) -> int:
    """Bytes of `500M`, `10GiB` or `1024`.

    Raises:
        argparse.ArgumentTypeError: it is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 500M or 20G, not {text!r}")
    return int(float(found[1]) * UNITS[found[2].upper()])


def gc(arguments: argparse.Namespace) -> int:
    """Remove; 1 when kept runs need more than the size."""
    from orchestrator.store import collecting

    root = Path(arguments.state) / "store"
    with collecting.alone(root) if root.is_dir() else contextlib.nullcontext():
        held = collecting.items(root)
        needed = set(keys_of_runs(Path(arguments.runs)))
        needed |= {
            collecting.images_of(item)
            for item in held
            if item.stage == "extract" and (item.key in needed or item.begun)
        } - {""}
        chosen = collecting.removable(
            held, needed, most_bytes=arguments.max_size, now=collecting.clock()
        )
        if not arguments.dry_run:
            for item in chosen:
                collecting.remove(item)
    total = sum(item.bytes for item in held)
    freed = sum(item.bytes for item in chosen)
    over = total - freed > arguments.max_size
    if arguments.json:
        names = [f"{item.stage}/{item.key}" for item in chosen]
        told = {"bytes": total - freed, "freed": freed, "removed": names, "over": over}
        print(json.dumps(told, indent=1))
        return int(over)
    for item in chosen:
        print(f"{item.stage:<10} {item.key[:12]}  {words(item.bytes)}")
    verb = "would be removed" if arguments.dry_run else "removed"
    print(f"{len(chosen)} of {len(held)} items, {words(freed)} {verb}; {words(total - freed)} left")
    if over:
        print(
            f"that is more than {words(arguments.max_size)}: kept runs need it, or it was begun "
            f"less than a week ago; remove folders of runs in {arguments.runs} that you do not need"
        )
    return int(over)


def keys_of_runs(runs: Path) -> Iterator[str]:
    """Keys of all that the kept runs finished or showed."""
    from orchestrator.events import CellFinished, EventReader, StepFinished

    for path in sorted(runs.glob("*/events.jsonl")):
        if path.parent.is_symlink():
            continue
        for event in EventReader(path).new():
            if isinstance(event, StepFinished):
                yield event.key
            elif isinstance(event, CellFinished):
                keys = event.result.get("provenance", {}).get("keys", {})
                yield from (key for key in keys.values() if isinstance(key, str))


def words(count: float) -> str:
    """Bytes in words."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
