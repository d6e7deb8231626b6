"""`farm gc`: keep the store within a size, without touching what a kept run needs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path


def gc(state: Path, runs: Path, *, most_bytes: int, dry_run: bool, as_json: bool) -> int:
    """Remove; 1 when kept runs need more than the size."""
    from orchestrator.bundle import collecting as sent
    from orchestrator.store import collecting

    root = state / "store"
    with collecting.alone(root) if root.is_dir() else contextlib.nullcontext():
        held = [*collecting.items(root), *collecting.models(state / "models")]
        uploads, bundles = sent.of(state, runs)
        held += uploads
        needed = set(keys_of_runs(runs)) | bundles
        needed |= {
            collecting.images_of(item)
            for item in held
            if item.stage == "extract" and (item.key in needed or item.begun)
        } - {""}
        chosen = collecting.removable(held, needed, most_bytes=most_bytes, now=collecting.clock())
        if not dry_run:
            for item in chosen:
                (sent if sent.is_of(item) else collecting).remove(item)
    total = sum(item.bytes for item in held)
    freed = sum(item.bytes for item in chosen)
    over = total - freed > most_bytes
    if as_json:
        names = [f"{item.stage}/{item.key}" for item in chosen]
        report = {"bytes": total - freed, "freed": freed, "removed": names, "over": over}
        print(json.dumps(report, indent=1))
        return int(over)
    for item in chosen:
        print(f"{item.stage:<10} {item.key[:12]}  {words(item.bytes)}")
    verb = "would be removed" if dry_run else "removed"
    print(f"{len(chosen)} of {len(held)} items, {words(freed)} {verb}; {words(total - freed)} left")
    if over:
        print(
            f"that is more than {words(most_bytes)}: kept runs need it, or it was begun "
            f"less than a week ago; remove folders of runs in {runs} that you do not need"
        )
    return int(over)


def keys_of_runs(runs: Path) -> Iterator[str]:
    """Keys of all that the kept runs finished or showed, and their models."""
    from orchestrator.events import CellFinished, EventReader, StepFinished

    for path in sorted(runs.glob("*/events.jsonl")):
        if path.parent.is_symlink():
            continue
        for event in EventReader(path).new():
            if isinstance(event, StepFinished):
                yield event.key
            elif isinstance(event, CellFinished):
                provenance = event.result.get("provenance", {})
                keys = (*provenance.get("keys", {}).values(), provenance.get("model_sha256"))
                yield from (key for key in keys if isinstance(key, str))


def words(count: float) -> str:
    """Bytes in words."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
