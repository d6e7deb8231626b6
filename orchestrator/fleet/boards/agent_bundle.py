"""The board agent as one file, the same bytes from the same sources."""

from __future__ import annotations

import functools
import hashlib
import io
import threading
import tokenize
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from orchestrator.fleet.transport.commands import python_command

LIMIT = 100_000  # bytes; boards are small, and so are the links to some
_PACKAGE = "farm_agent"
_ENTRY = f"import sys\nfrom {_PACKAGE}.__main__ import main\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class AgentBundle:
    """The agent's zipapp and the sha256 of it."""

    data: bytes
    sha256: str


def agent_bundle() -> AgentBundle:
    """The zipapp, built once a process.

    Raises:
        AssertionError: it has outgrown its limit, which is a bug.
    """
    with _building:
        return _bundle()


_building = threading.Lock()


@functools.cache
def _bundle() -> AgentBundle:
    """Build the zipapp from the installed agent's sources, in memory."""
    entries = {"__main__.py": _ENTRY.encode()}
    for name, source in _sources(files("orchestrator.agents"), _PACKAGE):
        entries[name] = source
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, entries[name], compresslevel=9)
    data = buffer.getvalue()
    assert len(data) < LIMIT, f"the agent has {len(data)} bytes, allowed are {LIMIT}"
    return AgentBundle(data, hashlib.sha256(data).hexdigest())


def _sources(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        name = f"{prefix}/{entry.name}"
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _sources(entry, name)
        elif entry.name.endswith(".py"):
            source = entry.read_text(encoding="utf-8")
            # The command line's help is made of docstrings.
            words = source if entry.name == "commands.py" else bare(source)
            yield name, words.encode()


def bare(source: str) -> str:
    """Python without docstrings and comments, each line where it was: tracebacks fit.

    By its tokens: `ast.parse` of Python 3.11 fails when several threads call it at once
    (python/cpython#106905), and boards are connected by many.
    """
    lines = source.splitlines()
    starts = True  # whether a statement begins here
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        (first, column), (last, end) = token.start, token.end
        if token.type == tokenize.COMMENT:
            lines[first - 1] = lines[first - 1][:column].rstrip()
        elif token.type == tokenize.STRING and starts and not lines[last - 1][end:].strip():
            lines[first - 1] = lines[first - 1][:column] + '""'
            lines[first:last] = [""] * (last - first)
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            starts = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    return "\n".join(lines) + "\n"


def agent_command(
    python: str,
    path_on_board: str,
    workdir: str,
    board: str,
    owner: str,
    idle_s: float,
    *,
    reason: str = "",
    take_over: bool = False,
    lock: str = "workdir",
    images: str = "leave",
    libraries: Mapping[str, str] | None = None,
) -> str:
    """The shell command that serves a session, quoted.

    Args:
        python: the interpreter on the board.
        path_on_board: where the bundle was put.
        workdir: farm's folder there.
        board, owner, reason: told to whoever finds the board busy.
        idle_s: silence of the head, in seconds, after which the agent ends itself.
        take_over: kill whoever holds the board.
        lock: what is held: `board`, for all users of the machine, or the `workdir` alone.
        images: whether test images that were kept there before are removed: `clear` or `leave`.
        libraries: runtime to the path of its library there, where it is not found alone.
    """
    words = [path_on_board, "serve", "--workdir", workdir, "--board", board]
    words += ["--owner", owner, "--idle-s", f"{idle_s:g}", "--lock", lock]
    words += ["--images", images]
    if reason:
        words += ["--reason", reason]
    for runtime, library in sorted((libraries or {}).items()):
        words += ["--library", f"{runtime}={library}"]
    if take_over:
        words.append("--take-over")
    return python_command(python, *words, replace=True)
