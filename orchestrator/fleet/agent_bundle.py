"""The board agent as one file, the same bytes from the same sources."""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import shlex
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

LIMIT = 100_000  # bytes; boards are small, and so are the links to some
_PACKAGE = "farm_agent"
_ENTRY = f"import sys\nfrom {_PACKAGE}.__main__ import main\nsys.exit(main())\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class AgentBundle:
    """The agent's zipapp and the sha256 of it."""

    data: bytes
    sha256: str


@functools.cache
def agent_bundle() -> AgentBundle:
    """Build the zipapp from the installed agent's sources, in memory.

    Raises:
        AssertionError: it has outgrown its limit, which is a bug.
    """
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
            words = source if entry.name == "__main__.py" else bare(source)
            yield name, words.encode()


def bare(source: str) -> str:
    """Python without docstrings and lines of comment, each line where it was: tracebacks fit."""
    lines = source.splitlines()
    strings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and node.end_lineno:
            strings.update(range(node.lineno, node.end_lineno))
        elif (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node, clean=False) is not None
        ):
            words = node.body[0]
            first, last = words.lineno - 1, (words.end_lineno or words.lineno) - 1
            lines[first] = lines[first][: words.col_offset] + '""'
            lines[first + 1 : last + 1] = [""] * (last - first)
    for at, line in enumerate(lines):
        # The lines of a string from its second on are no comments, however they begin.
        if line.lstrip().startswith("#") and at not in strings:
            lines[at] = ""
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
    words = [python, path_on_board, "serve", "--workdir", workdir, "--board", board]
    words += ["--owner", owner, "--idle-s", f"{idle_s:g}", "--lock", lock]
    words += ["--images", images]
    if reason:
        words += ["--reason", reason]
    for runtime, library in sorted((libraries or {}).items()):
        words += ["--library", f"{runtime}={library}"]
    if take_over:
        words.append("--take-over")
    return "exec " + shlex.join(words)
