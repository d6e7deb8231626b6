"""A deployable file as the store holds it, and as what a board deploys and opens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.fleet.boards.board import Artifact
from orchestrator.specs.artifact import ArtifactInterface
from orchestrator.specs.inventory import Board
from orchestrator.store.artifacts import Held

FILE = "artifact"
INTERFACE = "interface.json"


def read_interface(data: bytes) -> ArtifactInterface:
    """What `convert` wrote as `interface.json`."""
    return ArtifactInterface.model_validate_json(data)


def deployable(held: Held, board: Board, runtime: str, input_meta: Mapping[str, Any]) -> Artifact:
    """What `convert` made, for one board.

    Args:
        runtime: the one that its toolchain names.
        input_meta: the model manifest's `input`.
    """
    interface = read_interface(held.read(INTERFACE))
    sha256 = held.manifest["facts"]["sha256"]
    used = board.runtime_for(runtime)
    return Artifact(
        name=f"{sha256[:32]}.{held.manifest['facts']['format']}",
        sha256=sha256,
        runtime=used.name,
        options={**used.to_options(), "interface": interface.to_json()},
        preprocessing=interface.preprocessing(input_meta),
    )
