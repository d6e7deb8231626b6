"""Versions out of texts, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Version = tuple[int, ...]

_NUMBERS = re.compile(r"(?<![\w.])(\d+(?:\.\d+){1,3})")


def version(text: str) -> Version:
    """The first version in a text (`librknnrt version: 2.3.0 (c94@2024)`); empty for none."""
    found = _NUMBERS.search(text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def dotted(numbers: Version) -> str:
    """`(1, 5, 2)` as `1.5.2`."""
    return ".".join(map(str, numbers))


def mapping(value: Any) -> Mapping[str, Any]:
    """A part of facts, which may be missing or something else."""
    return value if isinstance(value, Mapping) else {}
