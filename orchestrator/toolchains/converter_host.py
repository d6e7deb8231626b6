"""Running a job of files where a vendor's toolkit is: on this computer, or over SSH.

The job's files are brought into a folder of its own, which is removed whatever happens; what
comes back are files and the end of the log. Nothing is installed there.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shlex
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from orchestrator.errors import ToolchainError, TransientError
from orchestrator.fleet.boards.deploying import remote_sha256
from orchestrator.fleet.transport.channel import Transport
from orchestrator.fleet.transport.commands import ITS_OWN_PYTHON, line_answer, line_of, said
from orchestrator.fleet.transport.deadline import Expired
from orchestrator.graphs.scratch import scratch
from orchestrator.toolchains.process import ToolRun, run_tool

LOG = "tool.log"
_JOB = "job.zip"
_LOG_TAIL = 65536
_CONNECT_S, _COMMAND_S, _TRANSFER_S = 20.0, 60.0, 900.0
_EXPIRED = 124  # what `timeout` of coreutils ends with


class Returned(Protocol):
    """What a job left."""

    @property
    def run(self) -> ToolRun:
        """How the command ended, and the end of what it said."""

    def read(self, name: str) -> bytes:
        """A file's bytes; empty when it is not there."""


class Host(Protocol):
    """A place where jobs run."""

    def working(
        self, files: Mapping[str, bytes], words: Sequence[str], deadline: float
    ) -> contextlib.AbstractContextManager[Returned]:
        """Bring files, run a command among them; what it left is read within the `with`.

        Args:
            words: the program and its arguments; relative paths are in the job's folder.
            deadline: seconds for the command.

        Raises:
            TransientError: the host does not answer, or the deadline passed.
            ToolchainError: the program is not there.
        """


class ThisComputer:
    """Jobs as subprocesses."""

    @contextlib.contextmanager
    def working(
        self, files: Mapping[str, bytes], words: Sequence[str], deadline: float
    ) -> Iterator[Returned]:
        """See `Host.working`."""
        with scratch() as folder:
            for name, data in files.items():
                (folder / name).write_bytes(data)
            clean = {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}
            yield _Here(
                folder, run_tool(words, folder=folder, deadline=deadline, environment=clean)
            )


class _Here:
    def __init__(self, folder: Path, run: ToolRun) -> None:
        self._folder, self.run = folder, run

    def read(self, name: str) -> bytes:
        path = self._folder / name
        return path.read_bytes() if path.is_file() else b""


class OverSsh:
    """Jobs on a converter host.

    Args:
        ssh: `host`, `port`, `user`, `key`, `host_key`, as a board's entry has them.
    """

    def __init__(self, ssh: Mapping[str, object]) -> None:
        self._ssh = dict(ssh)

    @contextlib.contextmanager
    def working(
        self, files: Mapping[str, bytes], words: Sequence[str], deadline: float
    ) -> Iterator[Returned]:
        """See `Host.working`."""
        from orchestrator.fleet.transport.ssh import SshTransport

        key, host_key, user = (self._ssh.get(name) for name in ("key", "host_key", "user"))
        name = f"converter host {self._ssh['host']}"
        transport = SshTransport(
            name,
            str(self._ssh["host"]),
            port=int(str(self._ssh.get("port") or 22)),
            user=None if user is None else str(user),
            key_file=None if key is None else str(key),
            host_key=None if host_key is None else str(host_key),
        )
        try:
            transport.connect(_CONNECT_S)
            yield from self._job(transport, name, files, words, deadline)
        finally:
            transport.close()

    def _job(
        self,
        transport: Transport,
        name: str,
        files: Mapping[str, bytes],
        words: Sequence[str],
        deadline: float,
    ) -> Iterator[Returned]:
        make = "umask 077; folder=$(mktemp -d) && " + line_of("folder", '"$folder"')
        created = transport.run(make, timeout_s=_COMMAND_S)
        folder = line_answer(created.stdout, "folder")
        if created.status != 0 or not folder.startswith("/"):
            raise TransientError(f"{name}: no temporary folder there: {said(created)}")
        try:
            packed = _packed(files)
            transport.put(packed, f"{folder}/{_JOB}", mode=0o600, timeout_s=_TRANSFER_S)
            yield _There(transport, name, folder, _ran(transport, name, folder, words, deadline))
        finally:
            with contextlib.suppress(TransientError):
                transport.run(f"rm -rf {shlex.quote(folder)}", timeout_s=_COMMAND_S)


def _packed(files: Mapping[str, bytes]) -> bytes:
    """One file of all: each transfer costs round trips."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


class _There:
    def __init__(self, transport: Transport, name: str, folder: str, run: ToolRun) -> None:
        self._transport, self._name, self._folder, self.run = transport, name, folder, run

    def read(self, name: str) -> bytes:
        path = f"{self._folder}/{name}"
        file = shlex.quote(path)
        ask = f"size=$(wc -c < {file}) && " + line_of("size", '"$size"')
        answer = self._transport.run(ask, timeout_s=_COMMAND_S)
        if answer.status != 0:
            return b""
        size = line_answer(answer.stdout, "size")
        if not (size.isascii() and size.isdigit() and len(size) < 16):
            raise TransientError(f"{self._name}: no size of {name}: {said(answer)}")
        expected = int(size)
        sha256 = remote_sha256(self._transport, path, timeout_s=_TRANSFER_S)
        channel = self._transport.open(f"exec cat {file}", timeout_s=_COMMAND_S)
        try:
            data = bytearray()
            while len(data) < expected and (part := channel.read(1 << 18)):
                data += part
        finally:
            channel.close()
        if len(data) < expected:
            raise TransientError(
                f"{self._name}: {name} arrived with {len(data)} of {expected} bytes"
            )
        # What stands behind its end is no part of it: a login shell may print there.
        content = bytes(data[:expected])
        if hashlib.sha256(content).hexdigest() != sha256:
            raise TransientError(f"{self._name}: {name} arrived damaged (its sha256 is another)")
        return content


def _ran(
    transport: Transport, name: str, folder: str, words: Sequence[str], deadline: float
) -> ToolRun:
    # `timeout` there, since a command outlives the connection that started it.
    command = shlex.join(words)
    unpack = f"{shlex.quote(words[0])} -m zipfile -e {_JOB} ."
    limited = f"timeout -k 5 {deadline:.0f} {command}"
    work = f"{ITS_OWN_PYTHON}; export PYTHONPATH= PYTHONNOUSERSITE=1; {unpack} && {limited}"
    shell = f"cd {shlex.quote(folder)} && {{ {work}; }} >{LOG} 2>&1"
    result = transport.run(f"{shell} </dev/null", timeout_s=deadline + _COMMAND_S)
    tail = transport.run(
        f"tail -c {_LOG_TAIL} {shlex.quote(folder)}/{LOG}", timeout_s=_COMMAND_S
    ).stdout.decode("utf-8", "replace")
    run = ToolRun(f"{command} (on {name})", result.status, tail)
    if result.status == _EXPIRED:
        raise Expired(
            f"{name}: {os.path.basename(words[0])} was still running after {deadline:g} s and was "
            f"stopped; its last lines:\n{run.last_words}",
            f"to repeat it by hand: {run.command}",
        )
    if result.status in (126, 127):
        raise ToolchainError(
            f"{name}: {words[0]} does not run there: {run.last_words}",
            "correct `python` of the toolchain in the inventory",
        )
    return run
