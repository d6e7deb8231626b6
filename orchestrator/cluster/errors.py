"""What may be wrong with a run's Ray: never a board's fault."""

from __future__ import annotations

from orchestrator.errors import TransientError


class RayDown(TransientError):
    """A run's Ray did not come up, or has ended."""


class NodeLost(RayDown):
    """A site has no node of the cluster (any more)."""
