"""A Ray cluster that was there before the run and stays after it; see docs/clusters.md.

Called in the driver process. What computes runs on the driver's node, which has the store's files
and the toolchains; boards of a site are driven from a node that carries the site's label.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.cluster import probe
from orchestrator.cluster.interfaces import Level
from orchestrator.cluster.nodes import LABEL, REACH_S, Node, check_farm, check_sites, reach, site_of
from orchestrator.cluster.own import NodeLost, RayDown, farm_variables
from orchestrator.errors import TransientError, UserError
from orchestrator.specs.inventory import Board

PROBE_S = 60.0
JOIN_S = 90.0
SILENT_S = 15.0
LOOK_EVERY_S = 2.0
TOKEN = Path("~/.ray/auth_token")


class JoinedRay:
    """A cluster that others may use too. Thread-safe once joined."""

    def __init__(self, address: str) -> None:
        self._named = address
        self._here = Node("", "")
        self._own = probe.look()
        self._guard = threading.Lock()
        self._proved: dict[str, dict[str, Any]] = {}
        self._actors: dict[str, int] = {}
        self._silent_since: float | None = None
        self._closing = threading.Event()
        self.cpus = 1
        self.folder = os.getcwd()
        self.notes: list[tuple[Level, str]] = []

    def join_unless(self, stop: threading.Event, boards: Iterable[Board]) -> None:
        """As `join`, but given up when the run is being stopped, or Ray hangs.

        Raises:
            UserError, RayDown: as `join`.
        """
        raised: list[BaseException] = []

        def work() -> None:
            try:
                self.join(boards)
            except BaseException as error:
                raised.append(error)

        # What hangs in it ends with the driver.
        thread = threading.Thread(target=work, name="ray-join", daemon=True)
        thread.start()
        end = time.monotonic() + JOIN_S
        while thread.is_alive():
            thread.join(0.1)
            if stop.is_set():
                raise RayDown("stopped")
            if time.monotonic() > end:
                raise RayDown(
                    f"the Ray cluster at {self._named} was not joined within {JOIN_S:.0f} s",
                    "do the nodes reach each other both ways? docs/clusters.md names the ports",
                )
        if raised:
            raise raised[0]

    def join(self, boards: Iterable[Board]) -> None:
        """Become a part of the cluster, and see that it fits this run.

        Args:
            boards: those with something to do.

        Raises:
            UserError: no cluster answers, its token is another, this host is none of its nodes,
                it asks for no token, a site has no node, or a node runs another farm.
            RayDown: a node of it does not answer.
        """
        there = reach(self._named)
        _environment(there.loopback)
        import ray

        try:
            ray.init(address=there.address, log_to_driver=True, logging_level=logging.ERROR)
        except Exception as error:
            raise self.refused(error) from error
        self._named = there.address
        nodes = self.nodes()
        own = ray.get_runtime_context().get_node_id()
        self._here = next(node for node in nodes if node.id == own)
        self.cpus = int(min(self._here.cpus, os.cpu_count() or 1))
        if self.cpus < 1:
            raise UserError(
                f"Ray may use no processor of this host, node {self._here.words} of the cluster",
                "calibrating, quantizing and scoring need one: `ray start --num-cpus=1` or more",
            )
        boards = list(boards)
        check_sites(boards, nodes, self._here, self._named)
        sites = sorted({site_of(board, self._here) for board in boards})
        away = [node for node in nodes if node.alive and node.site and node.site in sites]
        self._prove([self._here, *away])
        self._check_token(there.loopback)
        self._say(nodes)
        threading.Thread(target=self._watch, name="ray-watch", daemon=True).start()

    def _say(self, nodes: list[Node]) -> None:
        away = [n for n in nodes if n.id in self._proved and n.id != self._here.id]
        words = f"joined the Ray cluster at {self._named}: this host is node {self._here.words}"
        self.notes.append(("info", words + "".join(f"; driven from node {n.words}" for n in away)))

    def _check_token(self, loopback: bool) -> None:
        """See that the cluster asks for a token, unless the user says that it need not.

        Raises:
            UserError: it does not; its workers could not talk back to a driver that does.
        """
        if self._proved[self._here.id]["token"]:
            return
        words = (
            f"the Ray cluster at {self._named} asks for no token: whoever reaches its ports can "
            "run programs on all its nodes"
        )
        if os.environ["RAY_AUTH_MODE"] == "token":
            raise UserError(
                words,
                "start it with RAY_AUTH_MODE=token (docs/clusters.md), or, where nobody else "
                "reaches it: RAY_AUTH_MODE=disabled farm run ...",
            )
        if not loopback:
            self.notes.append(("warning", f"{words} (docs/clusters.md)"))

    def refused(self, error: Exception) -> Exception:
        """Why Ray did not let this driver in, for a person."""
        text = f"{error}; {error.__cause__}" if error.__cause__ else str(error)
        import ray

        if "Version mismatch" in text:
            found = re.findall(r"(Ray|Python): ?([\w.]+)", text)
            words = ", ".join(f"{name} {version}" for name, version in found[:2])
            return UserError(
                f"the Ray cluster at {self._named} was started with {words or 'another version'}; "
                f"farm here has Ray {ray.__version__}, Python {self._own['python']}",
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
                "cluster that asks for none, RAY_AUTH_MODE=disabled (docs/clusters.md)",
            )
        return RayDown(
            f"the Ray cluster at {self._named} could not be joined: {text[:300]}",
            "see driver.log in the run's folder; `farm resume` tries again",
        )

    def nodes(self) -> list[Node]:
        """All nodes that Ray has known since it began, the dead ones too."""
        import ray

        return [Node.of(told) for told in ray.nodes()]

    def _prove(self, nodes: Iterable[Node]) -> None:
        """See that nodes run this farm, until of each site one has answered.

        Ray may count a node as alive for some time after it was lost, beside the one that took
        its place; so not all need to answer.

        Raises:
            UserError: one runs another farm.
            NodeLost: none of a site answers.
        """
        import ray
        import ray.cloudpickle

        ray.cloudpickle.register_pickle_by_value(probe)
        silent: dict[str, str] = {}
        asked: dict[Any, Node] = {}
        for node in nodes:
            remote = ray.remote(num_cpus=0, max_retries=0, **_on(node.id))(probe.look)
            asked[remote.remote()] = node
            silent[node.site] = f"Ray's node {node.words} does not answer"
        end = time.monotonic() + PROBE_S
        while silent and asked and time.monotonic() < end:
            for reference in ray.wait(list(asked), timeout=0.5)[0]:
                node = asked.pop(reference)
                try:
                    told = ray.get(reference)
                except ray.exceptions.RayError as error:
                    why = f"Ray's node {node.words} does not answer ({type(error).__name__})"
                    silent |= {node.site: why} if node.site in silent else {}
                    continue
                check_farm(node, told, self._own)
                silent.pop(node.site, None)
                with self._guard:
                    self._proved[node.id] = told
        for why in silent.values():
            raise NodeLost(why, "see `ray status` and driver.log of the run; `farm resume` goes on")

    # -- as a run's Ray; see `Head` --------------------------------------------------------------

    def start(self) -> None:
        """It is there already."""

    def wait(self, timeout_s: float = 300.0) -> None:
        """It is there already."""

    def here(self) -> dict[str, Any]:
        """Options of what computes: the driver's node."""
        return _on(self._here.id)

    def site_of(self, board: Board) -> str:
        """The site from which a board is driven; empty for the driver's node."""
        return site_of(board, self._here)

    def node_of(self, site: str) -> str:
        """A node that drives a site, of several the one with the fewest host actors.

        Raises:
            NodeLost: there is none now.
            UserError: it runs another farm.
        """
        if not site:
            return self._here.id
        fit = [node for node in self.nodes() if node.alive and node.site == site]
        if not any(node.id in self._proved for node in fit):
            self._prove(fit)
        with self._guard:
            proved = [node.id for node in fit if node.id in self._proved]
            chosen = min(proved, key=lambda node_id: self._actors.get(node_id, 0), default="")
            if chosen:
                self._actors[chosen] = self._actors.get(chosen, 0) + 1
                return chosen
        raise NodeLost(
            f"the site {site} has no node in the Ray cluster at {self._named}",
            f"on a machine there: ray start --address={self._named} --labels={LABEL}={site}; "
            "`farm resume` goes on",
        )

    def doubt(self, node_id: str) -> None:
        """An actor died there: another node goes first, and it is looked at again before use."""
        with self._guard:
            self._proved.pop(node_id, None)

    def at(self, node_id: str) -> dict[str, Any]:
        """Options of a host actor: that node and no other, at once or not at all."""
        own = {"runtime_env": {"env_vars": farm_variables()}} if node_id == self._here.id else {}
        return _on(node_id) | own

    def lost(self, node_id: str) -> bool:
        """Whether a node is gone."""
        return not any(node.id == node_id and node.alive for node in self.nodes())

    def words(self, node_id: str) -> str:
        """A node for a person."""
        return next((node.words for node in self.nodes() if node.id == node_id), node_id[:8])

    @property
    def up(self) -> bool:
        """Whether it was joined."""
        return bool(self._here.id)

    def ended(self) -> TransientError | None:
        """What is said when the cluster is gone."""
        since = self._silent_since
        if since is None or time.monotonic() - since < SILENT_S:
            return None
        return RayDown(
            f"the Ray cluster at {self._named} has not answered for {SILENT_S:.0f} s: its head "
            "ended, or the network did",
            "`farm resume` goes on from what is finished, once the cluster is there again",
        )

    def _watch(self) -> None:
        # Ray itself waits for a minute and then ends the driver without a word.
        while not self._closing.wait(LOOK_EVERY_S):
            try:
                reach(self._named, REACH_S)
            except UserError:
                self._silent_since = self._silent_since or time.monotonic()
            else:
                self._silent_since = None

    def stop(self) -> None:
        """Leave the cluster: what this run started there ends, the cluster stays."""
        self._closing.set()
        import ray

        if ray.is_initialized():
            ray.shutdown()


def _on(node_id: str) -> dict[str, Any]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)}


def _environment(loopback: bool) -> None:
    # Read by Ray when it is imported, so they must be set before.
    usual = {
        "RAY_AUTH_MODE": "token",
        # How long a wrong token, and a host that is no node, are tried for, in seconds.
        "RAY_NUM_REDIS_GET_RETRIES": "5",
        "RAY_gcs_server_request_timeout_seconds": "20",
    }
    if loopback:
        # Else Ray takes 127.0.0.1 for this host's outward address, where nothing listens.
        usual["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    for name, value in usual.items():
        os.environ.setdefault(name, value)
    os.environ.update(
        RAY_USAGE_STATS_ENABLED="0",
        RAY_SCHEDULER_EVENTS="0",
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
    )
    os.environ.pop("RAY_ADDRESS", None)
