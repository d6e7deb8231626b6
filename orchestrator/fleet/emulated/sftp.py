"""SFTP for an emulated board, confined to its home directory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import paramiko
from paramiko import SFTP_OK, SFTP_PERMISSION_DENIED, SFTPAttributes, SFTPServer

# The interface of paramiko's SFTP server: each method answers with a result or an SFTP status.
Answer = Any


class _Handle(paramiko.SFTPHandle):  # type: ignore[misc]
    def __init__(self, descriptor: int, flags: int) -> None:
        super().__init__(flags)
        self._descriptor = descriptor

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def read(self, offset: int, length: int) -> Answer:
        try:
            return os.pread(self._descriptor, length, offset)
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)

    def write(self, offset: int, data: bytes) -> Answer:
        view = memoryview(data)
        try:
            while view:
                count = os.pwrite(self._descriptor, view, offset)
                offset += count
                view = view[count:]
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)
        return SFTP_OK

    def stat(self) -> Answer:
        try:
            return SFTPAttributes.from_stat(os.fstat(self._descriptor))
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)

    def chattr(self, attr: Any) -> Answer:
        with contextlib.suppress(OSError):
            if attr.st_mode is not None:
                os.fchmod(self._descriptor, attr.st_mode & 0o777)
            return SFTP_OK
        return SFTP_PERMISSION_DENIED


class HomeSftp(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """Paths mean what they mean to a command: relative to the home, absolute ones inside it."""

    def __init__(self, server: Any, home: Path) -> None:
        super().__init__(server)
        self._home = home

    def _inside(self, path: str, follow: bool = True) -> Path:
        """The real path, or PermissionError when it leads out of the home."""
        whole = self._home / path
        real = whole.resolve() if follow else whole.parent.resolve() / whole.name
        if not real.is_relative_to(self._home):
            raise PermissionError(13, "outside of the home directory")
        return real

    def open(self, path: str, flags: int, attr: Any) -> Answer:
        try:
            real = self._inside(path)
            mode = 0o666 if attr.st_mode is None else attr.st_mode & 0o777
            descriptor = os.open(real, flags | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)
        return _Handle(descriptor, flags)

    def list_folder(self, path: str) -> Answer:
        try:
            return [
                SFTPAttributes.from_stat(entry.stat(follow_symlinks=False), entry.name)
                for entry in os.scandir(self._inside(path))
            ]
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)

    def stat(self, path: str) -> Answer:
        try:
            return SFTPAttributes.from_stat(self._inside(path).stat())
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)

    def lstat(self, path: str) -> Answer:
        try:
            return SFTPAttributes.from_stat(self._inside(path, follow=False).lstat())
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)

    def remove(self, path: str) -> Answer:
        return self._do(lambda: self._inside(path, follow=False).unlink())

    def rename(self, oldpath: str, newpath: str) -> Answer:
        def rename() -> None:
            new = self._inside(newpath, follow=False)
            if new.exists():
                raise FileExistsError(17, "exists")
            self._inside(oldpath, follow=False).rename(new)

        return self._do(rename)

    def posix_rename(self, oldpath: str, newpath: str) -> Answer:
        return self._do(
            lambda: self._inside(oldpath, follow=False).replace(self._inside(newpath, follow=False))
        )

    def mkdir(self, path: str, attr: Any) -> Answer:
        mode = 0o777 if attr.st_mode is None else attr.st_mode & 0o777
        return self._do(lambda: self._inside(path, follow=False).mkdir(mode))

    def rmdir(self, path: str) -> Answer:
        return self._do(lambda: self._inside(path, follow=False).rmdir())

    def chattr(self, path: str, attr: Any) -> Answer:
        def change() -> None:
            if attr.st_mode is not None:
                self._inside(path).chmod(attr.st_mode & 0o777)

        return self._do(change)

    def canonicalize(self, path: str) -> str:
        return str((self._home / path).resolve())

    def _do(self, action: Any) -> Answer:
        try:
            action()
        except OSError as error:
            return SFTPServer.convert_errno(error.errno)
        return SFTP_OK
