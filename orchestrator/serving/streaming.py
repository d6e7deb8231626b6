"""A run's log as server-sent events: each line as it is, numbered by where it ends in the log."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from orchestrator.bundle.wire import ALIVE_S, LOST, OVER
from orchestrator.store.going import is_going
from orchestrator.store.run_folder import EVENTS

LOOK_S = 0.25
BLOCK = 256 * 1024
STILL_HERE = ": still here\n\n"


async def log_lines(folder: Path, offset: int) -> AsyncIterator[str]:
    """Messages from a place in the log on, until the run has ended.

    Args:
        folder: the run's.
        offset: bytes of the log that the reader has.
    """
    last, alive = b"", time.monotonic()
    while True:
        lines = await run_in_threadpool(_lines, folder / EVENTS, offset)
        if lines:
            said = []
            for line in lines:
                offset += len(line)
                said.append(f"id: {offset}\ndata: {line.decode(errors='replace').rstrip()}\n\n")
            last, alive = lines[-1], time.monotonic()
            yield "".join(said)
            continue
        over = await run_in_threadpool(_how_over, folder, offset, last)
        if over:
            yield f"event: {over}\ndata: {{}}\n\n"
            return
        if time.monotonic() - alive > ALIVE_S:
            alive = time.monotonic()
            yield STILL_HERE
        await asyncio.sleep(LOOK_S)


def _how_over(folder: Path, offset: int, last: bytes) -> str:
    """`over` or `lost` where nothing more will come; empty where it may."""
    if is_going(folder):
        return ""
    if (folder / EVENTS).stat().st_size > offset and _lines(folder / EVENTS, offset):
        return ""  # its end came just now
    return OVER if _is_end(last or _last_line(folder / EVENTS)) else LOST


def _lines(path: Path, offset: int) -> list[bytes]:
    """Whole lines from a place on, as many as fit a block, at least one where one is whole."""
    with open(path, "rb") as file:
        file.seek(offset)
        data = file.read(BLOCK)
        while data and b"\n" not in data and (more := file.read(BLOCK)):
            data += more
    return data[: data.rfind(b"\n") + 1].splitlines(keepends=True)


def _last_line(path: Path) -> bytes:
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - BLOCK))
        lines = file.read().splitlines()
    return lines[-1] if lines else b""


def _is_end(line: bytes) -> bool:
    try:
        return bool(json.loads(line)["event"] == "run_finished")
    except (ValueError, KeyError, TypeError):
        return False
