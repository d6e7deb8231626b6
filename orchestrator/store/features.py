"""Features of one encoder over one list of images: received in chunks, safe at every instant.

    features.npy    (rows, dim) little-endian C order, full size from the start; a failed row is 0
    journal.jsonl   one line a chunk that is on disk: crc32 of the line, then JSON; first the header
    features.json   written when complete: header, failed rows, sha256 of features.npy

A chunk is written and synced, only then journalled and synced. So whatever instant a crash hits, a
journalled chunk is whole; that is checked again when the folder is opened, and what does not check
is asked for again. `journal.jsonl` says in which order chunks came and is no part of the content.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import TransientError, UserError
from orchestrator.hashing import sha256_file

DATA = "features.npy"
JOURNAL = "journal.jsonl"
SUMMARY = "features.json"
VERSION = 1
CHUNK_ROWS = 1024
DTYPES = ("float32", "float16", "uint8", "int8")


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


class FeatureWriter:
    """Receives the rows of one feature file, in any order, any number of times.

    One writer at a time a folder: the caller holds the store's lock for the key.

    Attributes:
        replaced: chunks that came again with other content and took the earlier one's place; above
            0 means that the encoder is not deterministic.
    """

    def __init__(self, folder: Path, head: dict[str, Any], chunks: list[_Chunk]) -> None:
        self._folder = folder
        self._head = head
        self._dtype = np.dtype(head["dtype"]).newbyteorder("<")
        self._offset, self._row_bytes = _layout(head)
        self._chunks = {chunk.start: chunk for chunk in chunks}
        self.replaced = 0
        with _disk(folder):
            self._data = os.open(folder / DATA, os.O_RDWR)
            self._journal = os.open(folder / JOURNAL, os.O_WRONLY | os.O_APPEND)

    @classmethod
    def open(
        cls, folder: Path, rows: int, dim: int, dtype: str, header: Mapping[str, Any]
    ) -> FeatureWriter:
        """Begin a feature file, or go on with one that was begun.

        Every journalled chunk is checked against its checksum; damaged ones are forgotten and turn
        up in ``missing``.

        Args:
            folder: exists; holds nothing else of these names.
            rows: images in the list.
            dim: values a feature.
            dtype: ``float32``, ``float16``, ``uint8`` or ``int8``: as the board gives them.
            header: what the rows are made from (plain JSON), with ``scale`` and ``zero_point`` for
                integer features; must be the same when going on.

        Raises:
            UserError: a size or dtype that cannot be, or the folder holds other features.
            TransientError: the disk is full or cannot be written.
        """
        if rows < 1 or dim < 1 or dtype not in DTYPES:
            raise UserError(
                f"{folder}: features of {rows} rows x {dim} values of {dtype}",
                f"at least 1 x 1 of {', '.join(DTYPES)} is expected",
            )
        head = {"v": VERSION, "rows": rows, "dim": dim, "dtype": dtype, "header": dict(header)}
        head = json.loads(json.dumps(head, sort_keys=True, allow_nan=False))
        with _disk(folder):
            for name in (JOURNAL, SUMMARY):  # a crash between writing and renaming leaves these
                _partial(folder / name).unlink(missing_ok=True)
        found = _read_journal(folder / JOURNAL)
        if found is None:
            _begin(folder, head)
            return cls(folder, head, [])
        other, chunks, whole = found
        if other != head:
            differing = sorted(name for name in head if other.get(name) != head[name])
            raise UserError(
                f"{folder}: holds features of another kind ({', '.join(differing)} differ)",
                f"remove {folder} to extract them anew",
            )
        good = _good_chunks(folder, head, chunks)
        if len(good) != len(chunks) or not whole:
            _rewrite_journal(folder, head, good)
        return cls(folder, head, good)

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

    def write(
        self, start: int, block: NDArray[Any], failed: NDArray[np.bool_] | None = None
    ) -> None:
        """Put rows on the disk; when this returns they survive a crash.

        The same chunk again changes nothing; the same rows with other content replace it.

        Args:
            start: first row.
            block: ``(n, dim)`` of the file's dtype.
            failed: which rows have no feature, bool ``(n,)``; they are stored as zeros.

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
        """Check the whole file, write ``features.json`` and return what it says.

        Returns:
            ``v, rows, dim, dtype, header, failed`` (row numbers) and ``sha256`` of features.npy.

        Raises:
            TransientError: rows are missing, or a chunk is no longer what was written.
        """
        gaps = self.missing()
        if gaps:
            count = sum(stop - start for start, stop in gaps)
            raise TransientError(
                f"{self._folder}: {count} of {self._head['rows']} feature rows are missing, "
                f"first {gaps[0][0]}",
                "`farm resume` asks the board for them",
            )
        good = _good_chunks(self._folder, self._head, list(self._chunks.values()))
        if len(good) != len(self._chunks):
            self._chunks = {chunk.start: chunk for chunk in good}
            _rewrite_journal(self._folder, self._head, good)
            self._reopen_journal()
            raise TransientError(
                f"{self._folder}: rows {self.missing()[0]} changed on the disk after they were "
                "written",
                "`farm resume` asks the board for them; look at the disk's health",
            )
        failed = sorted(row for chunk in good for row in chunk.failed)
        with _disk(self._folder):
            os.fsync(self._data)
            digest = sha256_file(self._folder / DATA)
            summary = {**self._head, "failed": failed, "sha256": digest}
            text = json.dumps(summary, sort_keys=True) + "\n"
            _replace(self._folder / SUMMARY, text.encode())
        return summary

    def close(self) -> None:
        """Give back the file handles; safe to call twice."""
        for handle in (self._data, self._journal):
            if handle >= 0:
                os.close(handle)
        self._data = self._journal = -1

    def __enter__(self) -> FeatureWriter:
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
        rows, dim = self._head["rows"], self._head["dim"]
        n = len(block)
        if block.shape != (n, dim) or block.dtype.newbyteorder("<") != self._dtype or n == 0:
            raise UserError(
                f"{self._folder}: a chunk of shape {block.shape} and {block.dtype} came, "
                f"(n, {dim}) of {self._head['dtype']} was expected"
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
            block = np.where(np.asarray(failed, bool)[:, None], self._dtype.type(0), block)
            out = tuple(int(start + index) for index in np.flatnonzero(failed))
        data = block.astype(self._dtype, copy=False).tobytes()
        return _Chunk(start, n, zlib.crc32(data), out), data


def read_features(
    folder: Path, *, verify: bool = True
) -> tuple[NDArray[Any], NDArray[np.bool_], dict[str, Any]]:
    """A complete feature file.

    Args:
        folder: where ``FeatureWriter`` finished one.
        verify: check its sha256 (0.1 s for 50,000 x 512); False when the caller has done so.

    Returns:
        The memory-mapped rows ``(rows, dim)`` in their native dtype, the mask of failed rows
        ``(rows,)`` and the header given to ``FeatureWriter.open``.

    Raises:
        TransientError: not complete, or damaged since.
    """
    try:
        summary = json.loads((folder / SUMMARY).read_bytes())
        if verify and sha256_file(folder / DATA) != summary["sha256"]:
            raise ValueError("its sha256 is not the one written when it was complete")
        array = np.load(folder / DATA, mmap_mode="r", allow_pickle=False)
        if array.shape != (summary["rows"], summary["dim"]) or array.dtype != summary["dtype"]:
            raise ValueError(f"{array.dtype} of shape {array.shape} is not what {SUMMARY} says")
        failed = np.zeros(summary["rows"], bool)
        failed[summary["failed"]] = True
    except FileNotFoundError as error:
        raise TransientError(
            f"{folder}: not a complete feature file ({error})", "`farm resume` completes it"
        ) from error
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise TransientError(
            f"{folder / DATA}: damaged: {error}", f"remove {folder} and run again"
        ) from error
    return array, failed, summary["header"]


def _npy_header(head: Mapping[str, Any]) -> bytes:
    text = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(head["dtype"]).newbyteorder("<"))
    np.lib.format.write_array_header_1_0(
        text, {"descr": descr, "fortran_order": False, "shape": (head["rows"], head["dim"])}
    )
    return text.getvalue()


def _layout(head: Mapping[str, Any]) -> tuple[int, int]:
    """Where the data begin, and bytes a row."""
    return len(_npy_header(head)), head["dim"] * np.dtype(head["dtype"]).itemsize


def _begin(folder: Path, head: Mapping[str, Any]) -> None:
    offset, row_bytes = _layout(head)
    with _disk(folder):
        (folder / SUMMARY).unlink(missing_ok=True)
        handle = os.open(folder / DATA, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
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


def _good_chunks(folder: Path, head: Mapping[str, Any], chunks: list[_Chunk]) -> list[_Chunk]:
    """The chunks whose rows on disk still have their checksum; a damaged file head is mended."""
    offset, row_bytes = _layout(head)
    good = []
    with _disk(folder):
        try:
            handle = os.open(folder / DATA, os.O_RDWR)
        except FileNotFoundError:
            _begin(folder, head)
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
            f"{folder}: cannot write features: {error.strerror or error} ({free})",
            "free some space, then `farm resume`: the rows already there are kept",
        ) from error
