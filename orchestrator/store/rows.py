"""Rows of one `.npy` file, received in chunks, safe at every instant: features, images.

    <name>.npy      (rows, ...) little-endian C order, full size from the start; a failed row is 0
    journal.jsonl   one line a chunk that is on disk: crc32 of the line, then JSON; first the header
    <name>.json     written when complete: header, failed rows, sha256 of the .npy file

A chunk is written and synced, only then journalled and synced. So whatever instant a crash hits, a
journalled chunk is whole; that is checked again when the folder is opened, and what does not check
is asked for again. `journal.jsonl` says in which order chunks came and is no part of the content.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import TransientError, UserError
from orchestrator.hashing import sha256_file

JOURNAL = "journal.jsonl"
VERSION = 1
DTYPES = ("float32", "float16", "uint8", "int8")


def summary_of(name: str) -> str:
    """The file that says that `name` is complete: `features.json` for `features.npy`."""
    return f"{name.removesuffix('.npy')}.json"


@dataclass(frozen=True)
class _Chunk:
    """A run of rows that the journal calls written."""

    start: int
    n: int
    crc: int
    failed: tuple[int, ...]

    @property
    def stop(self) -> int:
        return self.start + self.n


class RowWriter:
    """Receives the rows of one file, in any order, any number of times.

    One writer at a time a folder: the caller holds the store's lock for the key.

    Attributes:
        replaced: chunks that came again with other content and took the earlier one's place; above
            0 means that what makes them is not deterministic.
    """

    def __init__(self, path: Path, head: dict[str, Any], chunks: list[_Chunk]) -> None:
        self._path, self._folder = path, path.parent
        self._head = head
        self._dtype = np.dtype(head["dtype"]).newbyteorder("<")
        self._offset, self._row_bytes = _layout(head)
        self._chunks = {chunk.start: chunk for chunk in chunks}
        self.replaced = 0
        with _disk(self._folder):
            self._data = os.open(path, os.O_RDWR)
            self._journal = os.open(self._folder / JOURNAL, os.O_WRONLY | os.O_APPEND)

    @classmethod
    def open_rows(
        cls,
        path: Path,
        rows: int,
        shape: tuple[int, ...],
        dtype: str,
        header: Mapping[str, Any],
    ) -> Self:
        """Begin a file, or go on with one that was begun.

        Every journalled chunk is checked against its checksum; damaged ones are forgotten and turn
        up in ``missing``.

        Args:
            path: the ``.npy`` file; its folder exists and holds no other row file.
            rows: how many there will be.
            shape: of one row.
            dtype: ``float32``, ``float16``, ``uint8`` or ``int8``.
            header: what the rows are made from (plain JSON); must be the same when going on.

        Raises:
            UserError: a size or dtype that cannot be, or the folder holds other rows.
            TransientError: the disk is full or cannot be written.
        """
        folder = path.parent
        if min(rows, *shape) < 1 or dtype not in DTYPES:
            size = " x ".join(map(str, shape))
            raise UserError(
                f"{path}: {rows} rows x {size} values of {dtype}",
                f"at least 1 x 1 of {', '.join(DTYPES)} is expected",
            )
        dim = shape[0] if len(shape) == 1 else list(shape)
        head = {"v": VERSION, "rows": rows, "dim": dim, "dtype": dtype, "header": dict(header)}
        head = json.loads(json.dumps(head, sort_keys=True, allow_nan=False))
        with _disk(folder):
            # A crash between writing and renaming leaves these.
            for name in (JOURNAL, summary_of(path.name)):
                _partial(folder / name).unlink(missing_ok=True)
        found = _read_journal(folder / JOURNAL)
        if found is None:
            _begin(path, head)
            return cls(path, head, [])
        other, chunks, whole = found
        if other != head:
            differing = sorted(name for name in head if other.get(name) != head[name])
            raise UserError(
                f"{folder}: holds rows of another kind ({', '.join(differing)} differ)",
                f"remove {folder} to rebuild them",
            )
        good = _good_chunks(path, head, chunks)
        if len(good) != len(chunks) or not whole:
            _rewrite_journal(folder, head, good)
        return cls(path, head, good)

    def missing(self) -> list[tuple[int, int]]:
        """Rows not yet there, as ``(start, stop)`` in ascending order."""
        gaps = []
        at = 0
        for chunk in sorted(self._chunks.values(), key=lambda chunk: chunk.start):
            if chunk.start > at:
                gaps.append((at, chunk.start))
            at = chunk.stop
        if at < self._head["rows"]:
            gaps.append((at, self._head["rows"]))
        return gaps

    def failed(self) -> list[int]:
        """Rows that are there as failed, in ascending order."""
        return sorted(row for chunk in self._chunks.values() for row in chunk.failed)

    def write(
        self, start: int, block: NDArray[Any], failed: NDArray[np.bool_] | None = None
    ) -> None:
        """Put rows on the disk; when this returns they survive a crash.

        The same chunk again changes nothing; the same rows with other content replace it.

        Args:
            start: first row.
            block: ``(n, *shape)`` of the file's dtype.
            failed: which rows could not be made, bool ``(n,)``; they are stored as zeros.

        Raises:
            UserError: wrong shape or dtype, rows beyond the end, or rows that overlap another
                chunk without being the same ones.
            TransientError: the disk is full or cannot be written.
        """
        chunk, data = self._checked(start, block, failed)
        before = self._chunks.get(start)
        if before == chunk:
            return
        if before is not None:
            self.replaced += 1
        with _disk(self._folder):
            _write_all(self._data, data, self._offset + start * self._row_bytes)
            os.fdatasync(self._data)
            end = os.fstat(self._journal).st_size
            try:
                _write_all(self._journal, _line(vars(chunk)), None)
                os.fsync(self._journal)
            except OSError:
                os.ftruncate(self._journal, end)  # half a line would spoil the next one
                raise
        self._chunks[start] = chunk

    def finish(self) -> dict[str, Any]:
        """Check the whole file, write the summary beside it and return what it says.

        Returns:
            ``v, rows, dim, dtype, header, failed`` (row numbers) and ``sha256`` of the file.

        Raises:
            TransientError: rows are missing, or a chunk is no longer what was written.
        """
        gaps = self.missing()
        if gaps:
            count = sum(stop - start for start, stop in gaps)
            raise TransientError(
                f"{self._folder}: {count} of {self._head['rows']} rows of "
                f"{self._path.name} are missing, first {gaps[0][0]}",
                "`farm resume` makes them",
            )
        good = _good_chunks(self._path, self._head, list(self._chunks.values()))
        if len(good) != len(self._chunks):
            self._chunks = {chunk.start: chunk for chunk in good}
            _rewrite_journal(self._folder, self._head, good)
            self._reopen_journal()
            raise TransientError(
                f"{self._folder}: rows {self.missing()[0]} changed on the disk after they were "
                "written",
                "`farm resume` makes them again; look at the disk's health",
            )
        failed = sorted(row for chunk in good for row in chunk.failed)
        with _disk(self._folder):
            os.fsync(self._data)
            digest = sha256_file(self._path)
            summary = {**self._head, "failed": failed, "sha256": digest}
            text = json.dumps(summary, sort_keys=True) + "\n"
            _replace(self._folder / summary_of(self._path.name), text.encode())
        return summary

    def close(self) -> None:
        """Give back the file handles; safe to call twice."""
        for handle in (self._data, self._journal):
            if handle >= 0:
                os.close(handle)
        self._data = self._journal = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _reopen_journal(self) -> None:
        os.close(self._journal)
        self._journal = os.open(self._folder / JOURNAL, os.O_WRONLY | os.O_APPEND)

    def _checked(
        self, start: int, block: NDArray[Any], failed: NDArray[np.bool_] | None
    ) -> tuple[_Chunk, bytes]:
        rows, shape = self._head["rows"], _row_shape(self._head)
        n = len(block)
        if block.shape != (n, *shape) or block.dtype.newbyteorder("<") != self._dtype or n == 0:
            raise UserError(
                f"{self._folder}: a chunk of shape {block.shape} and {block.dtype} came, "
                f"{('n', *shape)} of {self._head['dtype']} was expected"
            )
        if start < 0 or start + n > rows:
            raise UserError(
                f"{self._folder}: rows {start} to {start + n} came for a file of {rows}"
            )
        for other in self._chunks.values():
            same = other.start == start and other.n == n
            if not same and start < other.stop and other.start < start + n:
                raise UserError(
                    f"{self._folder}: rows {start} to {start + n} overlap the chunk "
                    f"{other.start} to {other.stop} that is already there",
                    "ask only for missing() rows",
                )
        block = np.ascontiguousarray(block, self._dtype)
        out: tuple[int, ...] = ()
        if failed is not None and np.any(failed):
            if np.shape(failed) != (n,):
                raise UserError(f"{self._folder}: {np.shape(failed)} failure marks for {n} rows")
            block = block.copy()
            block[np.asarray(failed, bool)] = 0
            out = tuple(int(start + index) for index in np.flatnonzero(failed))
        data = block.astype(self._dtype, copy=False).tobytes()
        return _Chunk(start, n, zlib.crc32(data), out), data


def _npy_header(head: Mapping[str, Any]) -> bytes:
    text = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(head["dtype"]).newbyteorder("<"))
    np.lib.format.write_array_header_1_0(
        text, {"descr": descr, "fortran_order": False, "shape": (head["rows"], *_row_shape(head))}
    )
    return text.getvalue()


def _layout(head: Mapping[str, Any]) -> tuple[int, int]:
    """Where the data begin, and bytes a row."""
    return len(_npy_header(head)), math.prod(_row_shape(head)) * np.dtype(head["dtype"]).itemsize


def _row_shape(head: Mapping[str, Any]) -> tuple[int, ...]:
    dim = head["dim"]
    return tuple(dim) if isinstance(dim, list) else (dim,)


def _begin(path: Path, head: Mapping[str, Any]) -> None:
    folder = path.parent
    offset, row_bytes = _layout(head)
    with _disk(folder):
        (folder / summary_of(path.name)).unlink(missing_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _write_all(handle, _npy_header(head), 0)
            # All space is taken now: a full disk shows here, not after an hour of extraction.
            os.posix_fallocate(handle, 0, offset + head["rows"] * row_bytes)
            os.fsync(handle)
        finally:
            os.close(handle)
        _replace(folder / JOURNAL, _line(head))


def _line(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _parse(line: bytes) -> dict[str, Any] | None:
    """A journal line's value, or None when it is torn or damaged."""
    mark, _, text = line[:-1].partition(b" ")
    if not line.endswith(b"\n") or len(mark) != 8 or mark != b"%08x" % zlib.crc32(text):
        return None
    value: dict[str, Any] = json.loads(text)
    return value


