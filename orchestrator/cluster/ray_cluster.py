"""The Ray cluster of a run, whether farm started it (`own.py`) or it was there (`joined.py`).

Used in the driver process. What computes runs on the driver's node, which has the store's files
and the toolchains; boards of a site are driven from a node that carries the site's label.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from orchestrator.cluster import probe
from orchestrator.cluster.environment import farm_variables
from orchestrator.cluster.errors import NodeLost, RayDown
from orchestrator.cluster.joined import ExistingCluster
from orchestrator.cluster.nodes import (
    LABEL,
    Node,
    check_farm,
    check_sites,
    is_loopback,
    site_of,
)
from orchestrator.cluster.own import OwnHead
from orchestrator.cluster.watch import ProcessWatch
from orchestrator.errors import FarmError, TransientError, UserError
from orchestrator.fleet.boards.deadlines import NODE_PROBE_S
from orchestrator.specs.inventory import Board

POLL_S = 0.1
Level = Literal["info", "warning"]


class RayCluster:
    """The nodes of a run's Ray, entered in the background. Thread-safe.

    Work that needs no Ray can begin meanwhile; all other methods than `start` and `wait` are for
    afterwards.

    Args:
        way: how it is entered.
        boards: those with something to do.

    Attributes:
        cpus: how many computing tasks it runs at once.
        folder: the run's working directory on this host.
        notes: what a person should read of it.
    """

    def __init__(self, way: OwnHead | ExistingCluster, boards: Sequence[Board] = ()) -> None:
        self._way, self._boards = way, boards
        self._address = ""
        self._here = Node("", "")
        self._guard = threading.Lock()
        self._proved: dict[str, dict[str, Any]] = {}
        self._actors: dict[str, int] = {}
        self._watch: ProcessWatch | None = None
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._stopped = threading.Event()
        self._late_at = 0.0
        self.cpus = os.cpu_count() or 1
        self.folder = os.getcwd()
        self.notes: list[tuple[Level, str]] = []

    @classmethod
    def named(cls, address: str, state: Path, boards: Sequence[Board]) -> RayCluster:
        """The cluster at an address, or one of farm's own where that is empty.

        Raises:
            UserError: there is no place for the sockets of farm's own.
        """
        cpus = os.cpu_count() or 1
        return cls(ExistingCluster(address) if address else OwnHead(state, cpus), boards)

    @property
    def shared(self) -> bool:
        """Whether others may use it too, and it stays after the run."""
        return self._way.shared

    @property
    def up(self) -> bool:
        """Whether it is entered, so that tasks can be given to it."""
        return self._ready.is_set() and self._error is None

    @property
    def settled(self) -> bool:
        """Whether it is entered, or known not to be: nothing is gained by waiting longer."""
        return self._ready.is_set() or time.monotonic() > self._late_at

    def start(self) -> None:
        """Begin to enter it; returns at once."""
        self._late_at = time.monotonic() + self._way.within_s
        threading.Thread(target=self._enter, name="ray-start", daemon=True).start()

    def wait(self, stop: threading.Event | None = None) -> None:
        """Wait until it is entered.

        Args:
            stop: set when the run is to end early.

        Raises:
            RayDown: it did not come up in time, a node of it does not answer, or `stop` is set.
            UserError: a cluster that is to be joined cannot be, or does not fit this run.
        """
        while not self._ready.wait(POLL_S):
            if stop is not None and stop.is_set():
                raise RayDown("stopped")
            if time.monotonic() > self._late_at:
                raise self._way.late
        if isinstance(self._error, FarmError):
            raise type(self._error)(self._error.message, self._error.hint) from self._error
        if self._error is not None:
            raise self._error

    def _enter(self) -> None:
        try:
            self._address = self._way.enter()
            self._take_nodes()
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()
        # Ray's processes die with the thread that started them (prctl PDEATHSIG), so it stays.
        self._stopped.wait()

    def _take_nodes(self) -> None:
        """Find this host's node, and see that the cluster fits this run.

        Raises:
            UserError: Ray may use no processor here, the cluster asks for no token, a site has no
                node, or a node runs another farm.
            NodeLost: none of a site's nodes answers.
        """
        import ray

        own = ray.get_runtime_context().get_node_id()
        entry = next(node for node in ray.nodes() if node["NodeID"] == own)
        self._here = Node.of(entry)
        self.cpus = int(min(self._here.cpus, os.cpu_count() or 1))
        if self.shared:
            self._check_shared()
        raylet = f"{self._here.address}:{entry['NodeManagerPort']}"
        self._watch = ProcessWatch({"gcs_server": self._address, "raylet": raylet})

    def _check_shared(self) -> None:
        if self.cpus < 1:
            raise UserError(
                f"Ray may use no processor of this host, node {self._here.words} of the cluster",
                "calibrating, quantizing and scoring need one: `ray start --num-cpus=1` or more",
            )
        nodes = self.nodes()
        check_sites(self._boards, nodes, self._here, self._address)
        sites = {self.site_of(board) for board in self._boards}
        away = [node for node in nodes if node.alive and node.site and node.site in sites]
        self._prove([self._here, *away])
        self._check_token()
        words = f"joined the Ray cluster at {self._address}: this host is node {self._here.words}"
        proved = [n for n in nodes if n.id in self._proved and n.id != self._here.id]
        self.notes.append(
            ("info", words + "".join(f"; driven from node {n.words}" for n in proved))
        )

    def _check_token(self) -> None:
        """See that the cluster asks for a token, unless the user says that it need not.

        Raises:
            UserError: it does not; its workers could not talk back to a driver that does.
        """
        if self._proved[self._here.id]["token"]:
            return
        words = (
            f"the Ray cluster at {self._address} asks for no token: whoever reaches its ports can "
            "run programs on all its nodes"
        )
        if os.environ["RAY_AUTH_MODE"] == "token":
            raise UserError(
                words,
                "start it with RAY_AUTH_MODE=token (docs/how-to/clusters.md), or, where nobody "
                "else reaches it: RAY_AUTH_MODE=disabled farm run ...",
            )
        if not is_loopback(self._address):
            self.notes.append(("warning", f"{words} (docs/how-to/clusters.md)"))

    def nodes(self) -> list[Node]:
        """All nodes that Ray has known since it began, the dead ones too."""
        import ray

        return [Node.of(entry) for entry in ray.nodes()]

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
        own = probe.look()
        silent: dict[str, str] = {}
        asked: dict[Any, Node] = {}
        for node in nodes:
            remote = ray.remote(num_cpus=0, max_retries=0, **_on(node.id))(probe.look)
            asked[remote.remote()] = node
            silent[node.site] = f"Ray's node {node.words} does not answer"
        end = time.monotonic() + NODE_PROBE_S
        while silent and asked and time.monotonic() < end:
            for reference in ray.wait(list(asked), timeout=0.5)[0]:
                node = asked.pop(reference)
                try:
                    report = ray.get(reference)
                except ray.exceptions.RayError as error:
                    why = f"Ray's node {node.words} does not answer ({type(error).__name__})"
                    silent |= {node.site: why} if node.site in silent else {}
                    continue
                check_farm(node, report, own)
                silent.pop(node.site, None)
                with self._guard:
                    self._proved[node.id] = report
        for why in silent.values():
            raise NodeLost(why, "see `ray status` and driver.log of the run; `farm resume` goes on")

    def here(self) -> dict[str, Any]:
        """Ray options of what needs this host's files."""
        return _on(self._here.id)

    def site_of(self, board: Board) -> str:
        """The site from which a board is driven; empty for this host.

        A head of farm's own drives the boards of all sites.
        """
        return site_of(board, self._here) if self.shared else ""

    def node_of(self, site: str) -> str:
        """The node for a new host actor of a site, of several the one with the fewest actors.

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
            f"the site {site} has no node in the Ray cluster at {self._address}",
            f"on a machine there: ray start --address={self._address} --labels={LABEL}={site}; "
            "`farm resume` goes on",
        )

    def doubt(self, node_id: str) -> None:
        """An actor died there: another node goes first, and it is looked at again before use."""
        with self._guard:
            self._proved.pop(node_id, None)

    def at(self, node_id: str) -> dict[str, Any]:
        """Ray options of a host actor: that node and no other, at once or not at all."""
        # A head of farm's own has this process's environment already.
        inherits = self.shared and node_id == self._here.id
        own = {"runtime_env": {"env_vars": farm_variables()}} if inherits else {}
        return _on(node_id) | own

    def lost(self, node_id: str) -> bool:
        """Whether a node is gone."""
        return not any(node.id == node_id and node.alive for node in self.nodes())

    def words(self, node_id: str) -> str:
        """A node for a person."""
        return next((node.words for node in self.nodes() if node.id == node_id), node_id[:8])

    def ended(self) -> TransientError | None:
        """What is said once it is gone, None while it is not."""
        name = self._watch.ended() if self._watch is not None else ""
        if not name:
            return None
        if not self.shared or name == "raylet":
            return RayDown(
                f"Ray's {name} process on this host ended, so this run cannot go on",
                "`farm resume` goes on from what is finished; was memory short? see driver.log",
            )
        return RayDown(
            f"the Ray cluster at {self._address} does not answer any more: its head ended, or the "
            "network did",
            "`farm resume` goes on from what is finished, once the cluster is there again",
        )

    def stop(self) -> None:
        """Leave it: what this run started there ends; one of farm's own ends altogether."""
        self._ready.wait(20)
        if self._watch is not None:
            self._watch.close()
        self._way.leave()
        self._stopped.set()


def _on(node_id: str) -> dict[str, Any]:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False)}
