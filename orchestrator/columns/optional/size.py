"""Size of the artifact that the board loads."""

from __future__ import annotations

from orchestrator.columns.base import Column, Part
from orchestrator.columns.texts import bytes_text

# results.csv has it as `artifact_bytes`.
COLUMN = Column(
    parts=(Part("Size", lambda result, _: bytes_text(result.artifact_bytes), right=True),)
)