def _read_journal(path: Path) -> tuple[dict[str, Any], list[_Chunk], bool] | None:
    """``(head, chunks, whether every line is good)``; None when there is no usable head.

    Lines after a bad one are used all the same: each has its own checksum, and so has each chunk.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TransientError(f"{path}: cannot be read: {error}") from error
    parsed = [_parse(line) for line in lines]
    if not parsed or parsed[0] is None or "rows" not in parsed[0]:
        return None
    chunks: dict[int, _Chunk] = {}
    for value in parsed[1:]:
        if value is not None:
            chunk = _Chunk(value["start"], value["n"], value["crc"], tuple(value["failed"]))
            chunks[chunk.start] = chunk
    return parsed[0], list(chunks.values()), None not in parsed


def _good_chunks(path: Path, head: Mapping[str, Any], chunks: list[_Chunk]) -> list[_Chunk]:
    """The chunks whose rows on disk still have their checksum; a damaged file head is repaired."""
    offset, row_bytes = _layout(head)
    good = []
    with _disk(path.parent):
        try:
            handle = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            _begin(path, head)
            return []
        try:
            if os.pread(handle, offset, 0) != _npy_header(head):
                _write_all(handle, _npy_header(head), 0)
            if os.fstat(handle).st_size != offset + head["rows"] * row_bytes:
                os.ftruncate(handle, offset + head["rows"] * row_bytes)
            os.posix_fallocate(handle, 0, offset + head["rows"] * row_bytes)
            for chunk in sorted(chunks, key=lambda chunk: chunk.start):
                data = os.pread(handle, chunk.n * row_bytes, offset + chunk.start * row_bytes)
                if len(data) == chunk.n * row_bytes and zlib.crc32(data) == chunk.crc:
                    good.append(chunk)
        finally:
            os.close(handle)
    return good


def _rewrite_journal(folder: Path, head: Mapping[str, Any], chunks: list[_Chunk]) -> None:
    with _disk(folder):
        _replace(folder / JOURNAL, b"".join([_line(head), *(_line(vars(c)) for c in chunks)]))


def _write_all(handle: int, data: bytes, offset: int | None) -> None:
    view = memoryview(data)
    while view:
        done = os.write(handle, view) if offset is None else os.pwrite(handle, view, offset)
        view = view[done:]
        if offset is not None:
            offset += done


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".tmp")


def _replace(path: Path, data: bytes) -> None:
    """Put a whole file in place at once: temporary, sync, rename, sync of the folder."""
    partial = _partial(path)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        _write_all(handle, data, 0)
        os.fsync(handle)
    finally:
        os.close(handle)
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _disk(folder: Path) -> Iterator[None]:
    """Name folder and free space when the disk refuses."""
    try:
        yield
    except OSError as error:
        try:
            free = f"{shutil.disk_usage(folder).free:,} bytes free"
        except OSError:
            free = "free space unknown"
        raise TransientError(
            f"{folder}: cannot write: {error.strerror or error} ({free})",
            "free some space, then `farm resume`: the rows already there are kept",
        ) from error
