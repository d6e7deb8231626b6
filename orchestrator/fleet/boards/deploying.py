"""Files brought to a board: checked for room, verified there, and in place only when right."""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import re
import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import BoardError, FarmError, TransientError, UserError
from orchestrator.fleet.transport.channel import CommandResult, Transport
from orchestrator.fleet.transport.commands import ITS_OWN_PYTHON, python_command, said
from orchestrator.fleet.transport.deadline import Deadline
from orchestrator.fleet.transport.untrusted import one_line

OLDEST_PYTHON = (3, 6)
# Room beyond the file itself, for the directory and what else the board writes meanwhile.
SPARE_BYTES = 1 << 20
# A leftover of a broken upload is removed by a later one once it is this old.
STALE_MINUTES = 120
_SHA256 = re.compile(rb"\b[0-9a-f]{64}\b")
_HASH_MARK = "farm-sha256:"
_DF_MARK = "farm-room:"
_NO_FOLDER = 95
_NO_TOOL = 96
_DF = re.compile(r"^.*?\s(\d+)\s+(-?\d+)\s+(-?\d+)\s+(?:\d+%|-)\s", re.DOTALL)
_PYTHON_MARK = re.compile(rb"farm-python (\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Deployed:
    """A verified file on a board.

    Attributes:
        path: where it lies; relative paths are below the login directory.
        skipped: it was there already, and right.
        bytes: its size.
    """

    path: str
    skipped: bool
    bytes: int


def deploy(
    transport: Transport,
    data: bytes | Path,
    *,
    remote_dir: str,
    name: str,
    sha256: str,
    timeout_s: float,
    mode: int = 0o600,
    progress: Callable[[int], None] | None = None,
) -> Deployed:
    """Bring a file to `remote_dir`/`name`, unless that very file is there already.

    It travels to a name of its own, is hashed by the board, and only then renamed into place: what
    stands at the final name was verified. A directory that is missing is made for the user only.

    Args:
        transport: a connected board.
        data: the content, or the local file that holds it.
        remote_dir: a folder on the board; `~/` and relative paths are below the login directory.
        name: a plain file name.
        sha256: the content's hash, 64 hexadecimal digits.
        timeout_s: for everything together.
        mode: permission bits.
        progress: told the number of bytes sent so far.

    Raises:
        UserError: a path or name that leads elsewhere, or content that is not what `sha256` says.
        BoardError: no room, no way to write or to hash there, or it stored something else.
        TransientError: the link failed or time ran out.
    """
    deadline = Deadline(timeout_s)
    folder = remote_folder(remote_dir)
    _check_name(name)
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise UserError(f"not a sha256: {sha256[:80]!r}")
    path = posixpath.join(folder, name)
    size = data.stat().st_size if isinstance(data, Path) else len(data)

    found, free = _prepare(transport, folder, path, deadline)
    if found == sha256:
        return Deployed(path, True, size)
    content = data.read_bytes() if isinstance(data, Path) else data
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UserError(
            f"{data if isinstance(data, Path) else name} is not the content that was announced "
            f"(sha256 {sha256[:12]}…): it changed on this machine"
        )
    if free is not None and free < size + SPARE_BYTES:
        raise _no_room(transport, folder, size, free)
    part = posixpath.join(folder, f"{name}.{secrets.token_hex(4)}.part")
    try:
        try:
            # The board hashes and renames after this: leave it some of the time.
            upload_s = deadline.remaining() * 0.8
            transport.put(content, part, mode=mode, timeout_s=upload_s, progress=progress)
        except BoardError as error:
            left = _free_of(transport.run(_df_command(folder), timeout_s=deadline.remaining()))
            if left is not None and left < SPARE_BYTES:
                raise _no_room(transport, folder, size, left) from error
            raise
        settled = _settle_command(part, path, sha256, mode)
        result = transport.run(settled, timeout_s=deadline.remaining())
        stored = _hash_of(transport, part, result)
        if stored != sha256:
            raise BoardError(
                f"{_board(transport)}: stored {path} wrongly: sha256 {str(stored)[:12]}… instead "
                f"of {sha256[:12]}…; it was removed",
                "its storage or memory damages data: check the board's flash (dmesg)",
            )
        if result.status != 0:
            raise _cannot(transport, f"put {path} in place", result)
    except BaseException:
        with contextlib.suppress(FarmError):
            transport.run(f"rm -f {quoted(part)}", timeout_s=min(10.0, max(2.0, timeout_s)))
        raise
    return Deployed(path, False, size)


def remote_sha256(transport: Transport, path: str, *, timeout_s: float) -> str | None:
    """The sha256 of a file, computed by the board; None when there is no such file.

    Raises:
        BoardError: the board has nothing to compute it with.
        TransientError: the link failed or time ran out.
    """
    result = transport.run(_hash_command(path), timeout_s=timeout_s)
    return _hash_of(transport, path, result)


def check_python(transport: Transport, python: str, timeout_s: float) -> str:
    """The version of the board's Python, such as `3.8.10`.

    Raises:
        BoardError: there is none, or it is older than 3.6.
        TransientError: the link failed or time ran out.
    """
    code = "import sys; print('farm-python %d.%d.%d' % tuple(sys.version_info[:3]))"
    result = transport.run(python_command(python, "-c", code), timeout_s=timeout_s)
    found = _PYTHON_MARK.search(result.stdout)
    board = _board(transport)
    if found is None:
        raise BoardError(
            f"{board}: no Python at `{python}`: {said(result)}",
            "install Python 3.6 or later on the board (`apt-get install python3-minimal`, `opkg "
            "install python3-light`), or unpack a portable build there; then name its path as "
            "`python` of the board's entry, or with `--python`",
        )
    version = ".".join(part.decode() for part in found.groups())
    if tuple(int(part) for part in found.groups())[:2] < OLDEST_PYTHON:
        raise BoardError(
            f"{board}: Python {version} at `{python}` is too old: farm's agent needs 3.6 or later",
            "often a newer one is there too: try `python3` as `python` of the board's entry, or "
            "unpack a portable build on the board and name its path",
        )
    return version


def remote_folder(text: str) -> str:
    """A folder on the board as a path for commands and SFTP alike.

    Raises:
        UserError: it is empty, climbs with `..`, or holds control characters.
    """
    if not text or not text.isprintable():
        raise UserError(f"not a folder on the board: {text[:80]!r}", "check `workdir`")
    if text == "~" or text.startswith("~/"):
        text = "." + text[1:]
    if text.startswith("~"):
        raise UserError(f"another user's home as a folder on the board: {text!r}")
    if ".." in text.split("/"):
        raise UserError(f"a folder on the board must not climb: {text!r}", "leave out `..`")
    return posixpath.normpath(text)


def quoted(path: str) -> str:
    """A path for a shell, which is never taken for an option."""
    return shlex.quote(path if path.startswith("/") else f"./{path}")


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name or not name.isprintable() or len(name) > 200:
        raise UserError(f"not a plain file name: {name[:80]!r}")


def _board(transport: Transport) -> str:
    return str(getattr(transport, "board", "board"))


def _hash_command(path: str) -> str:
    file = quoted(path)
    hashed = f"echo {_HASH_MARK}; {{ {_tries(file)}; }} || exit {_NO_TOOL}"
    return f"{ITS_OWN_PYTHON}; if [ -f {file} ]; then {hashed}; fi"


def _settle_command(part: str, path: str, sha256: str, mode: int) -> str:
    """Hash a file that was brought and, if it is right, put it in place: in one command."""
    file = quoted(part)
    hashed = f'h=$({_tries(file)}) || exit {_NO_TOOL}; echo {_HASH_MARK}; echo "$h"'
    place = f"chmod {mode:o} {file} && mv -f {file} {quoted(path)}"
    right = f'case "$h" in *{sha256}*) {place};; esac'
    return f"{ITS_OWN_PYTHON}; if [ -f {file} ]; then {hashed}; {right}; fi"


def _tries(file: str) -> str:
    """Prints the sha256 of a quoted file."""
    python = "import hashlib,sys;print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    tools = (
        "sha256sum",
        "busybox sha256sum",
        "openssl dgst -sha256",
        f"python3 -c {shlex.quote(python)}",
    )
    # A missing tool and a broken one look alike: the next is tried either way.
    return " || ".join(f"{tool} < {file} 2>/dev/null" for tool in tools)


