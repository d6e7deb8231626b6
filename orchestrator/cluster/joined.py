"""A Ray cluster that was there before the run and stays after it; see docs/how-to/clusters.md."""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path

from orchestrator.cluster import environment
from orchestrator.cluster.errors import RayDown
from orchestrator.cluster.nodes import reach
from orchestrator.errors import UserError

TOKEN = Path("~/.ray/auth_token")


class ExistingCluster:
    """The way into a cluster that others may use too.

    Args:
        address: HOST:PORT.
    """

    shared = True
    within_s = 90.0

    def __init__(self, address: str) -> None:
        self._named = address

    @property
    def late(self) -> RayDown:
        """What is said when it takes too long."""
        return RayDown(
            f"the Ray cluster at {self._named} was not joined within {self.within_s:.0f} s",
            "do the nodes reach each other both ways? docs/how-to/clusters.md names the ports",
        )

    def enter(self) -> str:
        """Join it; its address (IP:port).

        Raises:
            UserError: no cluster answers, its token is another, it has another version, or this
                host is none of its nodes.
            RayDown: it does not let this driver in for another reason.
        """
        there = reach(self._named)
        environment.set_for_joining(loopback=there.loopback)
        import ray

        try:
            ray.init(address=there.address, log_to_driver=True, logging_level=logging.ERROR)
        except Exception as error:
            raise self.refused(error) from error
        return there.address

    def leave(self) -> None:
        """Ray ends in this process; the cluster stays."""
        import ray

        ray.shutdown()

    def refused(self, error: Exception) -> Exception:
        """Why Ray did not let this driver in, for a person."""
        text = f"{error}; {error.__cause__}" if error.__cause__ else str(error)
        import ray

        if "Version mismatch" in text:
            found = re.findall(r"(Ray|Python): ?([\w.]+)", text)
            words = ", ".join(f"{name} {version}" for name, version in found[:2])
            python = ".".join(map(str, sys.version_info[:2]))
            return UserError(
                f"the Ray cluster at {self._named} was started with {words or 'another version'}; "
                f"farm here has Ray {ray.__version__}, Python {python}",
                "start the cluster with the Python that has this farm",
            )
        if "No node info found" in text:
            return UserError(
                f"this host is no node of the Ray cluster at {self._named}",
                f"a run's driver is on one of its nodes: ray start --address={self._named}",
            )
        if isinstance(error, ConnectionError | ray.exceptions.AuthenticationError):
            own = [n for n in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH") if os.environ.get(n)]
            token = own[0] if own else TOKEN
            return UserError(
                f"the Ray cluster at {self._named} does not let this driver in "
                f"(token: {token if own or TOKEN.expanduser().exists() else 'none'}), or is none",
                f"it needs the cluster's own token in {TOKEN}, or RAY_AUTH_TOKEN_PATH=FILE; for a "
                "cluster that asks for none, RAY_AUTH_MODE=disabled (docs/how-to/clusters.md)",
            )
        return RayDown(
            f"the Ray cluster at {self._named} could not be joined: {text[:300]}",
            "see driver.log in the run's folder; `farm resume` tries again",
        )
