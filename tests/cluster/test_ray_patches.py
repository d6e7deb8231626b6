"""What farm replaces in Ray: it must wait for a node that takes its time."""

from __future__ import annotations

import pytest
from ray._private.state import GlobalState

from orchestrator.cluster import ray_patches


def test_a_node_that_takes_longer_than_a_second_is_seen_as_soon_as_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0

    class Slow(GlobalState):
        def node_table(self) -> list[dict[str, object]]:
            nonlocal looks
            looks += 1
            return [{"NodeID": "n", "Alive": looks > 2.0 / ray_patches.LOOK_S}]

    def get_node(self: Slow, node_id: str) -> object:
        """Ray's own, which asks once a second."""
        return self.node_table()[0]["Alive"]

    monkeypatch.setattr(GlobalState, "get_node", get_node)
    assert ray_patches.with_haste()
    assert Slow().get_node("n") is True
