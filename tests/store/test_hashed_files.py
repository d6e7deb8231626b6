"""Files hashed once as long as they stay as they are."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from orchestrator.store import hashed_files
from orchestrator.store.hashed_files import HashedFiles


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Paths of the files that were read."""
    paths: list[Path] = []
    real = hashed_files.sha256_file

    def noted(path: Path) -> str:
        paths.append(path)
        return real(path)

    monkeypatch.setattr(hashed_files, "sha256_file", noted)
    return paths


def hashed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def file(folder: Path, data: bytes) -> Path:
    path = folder / "images.npy"
    path.write_bytes(data)
    return path


def test_an_unchanged_file_is_read_once(tmp_path: Path, read: list[Path]) -> None:
    path, files = file(tmp_path, b"images"), HashedFiles(young_s=-1)
    assert [files.sha256(path) for _ in range(3)] == [hashed(b"images")] * 3
    assert read == [path]


def test_other_bytes_of_the_same_length_are_seen(tmp_path: Path) -> None:
    path, files = file(tmp_path, b"images"), HashedFiles(young_s=-1)
    files.sha256(path)
    time.sleep(0.02)  # a tick of the file system's clock
    with open(path, "r+b") as opened:
        opened.write(b"other!")
    assert files.sha256(path) == hashed(b"other!")


def test_a_changed_file_with_its_old_modification_time_is_seen(tmp_path: Path) -> None:
    path, files = file(tmp_path, b"images"), HashedFiles(young_s=-1)
    files.sha256(path)
    before = os.stat(path)
    time.sleep(0.02)
    path.write_bytes(b"other!")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert files.sha256(path) == hashed(b"other!")


def test_a_file_put_in_its_place_is_seen(tmp_path: Path) -> None:
    path, files = file(tmp_path, b"images"), HashedFiles(young_s=-1)
    files.sha256(path)
    (tmp_path / "new").write_bytes(b"other!")
    os.replace(tmp_path / "new", path)
    assert files.sha256(path) == hashed(b"other!")


def test_a_young_file_is_read_each_time(tmp_path: Path, read: list[Path]) -> None:
    path, files = file(tmp_path, b"images"), HashedFiles(young_s=3600)
    files.sha256(path)
    files.sha256(path)
    assert len(read) == 2


def test_a_hash_is_kept_for_a_time_only(tmp_path: Path, read: list[Path]) -> None:
    path, files = file(tmp_path, b"images"), HashedFiles(young_s=-1, keep_s=0)
    files.sha256(path)
    files.sha256(path)
    assert len(read) == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, files = file(tmp_path, b"images"), HashedFiles(young_s=-1)
    real = hashed_files.sha256_file

    def changed_meanwhile(path: Path) -> str:
        value = real(path)
        time.sleep(0.02)
        path.write_bytes(b"other!")
        return value

    monkeypatch.setattr(hashed_files, "sha256_file", changed_meanwhile)
    files.sha256(path)
    monkeypatch.undo()
    assert files.sha256(path) == hashed(b"other!")


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    path, files = file(tmp_path, b"images"), HashedFiles(young_s=-1)
    files.sha256(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        files.sha256(path)
