"""What `farm run` and `farm plan` were told, as a request to the planner."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.request import Request, find_inventory


def request(
    matrix: str,
    inventory: str | None,
    *,
    state: str,
    runs: str,
    only: Sequence[str] = (),
    limit: int | None = None,
    ray_address: str | None = None,
) -> Request:
    """What the command line asks for.

    Raises:
        UserError: no inventory is named, and none is found.
    """
    return Request(
        matrix=matrix,
        inventory=find_inventory(matrix, inventory),
        state=state,
        runs=runs,
        only=tuple(only),
        limit=limit,
    ).joining(ray_address)
