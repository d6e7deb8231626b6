"""What `~/.ssh/config` says of a host, as farm's inventory can hold it."""

from __future__ import annotations

import getpass
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.errors import UserError

DEFAULT = Path("~/.ssh/config")
MAX_BYTES = 1 << 20
MOST_JUMPS = 5
_FORWARDS = re.compile(r"ssh (?:-q )?(?:-W \S+ (?P<gate>[\w.@:-]+)|(?P<other>[\w.@:-]+) -W \S+)")
_TARGET = re.compile(
    r"(?:(?P<user>[^@]+)@)?(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^@:\[\]]+))(?::(?P<port>\d+))?"
)


@dataclass(frozen=True)
class Target:
    """How a host is reached; None where OpenSSH's own choice holds.

    `jump`: the hosts on the way, the first one first.
    """

    host: str
    port: int = 22
    user: str | None = None
    key: str | None = None
    jump: tuple[Target, ...] = ()


def parse_target(text: str) -> Target:
    """Read `[user@]host[:port]`; an IPv6 address stands in brackets.

    Raises:
        UserError: it is not that, or holds a password.
    """
    found = _TARGET.fullmatch(text)
    if found is None or not text.isprintable():
        raise UserError(
            f"not a board's address: {text[:80]!r}",
            "expected user@host, user@host:port or user@[address]:port",
        )
    user = found["user"]
    if user is not None and ":" in user:
        raise UserError(
            "a password has no place in an address",
            "farm logs in with keys: bring yours to the board once with `ssh-copy-id`",
        )
    port = int(found["port"] or 22)
    if not 1 <= port <= 65535:
        raise UserError(f"{port} is not a port, expected 1 to 65535")
    return Target(found["six"] or found["host"], port if found["port"] else 0, user)


def resolved(target: Target, config: Path = DEFAULT, jump: str | None = None) -> Target:
    """A target with what the user's OpenSSH configuration adds; what it says itself goes first.

    Args:
        target: what a person named.
        config: OpenSSH's configuration; it may be missing.
        jump: hosts to jump over, as `ssh -J` takes them, instead of the configuration's.

    Raises:
        UserError: the configuration is unreadable, or reaches this host by a way that farm lacks.
    """
    text = _text(config)
    # `Match exec` would run commands, which reading a file must not.
    if text is not None and re.search(r"(?im)^\s*match\b.*\bexec\b", text):
        raise UserError(f"{config}: `Match exec` would run a command and is not followed")
    return _resolved(target, config, text, jump, 0)


def _resolved(
    target: Target, config: Path, text: str | None, jump: str | None, depth: int
) -> Target:
    import paramiko

    if depth > MOST_JUMPS:
        raise UserError(f"{config}: jumps over more than {MOST_JUMPS} hosts to {target.host}")
    options: dict[str, str | list[str]] = {}
    if text is not None:
        try:
            options = dict(paramiko.SSHConfig.from_text(text).lookup(target.host))
        except (paramiko.ConfigParseError, paramiko.SSHException, ValueError) as error:
            raise UserError(f"{config}: cannot be read: {error}") from None
    way = jump if jump is not None else _way(options, target.host, config)
    hops: tuple[Target, ...] = ()
    for word in way.split(",") if way else ():
        hop = _resolved(parse_target(word.strip()), config, text, None, depth + 1)
        # As with `ssh`: how the first is reached is its own affair, the others come through it.
        hops += (*(hop.jump if not hops else ()), replace(hop, jump=()))
    port = target.port or int(str(options.get("port", 22)))
    user = target.user or (str(options["user"]) if "user" in options else None)
    return Target(
        str(options.get("hostname", target.host)),
        port,
        None if user == getpass.getuser() and target.user is None else user,
        _key(options.get("identityfile", [])),
        hops,
    )


def _way(options: Mapping[str, str | list[str]], host: str, config: Path) -> str:
    """The hosts to jump over, as `ProxyJump` writes them; empty for none."""
    jump = str(options.get("proxyjump", "none"))
    if jump.lower() != "none":
        return jump
    command = str(options.get("proxycommand", "none"))
    if command.lower() == "none":
        return ""
    forwards = _FORWARDS.fullmatch(command.strip())
    if forwards:  # how it was written before there was ProxyJump
        return forwards["gate"] or forwards["other"]
    raise UserError(
        f"{config} reaches {host} by ProxyCommand {command}, which farm does not run",
        "use `ProxyJump GATE` instead, or open a tunnel (`ssh -N -L 2222:localhost:22 HOST`) and "
        "add localhost:2222",
    )


def hosts(config: Path) -> list[str]:
    """The hosts that a file names: an OpenSSH configuration's without patterns, or a plain list.

    Raises:
        UserError: it cannot be read, or names none.
    """
    text = _text(config)
    if text is None:
        raise UserError(f"{config}: no such file")
    lines = [line.split("#", 1)[0].strip() for line in text.splitlines()]
    words = [re.split(r"[\s=]+", line) for line in lines if line]
    named = [name for first, *rest in words if first.lower() == "host" for name in rest]
    if named or any(first.lower() in ("match", "include") for first, *_ in words):
        names = [name.strip('"') for name in named if not set(name) & set("*?!")]
    else:
        names = [first for first, *_ in words]
    if not names:
        raise UserError(
            f"{config}: names no host",
            "expected an OpenSSH configuration, or a line `user@host[:port]` for each board",
        )
    return list(dict.fromkeys(names))


def _key(files: str | list[str]) -> str | None:
    for file in files if isinstance(files, list) else [files]:
        if Path(file).expanduser().is_file():
            return file
    return None


def _text(config: Path) -> str | None:
    try:
        raw = config.expanduser().read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{config}: cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise UserError(f"{config}: larger than 1 MiB")
    return raw.decode("utf-8", "replace")
