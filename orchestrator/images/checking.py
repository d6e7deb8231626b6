"""Every file of a set is decoded once before anything starts; what was found is kept.

`Checker` decodes in threads and remembers by path, size, times and inode, so that a plan over
50,000 files that were checked before costs a look at each file's entry only.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.images.unreadable import Unreadable

FILE = "images.json"
"""Name of the cache in the state folder; it may be deleted at any time."""

_FRESH_S = 2.0  # a file changed so lately may change again within its time stamp's grain
_MOST = 500_000
_CHUNK = 64


@dataclass(frozen=True)
class Checked:
    """What a file turned out to be.

    Attributes:
        sha256: of its bytes (hex); empty where they could not be read.
        height, width: of the upright image, pixels.
        marks: what is to be said of it (`decoder.Mark`).
        error: why it is not taken; empty where it is.
    """

    sha256: str = ""
    height: int = 0
    width: int = 0
    marks: tuple[str, ...] = ()
    error: str = ""


class Checker:
    """Checks files, each once.

    Args:
        state: farm's state folder, where what was found is kept; None keeps it in memory.
        progress: called with how many files are decoded and how many are to be.

    Attributes:
        decoded: files that had to be decoded.
        memo: what was read of whole sets with this checker.
    """

    def __init__(
        self, state: Path | None = None, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self._progress = progress
        self.state = state
        self._file = None if state is None else state / FILE
        self._met: set[str] = set()
        self.memo: dict[Any, Any] = {}
        self.decoded = 0

    @cached_property
    def _decoder(self) -> dict[str, str]:
        # Late, as below: a plan of rendered faces decodes nothing.
        from orchestrator.images.decoder import decoder_identity

        return decoder_identity()

    @cached_property
    def _known(self) -> dict[str, tuple[list[int], Checked]]:
        return self._load()

    def check(self, paths: Sequence[Path]) -> list[Checked]:
        """What each file is, in order; kept on the disk when something was new."""
        found: dict[int, Checked] = {}
        ask: list[tuple[int, str]] = []
        here = os.getcwd()
        keys = [os.path.join(here, path) for path in paths]
        for place, key in enumerate(keys):
            known = self._known.get(key)
            if known is not None and known[0] == _stamp(key):
                found[place] = known[1]
            else:
                ask.append((place, key))
        if ask:
            chunks = [ask[at : at + _CHUNK] for at in range(0, len(ask), _CHUNK)]
            done = 0
            # Late: loading it takes longer than looking at files that are known.
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
                for chunk in pool.map(_check_chunk, chunks):
                    done += len(chunk)
                    if self._progress is not None:
                        self._progress(done, len(ask))
                    for place, key, stamp, checked in chunk:
                        found[place] = checked
                        if stamp is not None:
                            self._known[key] = (stamp, checked)
            self.decoded += len(ask)
        self._met.update(keys)
        if ask and self._file is not None:
            self._save()
        return [found[place] for place in range(len(paths))]

    def _load(self) -> dict[str, tuple[list[int], Checked]]:
        if self._file is None:
            return {}
        try:
            data = json.loads(self._file.read_text())
            if data["decoder"] != self._decoder:
                return {}
            return {key: _from_json(value) for key, value in data["files"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # a cache: what cannot be read is rebuilt

    def _save(self) -> None:
        assert self._file is not None
        records = self._known
        if len(records) > _MOST:
            records = {key: value for key, value in records.items() if key in self._met}
        data = {
            "decoder": self._decoder,
            "files": {key: _to_json(stamp, checked) for key, (stamp, checked) in records.items()},
        }
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self._file.parent, prefix=f".{FILE}.")
            with os.fdopen(handle, "w") as stream:
                json.dump(data, stream, separators=(",", ":"))
            os.replace(name, self._file)
        except OSError:
            return  # without it the next plan is slower, nothing else


def _check_chunk(
    chunk: Iterable[tuple[int, str]],
) -> list[tuple[int, str, list[int] | None, Checked]]:
    return [(place, key, *_check(key)) for place, key in chunk]


def _check(path: str) -> tuple[list[int] | None, Checked]:
    """(stamp to know it by again, or None where the answer may change; what it is)."""
    from orchestrator.images.decoder import decode

    before = _stamp(path)
    try:
        data = read(Path(path))
    except Unreadable as error:
        return None, Checked(error=str(error))
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        image = decode(data)
    except Unreadable as error:
        checked = Checked(sha256=sha256, error=str(error))
    else:
        height, width = image.pixels.shape[:2]
        checked = Checked(sha256, height, width, tuple(sorted(image.marks)))
    fresh = before is None or abs(time.time_ns() - before[2]) < _FRESH_S * 1e9
    return (None if fresh or before != _stamp(path) else before), checked


def read(path: Path) -> bytes:
    """A file's bytes.

    Raises:
        Unreadable: it cannot be read, or is far too large for an aligned face.
    """
    from orchestrator.images.decoder import MAX_BYTES

    try:
        if path.stat().st_size > MAX_BYTES:
            raise Unreadable(f"larger than {MAX_BYTES // 2**20} MiB; no aligned face")
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error


def _stamp(path: str) -> list[int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _to_json(stamp: list[int], checked: Checked) -> list[Any]:
    return [
        *stamp,
        checked.sha256,
        checked.height,
        checked.width,
        " ".join(checked.marks),
        checked.error,
    ]


def _from_json(value: list[Any]) -> tuple[list[int], Checked]:
    sha256, height, width, marks, error = value[4:]
    return value[:4], Checked(sha256, height, width, tuple(marks.split()), error)
