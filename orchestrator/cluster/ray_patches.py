"""The one place that reaches into Ray's private parts: no request to the cloud's metadata address,
no autoscaler, no log monitor, patience on a busy machine and haste on an idle one.

Even with usage reports off, Ray starts a helper process whose only module (UsageStatsHead) asks
169.254.169.254 which cloud it is on. No setting prevents it, so the step that starts that process
is replaced. Farm's tasks and actors do not need it (it serves the dashboard and the state API).
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 120.0
LOOK_S = 0.02
LOOK_FOR_S = 20.0
KNOWN_GOOD = ("2.5", "2.6")  # minor releases whose Node.start_api_server has been read


def without_metadata_request() -> bool:
    """Replace the start of Ray's API server process by nothing, on Ray versions known for it.

    Returns:
        Whether it was replaced; on other versions Ray stays as it is, and the log says so.
    """
    import ray
    from ray._private.node import Node

    expected = ["self", "include_dashboard", "raise_on_failure"]
    if _original(Node, "start_api_server", expected) is None:
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


def without_autoscaler() -> bool:
    """Do not start the process that would ask for more nodes: a head of farm's own gets none.

    It would cost half a second of a processor and some 40 MB.

    Returns:
        Whether it is left out; on versions that farm does not know Ray stays as it is.
    """
    return _without("start_monitor")


def without_log_monitor() -> bool:
    """Do not start the process that brings to the driver what workers print.

    Returns:
        Whether it is left out, so that the caller has to (see `printed`); on versions that farm
        does not know Ray stays as it is.
    """
    return _without("start_log_monitor")


def _without(start: str) -> bool:
    from ray._private.node import Node

    if _original(Node, start, ["self"]) is None:
        return False

    def start_nothing(self: object) -> None:
        """Start nothing."""

    setattr(Node, start, start_nothing)
    return True


def with_patience(seconds: float = PATIENCE_S) -> bool:
    """Let Ray wait longer for its own node to come up than the 30 s that are written into it.

    On a machine that is busy with other work its helpers need more, and it gives up.

    Returns:
        Whether it will; on versions that farm does not know Ray stays as it is.
    """
    from ray._private import services

    original = _original(services, "get_node", ["gcs_address", "node_id"])
    if original is None:
        return False

    def get_node(gcs_address: str, node_id: str) -> object:
        """The node once it is there."""
        end = time.monotonic() + seconds
        while True:
            try:
                return original(gcs_address, node_id)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.5)

    services.get_node = get_node
    return True


def with_haste() -> bool:
    """Let Ray see within milliseconds that its own node has come up.

    It comes up in a second or two, but Ray asks for it once a second.

    Returns:
        Whether it will; on versions that farm does not know Ray stays as it is.
    """
    from ray._private.state import GlobalState

    original = _original(GlobalState, "get_node", ["self", "node_id"])
    if original is None:
        return False

    def get_node(self: GlobalState, node_id: str) -> object:
        """The node once it is there; where it does not come, Ray's own way says so."""
        end = time.monotonic() + LOOK_FOR_S
        while time.monotonic() < end:
            if any(node["NodeID"] == node_id and node["Alive"] for node in self.node_table()):
                break
            time.sleep(LOOK_S)
        return original(self, node_id)

    GlobalState.get_node = get_node
    return True


def _original(owner: Any, name: str, parameters: list[str]) -> Callable[..., Any] | None:
    """What is to be replaced, where this Ray is known to have it with these parameters."""
    import ray

    found: Callable[..., Any] | None = getattr(owner, name, None)
    if found is None or not ray.__version__.startswith(KNOWN_GOOD):
        return None
    return found if list(inspect.signature(found).parameters) == parameters else None
