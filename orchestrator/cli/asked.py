"""The arguments that `farm run` and `farm plan` share, as a request to the planner."""

from __future__ import annotations

import argparse

from orchestrator.request import Request, find_inventory


def asked(arguments: argparse.Namespace) -> Request:
    """What the command line asks for.

    Raises:
        UserError: no inventory is named, and none is found.
    """
    return Request(
        matrix=arguments.matrix,
        inventory=find_inventory(arguments.matrix, arguments.inventory),
        state=arguments.state,
        runs=arguments.runs,
        only=tuple(arguments.only),
        limit=arguments.limit,
    ).joining(getattr(arguments, "ray_address", None))
