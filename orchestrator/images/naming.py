"""Identities that differ only in form: nobody means two people by `p001` and `p001 `."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable


def plain_form(name: str) -> str:
    """What is left of a name without its form: case, accents' composition, width, white space."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    text = "".join(c for c in text if unicodedata.category(c) != "Cf")  # marks that show nothing
    return " ".join(text.split())


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Groups of two or more different names with one plain form, in order of appearance."""
    groups: dict[str, dict[str, None]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(plain_form(name), {})[name] = None
    return [tuple(group) for group in groups.values() if len(group) > 1]


def spelled(names: Iterable[str]) -> str:
    """The names so that their difference shows: `'p001 ' and 'p001'`, `'Jos\\xe9' and ...`."""
    return " and ".join(ascii(name) for name in names)
