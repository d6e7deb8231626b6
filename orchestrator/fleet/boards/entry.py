"""What of an inventory entry a board's proof depends on."""

from __future__ import annotations

import hashlib
import json

from orchestrator.specs.inventory import Board


def identity(board: Board) -> str:
    """A hash of all in an entry that a proof depends on: how the board is reached and what runs."""
    keys = {"name", "kind", "transport", "python", "workdir", "runtime"}
    text = json.dumps(board.model_dump(mode="json", include=keys), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
