"""The one place that reaches into Ray's private parts: no request to the cloud's metadata address.

Even with usage reports off, Ray starts a helper process whose only module (UsageStatsHead) asks
169.254.169.254 which cloud it is on. No setting prevents it, so the step that starts that process
is replaced. Farm's tasks and actors do not need it (it serves the dashboard and the state API).
"""

from __future__ import annotations

import inspect
import logging

KNOWN_GOOD = ("2.5", "2.6")  # minor releases whose Node.start_api_server has been read


def without_metadata_request() -> bool:
    """Replace the start of Ray's API server process by nothing, on Ray versions known for it.

    Returns:
        Whether it was replaced; on other versions Ray stays as it is, and the log says so.
    """
    import ray
    from ray._private.node import Node

    expected = ["self", "include_dashboard", "raise_on_failure"]
    method = getattr(Node, "start_api_server", None)
    known = ray.__version__.startswith(KNOWN_GOOD)
    if method is None or not known or list(inspect.signature(method).parameters) != expected:
        logging.getLogger(__name__).warning(
            "Ray %s is not known to farm: it may ask the cloud's metadata address once",
            ray.__version__,
        )
        return False

    def start_api_server(
        self: object, *, include_dashboard: bool | None, raise_on_failure: bool
    ) -> None:
        """Start nothing."""

    Node.start_api_server = start_api_server
    return True
