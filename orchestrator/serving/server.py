"""The server: where it listens, whom it lets in, and its life."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from orchestrator.bundle.manifest import Limits
from orchestrator.errors import UserError
from orchestrator.fleet.boards.person import person
from orchestrator.serving.access import LEAST, TOKEN, Access, Key, new_token, origin
from orchestrator.serving.app import Site, application
from orchestrator.serving.project import Project
from orchestrator.serving.protocol import MOST_HEAD, PatientProtocol

MOST_CONNECTIONS = 512
KEPT_OPEN_S = 5
BACKLOG = 128
MANY = 200  # runs of which the first reading takes seconds
ENDS_WITHIN_S = 2


@dataclass(frozen=True)
class Place:
    """Where to listen, as it was typed.

    Attributes:
        token_file: holds the token; empty for a new one at each start.
        certificate, key: PEM files of TLS; empty for none.
        behind_proxy: the address by which browsers reach a proxy with TLS in front of this server.
    """

    host: str = "127.0.0.1"
    port: int = 0
    token_file: str = ""
    certificate: str = ""
    key: str = ""
    behind_proxy: str = ""


def check(place: Place) -> None:
    """Refuse what would be open to others without a lasting token and TLS.

    Raises:
        UserError: it would be.
    """
    if bool(place.certificate) != bool(place.key):
        raise UserError(
            "TLS needs a certificate and its key", "name both: --tls-cert FILE --tls-key FILE"
        )
    for option, file in (("--tls-cert", place.certificate), ("--tls-key", place.key)):
        if file and not os.access(file, os.R_OK):
            raise UserError(f"{option} {file} cannot be read", "name a PEM file of this user")
    if _is_loopback(place.host) and not place.certificate and not place.behind_proxy:
        return
    if not place.token_file:
        raise UserError(
            "others can reach this server, and its token would change at each start",
            "say where the token is stored: --token-file FILE",
        )
    if not place.certificate and not place.behind_proxy:
        raise UserError(
            f"others can reach --host {place.host}, and could read the token on its way",
            "add TLS: --tls-cert FILE --tls-key FILE, or say which proxy with TLS is in front: "
            "--behind-proxy https://farm.example.org",
        )


def serve(
    project: Project,
    place: Place,
    say: Callable[[str], None],
    *,
    actions: bool = False,
    limits: Limits | None = None,
) -> None:
    """Serve until a signal ends it.

    Args:
        say: prints a line.
        actions: whether pages may change something, and programs send runs.
        limits: how much may be sent for a run; the usual ones where None.

    Raises:
        UserError: the place is refused, or taken.
    """
    check(place)
    keys = keys_of(place.token_file) if place.token_file else (Key(person(), new_token()),)
    with _listening(place) as listening:
        port = int(listening.getsockname()[1])
        access = Access(keys, frozenset(_origins(place, port)), port)
        site = Site(project, actions=actions, limits=limits)
        count = site.catalogue.count()
        if count > MANY:
            say(f"reading {count:,} runs; what was read before is not read again …")
        site.catalogue.entries()
        say(f"farm serve: {_link(place, port, keys[0].token)}")
        if place.token_file:
            say(f"tokens are in {place.token_file}: <address>/?{TOKEN}=TOKEN")
        say("Ctrl-C ends it; no run notices")
        server(site, access, place).run(sockets=[listening])


def server(site: Site, access: Access, place: Place) -> uvicorn.Server:
    """uvicorn with the limits of this server; it writes no log of requests."""
    config = uvicorn.Config(
        application(site, access),
        http=PatientProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEPT_OPEN_S,
        timeout_graceful_shutdown=ENDS_WITHIN_S,
        h11_max_incomplete_event_size=MOST_HEAD,
        ssl_certfile=place.certificate or None,
        ssl_keyfile=place.key or None,
    )
    return uvicorn.Server(config)


def _link(place: Place, port: int, token: str) -> str:
    """What a person opens; a stored token is not printed, since it outlives the terminal."""
    if place.behind_proxy:
        return place.behind_proxy.rstrip("/") + "/"
    scheme = "https" if place.certificate else "http"
    address = origin(scheme, _reached(place), port) + "/"
    return address if place.token_file else f"{address}?{TOKEN}={token}"


def _origins(place: Place, port: int) -> list[str]:
    """Where pages may be asked for: by the proxy's name, the certificate's, or loopback's.

    Raises:
        UserError: the proxy's address or the certificate is none.
    """
    if place.behind_proxy:
        url = urlsplit(place.behind_proxy)
        if url.scheme != "https" or not url.hostname or url.path.strip("/") or url.query:
            raise UserError(
                f"--behind-proxy {place.behind_proxy}: no address of a proxy with TLS",
                "expected https://NAME or https://NAME:PORT, without a path",
            )
        return [origin("https", url.hostname, url.port or 443)]
    if place.certificate:
        return [origin("https", name, port) for name in _names(place.certificate)]
    return [origin("http", name, port) for name in ("127.0.0.1", "localhost", "::1")]


def _names(certificate: str) -> list[str]:
    """The names and addresses that a certificate is for.

    Raises:
        UserError: it is none, or is for no name.
    """
    if not certificate:
        return []
    from cryptography import x509

    try:
        parsed = x509.load_pem_x509_certificate(Path(certificate).read_bytes())
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound) as error:
        raise UserError(
            f"--tls-cert {certificate}: {error}",
            "expected a PEM certificate with a subject alternative name",
        ) from None
    found = [*names.get_values_for_type(x509.DNSName)]
    found += [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [name for name in found if "*" not in name]


def _reached(place: Place) -> str:
    names = _names(place.certificate)
    return names[0] if names else place.host


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def keys_of(file: str) -> tuple[Key, ...]:
    """The tokens in a file, which is written with one when it is not there.

    A line is a token of whoever serves, or `ann@lab TOKEN`; `#` begins a comment.

    Raises:
        UserError: others may read it, or what is in it is no token.
    """
    path = Path(file)
    try:
        if not path.exists():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w") as new:
                new.write(new_token() + "\n")
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise UserError(f"others may read {file}", f"chmod 600 {file}")
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--token-file {file}: {error}", "name a file of this user") from None
    found = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        *who, token = words
        if len(who) > 1 or len(token) < LEAST or not line.isascii() or not line.isprintable():
            raise UserError(
                f"{file}:{number}: expected a token of {LEAST} or more ASCII characters, or a name "
                "and a token",
                f"remove the file: `farm serve` writes a new one, {LEAST + 11} characters long",
            )
        found.append(Key(who[0] if who else person(), token))
    if not found:
        raise UserError(f"{file}: no token in it", "remove the file: `farm serve` writes a new one")
    return tuple(found)


def _listening(place: Place) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(BACKLOG)  # from here on the link that is printed is answered
    except OSError as error:
        raise UserError(
            f"cannot listen on {place.host}, port {place.port}: {error.strerror or error}",
            "another port: --port N, or --port 0 for any that is free",
        ) from None
    return found
