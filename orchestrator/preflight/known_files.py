"""Model files that were parsed before and agree with their manifests.

Kept beside the store, so that a plan of known models parses none: it still reads and hashes every
file. It may be lost at any time.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from orchestrator.hashing import digest, sha256_file
from orchestrator.installed import installed
from orchestrator.specs.model import ModelSpec

FILE = "models.json"
"""In the state folder."""

CHECKS = 1
"""Raised when more is checked than before."""

MOST = 1000


class KnownFiles:
    """The keys of what was found right.

    Args:
        state: farm's own folder.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / FILE
        self._new: list[str] = []

    def sha256(self, spec: ModelSpec) -> str:
        """Hash (hex) of a model's file, if that file was parsed before, had all weights inside and
        agreed with all that the manifest says of it; else empty."""
        try:
            sha256 = sha256_file(spec.path)
        except OSError:
            return ""  # whoever reads the file says why
        return sha256 if _key(spec, sha256) in self._keys() else ""

    def add(self, spec: ModelSpec, sha256: str) -> None:
        """Note that a file agrees with its manifest."""
        self._new.append(_key(spec, sha256))

    def save(self) -> None:
        """Remember what was noted; what cannot be written is forgotten."""
        if not self._new:
            return
        keys = [*self._keys(), *self._new][-MOST:]
        temporary = self._path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary.write_text(json.dumps({"v": 1, "agree": keys}))
            temporary.replace(self._path)

    def _keys(self) -> list[str]:
        try:
            return [str(key) for key in json.loads(self._path.read_text())["agree"]]
        except (OSError, ValueError, TypeError, KeyError):
            return []


def _key(spec: ModelSpec, sha256: str) -> str:
    """Of a file and of all that is checked of it."""
    return digest(
        {
            "checks": CHECKS,
            "file": sha256,
            "input": [spec.input.name, spec.input.layout, *spec.input.size],
            "output": spec.output,
            "versions": [installed("onnx")],
        }
    )
