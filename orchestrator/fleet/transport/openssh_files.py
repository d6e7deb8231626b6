"""The files of an OpenSSH configuration, read only to see what they name and whether they run."""

from __future__ import annotations

import glob
import pwd
import re
import shlex
from collections.abc import Iterator
from os import getuid
from pathlib import Path

from orchestrator.errors import UserError

MAX_BYTES = 1 << 20
DEEPEST = 16  # as OpenSSH's own limit
_KEYWORD = re.compile(r'\s*"?([A-Za-z]+)"?\s*[=\s]\s*(.*)')


def home_of_ssh() -> Path:
    """The home that `ssh` reads from: the account's own, whatever HOME says."""
    return Path(pwd.getpwuid(getuid()).pw_dir)


def text_of(config: Path) -> str | None:
    """A file's text; None when there is none.

    Raises:
        UserError: it is unreadable or larger than 1 MiB.
    """
    try:
        raw = config.expanduser().read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{config}: cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise UserError(f"{config}: larger than 1 MiB")
    return raw.decode("utf-8", "replace")


def settings(config: Path, depth: int = 0) -> Iterator[tuple[Path, str, str]]:
    """File, keyword in lower case and value of each line, those of included files in their place.

    Raises:
        UserError: a file is unreadable, or includes go on for ever.
    """
    text = text_of(config)
    if text is None:
        return
    if depth > DEEPEST:
        raise UserError(f"{config}: included more than {DEEPEST} files deep")
    for line in text.splitlines():
        found = _KEYWORD.match(line)
        if found is None:
            continue
        keyword, value = found[1].lower(), found[2].strip()
        yield config, keyword, value
        if keyword == "include":
            for file in _included(config, value):
                yield from settings(file, depth + 1)


def _included(config: Path, value: str) -> list[Path]:
    try:
        words = shlex.split(value, comments=True)
    except ValueError:
        raise UserError(f"{config}: Include {value[:80]!r} is not a list of files") from None
    found: list[Path] = []
    for word in words:
        if set(word) & set("%$"):
            raise UserError(
                f"{config}: Include {word[:80]} depends on variables, which farm does not follow",
                "name the file itself, or give the board's address to `farm boards add`",
            )
        home = str(home_of_ssh())
        word = home + word[1:] if word == "~" or word.startswith("~/") else word
        found += map(Path, sorted(glob.glob(str(Path(home, ".ssh") / word))))
    return found


def refuse_exec(config: Path) -> bool:
    """Make sure that reading a configuration runs nothing.

    Returns:
        whether it includes other files.

    Raises:
        UserError: a `Match exec` in it or in what it includes would run a command.
    """
    includes = False
    for file, keyword, value in settings(config):
        includes = includes or keyword == "include"
        if keyword == "match" and re.search(r"\bexec\b", value, re.IGNORECASE):
            raise UserError(
                f"{file}: `Match exec` would run a command and is not followed",
                "give the board's address, user and key to `farm boards add` instead",
            )
    return includes


def hosts(config: Path) -> list[str]:
    """The hosts that a file names: an OpenSSH configuration's without patterns, or a plain list.

    Raises:
        UserError: it cannot be read, or names none.
    """
    text = text_of(config)
    if text is None:
        raise UserError(f"{config}: no such file")
    found = list(settings(config))
    if any(keyword in ("host", "match", "include") for _, keyword, _ in found):
        words = [
            word.strip('"')
            for _, keyword, value in found
            if keyword == "host"
            for word in value.split("#", 1)[0].split()
        ]
        names = [word for word in words if word and not set(word) & set("*?!")]
    else:
        lines = [line.split("#", 1)[0].split() for line in text.splitlines()]
        names = [words[0] for words in lines if words]
    if not names:
        raise UserError(
            f"{config}: names no host",
            "expected an OpenSSH configuration, or a line `user@host[:port]` for each board",
        )
    return list(dict.fromkeys(names))
