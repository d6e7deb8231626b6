"""What OpenSSH's configuration says of a host, as farm's inventory can hold it.

`ssh -G` is asked where there is an `ssh`, so that Include, Match, wildcards and what a later
version knows mean what they mean to the user's own `ssh`; paramiko's parser is asked otherwise.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.errors import UserError
from orchestrator.fleet.transport.openssh_files import home_of_ssh, refuse_exec, text_of
from orchestrator.fleet.transport.untrusted import quote

DEFAULT = Path("~/.ssh/config")
MOST_JUMPS = 5
ASK_S = 10.0
_FORWARDS = re.compile(r"ssh (?:-q )?(?:-W \S+ (?P<gate>[\w.@:-]+)|(?P<other>[\w.@:-]+) -W \S+)")
_TARGET = re.compile(
    r"(?:(?P<user>[^@]+)@)?(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^@:\[\]]+))(?::(?P<port>\d+))?"
)
_NO_NAME = re.compile(r"""[\s\x00-\x1f\x7f'"`$\\;&<>|(){}]""")
Options = Mapping[str, Sequence[str]]


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
        UserError: the configuration is unreadable, runs commands, or reaches this host by a way
            that farm lacks.
    """
    # `Match exec` would run commands, which reading a file must not.
    includes = refuse_exec(config)
    ssh = shutil.which("ssh")
    if ssh is None and includes:
        raise UserError(
            f"{config}: Include is followed by asking `ssh -G`, and there is no `ssh` here",
            "install OpenSSH's client, or give the board's address to `farm boards add`",
        )
    return _resolved(target, config, ssh, jump, 0)


def _resolved(
    target: Target, config: Path, ssh: str | None, jump: str | None, depth: int
) -> Target:
    if depth > MOST_JUMPS:
        raise UserError(f"{config}: jumps over more than {MOST_JUMPS} hosts to {target.host}")
    options = _by_ssh(ssh, target, config) if ssh else _by_paramiko(target, config)

    def one(name: str, otherwise: str) -> str:
        return (*options.get(name, ()), otherwise)[0]

    host = one("hostname", target.host)
    port = target.port or int(one("port", "22"))
    user = target.user or one("user", "") or None
    tokens = _tokens(target.host, host, port, user)
    way = jump if jump is not None else _way(options, target.host, config, tokens)
    hops: tuple[Target, ...] = ()
    for word in way.split(",") if way else ():
        hop = _resolved(parse_target(word.strip()), config, ssh, None, depth + 1)
        # As with `ssh`: how the first is reached is its own affair, the others come through it.
        hops += (*(hop.jump if not hops else ()), replace(hop, jump=()))
    return Target(
        host,
        port,
        None if user == getpass.getuser() and target.user is None else user,
        _key(options.get("identityfile", ()), tokens),
        hops,
    )


def _by_ssh(ssh: str, target: Target, config: Path) -> Options:
    """What `ssh -G` says, without the key files that it tries by itself."""
    if target.host.startswith("-") or _NO_NAME.search(target.host):
        return {}  # `ssh` refuses it; the inventory's own rule says what a host name is
    own = home_of_ssh() / ".ssh" / "config"
    file = config.expanduser()
    chosen: list[str] = []
    environment = dict(os.environ)
    if config != DEFAULT or file != own:  # `-F` also leaves the system's configuration out
        chosen = ["-F", str(file) if text_of(config) is not None else "none"]
        # What would run a `Match exec` that was overlooked; the system's own files may have one.
        environment["SHELL"] = "/bin/false"
    words = [] if target.user is None else ["-l", target.user]
    words += ["-p", str(target.port)] if target.port else []
    said = _asked([ssh, "-T", "-G", *chosen, *words, "--", target.host], config, environment)
    usual = _asked([ssh, "-T", "-G", "-F", "none", "--", target.host], config, environment)
    if said.get("identityfile") == usual.get("identityfile"):
        said.pop("identityfile", None)
    return said


def _asked(
    words: Sequence[str], config: Path, environment: Mapping[str, str]
) -> dict[str, list[str]]:
    try:
        done = subprocess.run(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{config}: `ssh -G {words[-1]}` did not end within {ASK_S:g} s",
            "does it canonicalize host names, and is the name server reachable?",
        ) from None
    if done.returncode != 0:
        raise UserError(
            f"{config}: `ssh -G {words[-1]}` ended with status {done.returncode}: it says "
            + quote(done.stderr, 200)
        )
    found: dict[str, list[str]] = {}
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword.lower(), []).append(value)
    return found


def _by_paramiko(target: Target, config: Path) -> Options:
    import paramiko

    text = text_of(config)
    if text is None:
        return {}
    try:
        found = paramiko.SSHConfig.from_text(text).lookup(target.host)
    except (paramiko.ConfigParseError, paramiko.SSHException, ValueError) as error:
        raise UserError(f"{config}: cannot be read: {error}") from None
    return {
        name: value if isinstance(value, list) else [str(value)] for name, value in found.items()
    }


def _tokens(named: str, host: str, port: int, user: str | None) -> Mapping[str, str]:
    """What OpenSSH puts for `%` and a letter, in a key file's name and in a jump."""
    return {
        "%%": "%",
        "%h": host,
        "%n": named,
        "%p": str(port),
        "%r": user or getpass.getuser(),
        "%u": getpass.getuser(),
        "%d": str(home_of_ssh()),
        "%i": str(os.getuid()),
        "%l": socket.gethostname(),
        "%L": socket.gethostname().partition(".")[0],
    }


def _expanded(text: str, tokens: Mapping[str, str]) -> str:
    return re.sub(r"%.", lambda found: tokens.get(found[0], found[0]), text)


def _way(options: Options, host: str, config: Path, tokens: Mapping[str, str]) -> str:
    """The hosts to jump over, as `ProxyJump` writes them; empty for none."""
    jump = (*options.get("proxyjump", ()), "none")[0]
    if jump.lower() != "none":
        return _expanded(jump, tokens)
    command = (*options.get("proxycommand", ()), "none")[0]
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


def _key(files: Sequence[str], tokens: Mapping[str, str]) -> str | None:
    for file in files:
        name = _expanded(file.strip('"'), tokens)
        if Path(name).expanduser().is_file():
            return name
    return None
