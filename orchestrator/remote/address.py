"""Where a server is, and the token for it: from the link, a file or the environment."""

from __future__ import annotations

import ipaddress
import os
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from orchestrator.errors import UserError

VARIABLE = "FARM_TOKEN"
EXPECTED = "expected the address that `farm serve` prints: http://127.0.0.1:8765 or https://NAME"


@dataclass(frozen=True)
class Server:
    """A server and how it is asked.

    Attributes:
        url: scheme, name and port.
        token: never printed.
        token_file: where the token was read; empty where it was given otherwise.
    """

    url: str
    token: str = field(repr=False)
    token_file: str = ""


def find_server(
    link: str, token_file: str = "", environment: Mapping[str, str] | None = None
) -> Server:
    """A server by what a person typed.

    The token is the link's (`?token=`), else the file's, else that of the variable FARM_TOKEN, else
    it is asked for where there is a terminal.

    Raises:
        UserError: it is no address, the token would cross a network readably, or there is none.
    """
    url, token = _parts(link)
    if token_file:
        if token:
            raise UserError("the link has a token, and --token-file too", "leave one of them out")
        token = token_of(Path(token_file))
        token_file = os.path.abspath(token_file)
    token = token or (os.environ if environment is None else environment).get(VARIABLE, "")
    if not token and sys.stdin is not None and sys.stdin.isatty():
        import getpass

        token = getpass.getpass(f"token for {url}: ")
    if not token:
        raise UserError(
            f"no token for {url}",
            f"--token-file FILE, or {VARIABLE}=TOKEN in the environment; the link that "
            "`farm serve` prints has it",
        )
    if not token.isascii() or not token.isprintable():
        raise UserError("the token has a character that no token has", EXPECTED)
    return Server(url, token, token_file)


def token_of(path: Path) -> str:
    """The first token of a file, as `farm serve --token-file` has it.

    Raises:
        UserError: others may read it, or there is no token in it.
    """
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UserError(f"others may read {path}", f"chmod 600 {path}")
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file {path}: {error}", "name a file with the token") from None
    words = next(filter(None, (line.partition("#")[0].split() for line in lines)), None)
    if words is None:
        raise UserError(f"--token-file {path}: no token in it", "a line with the token")
    return words[-1]


def _parts(link: str) -> tuple[str, str]:
    """Address and token of a link."""
    try:
        parts = urlsplit(link)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise UserError(f"no address of a farm server: {_without_token(link)!r}", EXPECTED)
    if parts.path.strip("/") or parts.fragment:
        raise UserError(
            f"{_without_token(link)!r} is a page of a server; its address has no path", EXPECTED
        )
    if parts.scheme == "http" and not _is_loopback(host):
        raise UserError(
            f"others could read the token on its way to {host}: http has no encryption",
            f"https://{host}, or a tunnel: ssh -L 8765:127.0.0.1:8765 {host}, then "
            "--remote http://127.0.0.1:8765",
        )
    shown = f"[{host}]" if ":" in host else host
    tokens = parse_qs(parts.query).get("token", [""])
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}", tokens[-1]


def _without_token(link: str) -> str:
    return link.partition("?")[0][:200]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
