"""What a computing stage hands back to the driver, which alone writes the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class StageOutput:
    """A stage's output.

    Attributes:
        files: name to bytes.
        facts: small results that readers want without opening a file (plain JSON).
        provenance: what made it: versions and hashes (plain JSON).
    """

    files: Mapping[str, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
