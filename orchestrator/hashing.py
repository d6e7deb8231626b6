"""Hashes: a thing is named by the hash of what it was made from, so equal work is done once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def digest(value: Mapping[str, Any]) -> str:
    """sha256 (hex) of a value's canonical JSON: sorted keys, no spaces, no NaN.

    Raises:
        TypeError, ValueError: the value is not plain JSON.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_bytes(data: bytes | memoryview) -> str:
    """sha256 (hex) of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 (hex) of a file's bytes, read in blocks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
