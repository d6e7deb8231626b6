"""Commands for a board's shell, and answers found among other lines that may come between."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

from orchestrator.errors import BoardError
from orchestrator.fleet.transport.channel import CommandResult, Transport
from orchestrator.fleet.transport.untrusted import quote

# What makes a Python another program than the one that was asked for. PYTHONPATH,
# PYTHONUSERBASE and PYTHONNOUSERSITE stay: vendors' packages may lie where they say.
_NOT_OURS = (
    "PYTHONHOME",
    "PYTHONPLATLIBDIR",
    "PYTHONEXECUTABLE",
    "PYTHONOPTIMIZE",
    "PYTHONINSPECT",
    "PYTHONSTARTUP",
    "PYTHONSAFEPATH",
    "PYTHONCASEOK",
    "PYTHONWARNINGS",
    "PYTHONDEBUG",
    "PYTHONVERBOSE",
    "PYTHONDEVMODE",
    "PYTHONDUMPREFS",
    "PYTHONPROFILEIMPORTTIME",
    "PYTHONTRACEMALLOC",
    "PYTHONMALLOC",
    "PYTHONMALLOCSTATS",
    "PYTHONASYNCIODEBUG",
    "PYTHONIOENCODING",
    "PYTHONUTF8",
    "PYTHONCOERCECLOCALE",
    "PYTHONINTMAXSTRDIGITS",
)
ITS_OWN_PYTHON = f"unset {' '.join(_NOT_OURS)}"


def python_command(python: str, *words: str, replace: bool = False) -> str:
    """A shell command that runs a Python whatever PYTHON* variables say on the board.

    Args:
        python: the interpreter; `~/` is the login directory.
        words: its arguments.
        replace: whether the shell becomes the Python, for a command that is spoken to.
    """
    if python.startswith("~/"):
        python = "./" + python[2:]
    return f"{ITS_OWN_PYTHON}; {'exec ' if replace else ''}{shlex.join([python, *words])}"


def line_of(key: str, word: str) -> str:
    """A shell command that prints a word as a line of its own, for `line_answer`."""
    return f"printf '\\nfarm-{key}:%s\\n' {word}"


def line_answer(output: bytes, key: str) -> str:
    """What `line_of` printed, empty when it is not there or not printable."""
    found = re.search(rb"^farm-%s:(.*)$" % re.escape(key.encode()), output, re.MULTILINE)
    text = found[1].decode("utf-8", "replace").strip() if found else ""
    return text if text.isprintable() else ""


def json_answer(output: bytes) -> dict[str, Any] | None:
    """The last line that is a JSON object; None when there is none."""
    for line in reversed(output.splitlines()):
        if line.lstrip().startswith(b"{"):
            try:
                answer = json.loads(line.decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                continue
            if isinstance(answer, dict):
                return answer
    return None


def workdir_on(transport: Transport, workdir: str, *, board: str, timeout_s: float) -> str:
    """Farm's folder on a board with `~` as the board's shell has it.

    Raises:
        BoardError: its shell does not tell.
        TransientError: the link failed.
    """
    if not workdir.startswith("~"):
        return workdir
    result = transport.run(line_of("home", '"$HOME"'), timeout_s=timeout_s)
    home = line_answer(result.stdout, "home")
    if not home.startswith("/"):
        raise BoardError(
            f"{board}: its shell does not say where home is: {said(result)}",
            "give an absolute `workdir:` for this board in the inventory",
        )
    return home.rstrip("/") + workdir[1:]


def said(result: CommandResult) -> str:
    """What a command said that gave no usable answer, quoted."""
    return f"it says {quote(result.stderr.strip() or result.stdout)} (status {result.status})"