def _hash_of(transport: Transport, path: str, result: CommandResult) -> str | None:
    if result.status == _NO_TOOL:
        raise BoardError(
            f"{_board(transport)}: cannot compute the sha256 of {path}",
            "the board needs one of sha256sum, busybox, openssl or python3, and the file must be "
            "readable: nothing is run there unverified",
        )
    _, mark, answer = result.stdout.partition(_HASH_MARK.encode())
    answer = answer.partition(_DF_MARK.encode())[0]
    if result.status == 0 and not mark:
        return None
    found = _SHA256.search(answer)
    if found is None:
        raise TransientError(
            f"{_board(transport)}: no sha256 of {path}: "
            + (one_line(result.stderr) or f"status {result.status}")
        )
    return found.group().decode()


def _prepare(
    transport: Transport, folder: str, path: str, deadline: Deadline
) -> tuple[str | None, int | None]:
    """Make the folder; return the sha256 of what stands at `path`, and the free bytes there."""
    place = quoted(folder)
    # One command: starting one takes longer than most of this does.
    result = transport.run(
        f"umask 077; [ -d {place} ] || mkdir -p {place} || exit {_NO_FOLDER}; "
        f"find {place} -name '*.part' -mmin +{STALE_MINUTES} -exec rm -f {{}} \\; 2>/dev/null; "
        f"{_hash_command(path)}; {_df_command(folder)}; exit 0",
        timeout_s=deadline.remaining(),
    )
    if result.status == _NO_FOLDER:
        raise _cannot(transport, f"make the folder {folder}", result)
    return _hash_of(transport, path, result), _free_of(result)


def _df_command(folder: str) -> str:
    return f"echo {_DF_MARK}; df -Pk {quoted(folder)} 2>/dev/null"


def _free_of(result: CommandResult) -> int | None:
    """Free bytes as a board's `df` says them; None when it does not."""
    answer = result.stdout.decode("utf-8", "replace").rpartition(_DF_MARK)[2]
    for line in reversed(answer.strip().splitlines()[1:]):
        if found := _DF.match(line + " "):
            return max(0, int(found.group(3))) * 1024
    return None


def _cannot(transport: Transport, purpose: str, result: CommandResult) -> BoardError:
    words = one_line(result.stderr) or f"status {result.status}"
    return BoardError(
        f"{_board(transport)}: cannot {purpose}: {words}",
        "is its file system full or read-only? `workdir` of the board's entry, or "
        "`--workdir`, may name another folder",
    )


def _no_room(transport: Transport, folder: str, size: int, free: int) -> BoardError:
    return BoardError(
        f"{_board(transport)}: no room in {folder}: {_mib(size + SPARE_BYTES)} needed, "
        f"{_mib(free)} free",
        "remove what is no longer needed there, or let `workdir` of the board's entry, or "
        "`--workdir`, name a folder with room",
    )


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"
