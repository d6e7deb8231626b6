"""Nodes of a Ray cluster that a run joins, and the sites that they drive: pure, but for `reach`.

A site is a node's label, `farm-site`: boards of the site are driven from that node, which is on
their network. Boards whose entry names no site are driven from the driver's node.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import UserError
from orchestrator.request import parse_address
from orchestrator.specs.inventory import Board
from orchestrator.specs.transports import SshTransportSpec

LABEL = "farm-site"
REACH_S = 5.0


@dataclass(frozen=True)
class Node:
    """A node as Ray knows it.

    Attributes:
        id: Ray's name of it, hex.
        address: its IP address.
        site: its label `farm-site`, empty without.
        alive: whether Ray counts it as alive.
        cpus: what Ray may use there.
    """

    id: str
    address: str
    host: str = ""
    site: str = ""
    alive: bool = True
    cpus: float = 0.0

    @classmethod
    def of(cls, reported: Mapping[str, Any]) -> Node:
        """One entry of `ray.nodes()`."""
        return cls(
            str(reported["NodeID"]),
            str(reported.get("NodeManagerAddress", "")),
            str(reported.get("NodeManagerHostname", "")),
            str((reported.get("Labels") or {}).get(LABEL, "")),
            bool(reported.get("Alive")),
            float((reported.get("Resources") or {}).get("CPU", 0.0)),
        )

    @property
    def words(self) -> str:
        """How a person knows it."""
        name = f" {self.host}" if self.host not in ("", self.address) else ""
        return f"{self.address}{name} ({LABEL}={self.site})" if self.site else self.address + name


@dataclass(frozen=True)
class Reached:
    """An answering cluster: `address` (IP:port), and whether it is on this host's loopback."""

    address: str
    loopback: bool


def reach(text: str, timeout_s: float = REACH_S) -> Reached:
    """See that a cluster's head listens, which Ray itself would wait minutes for.

    Raises:
        UserError: it does not.
    """
    host, port = parse_address(text)
    try:
        with contextlib.closing(socket.create_connection((host, port), timeout_s)) as found:
            peer = str(found.getpeername()[0]).split("%")[0]
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise UserError(
            f"no Ray cluster answers at {text} ({reason})",
            f"start its head there with `ray start --head --port={port}`, look at a firewall "
            f"between, or leave --ray-address out for a head of farm's own",
        ) from error
    shown = f"[{peer}]" if ":" in peer else peer
    return Reached(f"{shown}:{port}", is_loopback(f"{shown}:{port}"))


def is_loopback(address: str) -> bool:
    """Whether an address (IP:port) is one of this host's loopback: only this host reaches it."""
    try:
        return ipaddress.ip_address(address.rpartition(":")[0].strip("[]")).is_loopback
    except ValueError:
        return False


def site_of(board: Board, here: Node) -> str:
    """The site from which a board is driven; empty for the driver's own node.

    Only what is reached over SSH can be driven from elsewhere.
    """
    named = board.site if "site" in board.model_fields_set else ""
    elsewhere = isinstance(board.transport, SshTransportSpec) and named != here.site
    return named if elsewhere else ""


def check_sites(boards: Iterable[Board], nodes: Sequence[Node], here: Node, address: str) -> None:
    """See that each board can be driven from a node on its network.

    Args:
        boards: those with something to do.
        nodes: the cluster's.
        here: the driver's.
        address: the cluster's.

    Raises:
        UserError: a line for each thing that does not fit, and what to type.
    """
    there = {node.site: node for node in nodes if node.alive and node.site}
    without: dict[str, list[str]] = {}
    problems, hints = [], []
    for board in boards:
        site = site_of(board, here)
        if site and site not in there:
            without.setdefault(site, []).append(board.name)
        elif site:
            problems += _of_this_host(board, there[site])
        elif not isinstance(board.transport, SshTransportSpec):
            named = board.site if "site" in board.model_fields_set else ""
            if named != here.site and named in there:
                problems.append(
                    f"{board.name}: {board.transport.type}, so it is on this host, but its site "
                    f"{named} is that of node {there[named].words}"
                )
                hints.append(f"leave `site:` of {board.name} out")
    for site, names in without.items():
        problems.append(
            f"no node of the Ray cluster at {address} drives the site {site} "
            f"({_listed('board', names)})"
        )
        hints.append(
            f"on a machine in the network of {site}, with this farm in its Python: "
            f"ray start --address={address} --labels={LABEL}={site}"
        )
    if without:
        shown = [n.words + (", this host" if n.id == here.id else "") for n in nodes if n.alive]
        problems.append(f"its nodes: {'; '.join(shown)}")
    if problems:
        hints = hints or ["name a key file of that node, absolute or `~/...`, or leave `key` out"]
        raise UserError("\n".join(problems), "\n  ".join(dict.fromkeys(hints)))


def _of_this_host(board: Board, node: Node) -> list[str]:
    """What an entry says that is true on this host only."""
    assert isinstance(board.transport, SshTransportSpec)
    keys = [place.key for place in (*board.transport.jump, board.transport) if place.key]
    return [
        f"{board.name}: the key {key} is a path of this folder, which node {node.words} does not "
        "see: it logs in with keys of its own"
        for key in keys
        if not key.startswith(("/", "~"))
    ]


def check_farm(node: Node, reported: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """See that a node runs the farm that this host runs.

    Args:
        told, own: what `look` said there and here.

    Raises:
        UserError: it does not; what to type there.
    """
    where = f"Ray's node {node.words}"
    python = f"{reported['executable']} (Python {reported['python']})"
    hint = (
        f"install farm {own['farm']} there, of the same wheel or checkout as here: "
        f"{reported['executable']} -m pip install WHEEL_OR_FOLDER; then start Ray again"
    )
    if reported["python"] != own["python"]:
        raise UserError(
            f"{where} runs {python}, this farm Python {own['python']}",
            f"start Ray there with Python {own['python']}",
        )
    if not reported["farm"]:
        raise UserError(f"{where} has no farm in {python}: {reported['problem']}", hint)
    if reported["farm"] != own["farm"]:
        raise UserError(f"{where} has farm {reported['farm']}, this is farm {own['farm']}", hint)
    if reported["code"] != own["code"]:
        raise UserError(
            f"{where} has farm {reported['farm']} as well, but its code differs from this one's",
            hint,
        )


def _listed(what: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{what}{'s' if len(names) > 1 else ''} {shown}"
