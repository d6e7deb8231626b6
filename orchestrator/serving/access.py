"""Who may ask: the token, the cookie that stands for it, and the names the server answers to."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, quote, urlencode

TOKEN = "token"
LEAST = 32  # characters of a token
BEARER = "bearer "
USUAL = {"http": 80, "https": 443}


def new_token() -> str:
    """256 random bits, as they may stand in a link."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Key:
    """Somebody's token.

    Attributes:
        who: as the fleet log names them, `ann@lab`.
        token: needed by every request of theirs.
    """

    who: str
    token: str

    @property
    def cookie(self) -> str:
        """The cookie's value: made from the token, which cannot be found from it."""
        return self._made_for("cookie")

    @property
    def form(self) -> str:
        """What each form of theirs has in it, so that no other site can send one."""
        return self._made_for("form")

    def _made_for(self, what: str) -> str:
        return hmac.new(self.token.encode(), f"farm {what}".encode(), hashlib.sha256).hexdigest()


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        keys: of everybody.
        origins: where the server's own pages are, as `origin` writes it.
        port: its own, which is part of the cookie's name: browsers share cookies between ports.
    """

    keys: tuple[Key, ...]
    origins: frozenset[str]
    port: int

    @property
    def hosts(self) -> frozenset[str]:
        """What a request's Host header may say; any other is an attempt to rebind a name."""
        return frozenset(host for origin in self.origins for host in _hosts(origin))

    @property
    def secure(self) -> bool:
        """Whether all pages are behind TLS, so that the cookie is for TLS alone."""
        return all(origin.startswith("https://") for origin in self.origins)

    @property
    def cookie_name(self) -> str:
        """The cookie's name."""
        return f"{'__Host-' if self.secure else ''}farm-{self.port}"

    def set_cookie(self, key: Key) -> str:
        """The header that stores somebody's cookie in a browser."""
        secure = "; Secure" if self.secure else ""
        return f"{self.cookie_name}={key.cookie}; Path=/; HttpOnly; SameSite=Strict{secure}"

    def by_token(self, text: str) -> Key | None:
        """Whose token a text is; takes as long whatever is wrong with it."""
        found = [key for key in self.keys if same(text, key.token)]
        return found[0] if found else None

    def admitted(self, cookies: Iterable[str], authorization: str) -> Key | None:
        """Whose a request is, by its cookies or its Authorization header; None: nobody's."""
        if authorization[: len(BEARER)].lower() == BEARER:
            return self.by_token(authorization[len(BEARER) :].strip())
        values = [value for header in cookies for value in _values(header, self.cookie_name)]
        found = [key for value in values for key in self.keys if same(value, key.cookie)]
        return found[0] if found else None


def same(text: str, secret: str) -> bool:
    """Whether a text is a secret; the time it takes says nothing of where they differ."""
    return hmac.compare_digest(text.encode("utf-8", "replace"), secret.encode())


def taken_out(path: str, query: str) -> tuple[str | None, str]:
    """A request's token, None where it has none, and its address on this server without it.

    Args:
        path: decoded.
        query: as it was sent.
    """
    pairs = parse_qsl(query, keep_blank_values=True)
    found = next((value for name, value in pairs if name == TOKEN), None)
    rest = urlencode([(name, value) for name, value in pairs if name != TOKEN])
    # `//elsewhere.example` would lead to another server.
    place = "/" + quote(path.lstrip("/\\"), safe="/", errors="replace")
    return found, f"{place}?{rest}" if rest else place


def origin(scheme: str, name: str, port: int) -> str:
    """Where a server is, as browsers write it: in lower case, without the scheme's usual port."""
    host = f"[{name}]" if ":" in name else name
    return f"{scheme}://{host}{'' if port == USUAL[scheme] else f':{port}'}".lower()


def _hosts(origin: str) -> tuple[str, ...]:
    """As a Host header may say it, with the usual port or without."""
    scheme, _, host = origin.partition("://")
    has_port = host.rpartition(":")[2].isdecimal()
    return (host,) if has_port else (host, f"{host}:{USUAL[scheme]}")


def _values(header: str, name: str) -> list[str]:
    try:
        found = SimpleCookie(header)
    except CookieError:
        return []
    return [found[name].value] if name in found else []
