"""Boards in words: where each is, how it stands, what its checks found."""

from __future__ import annotations

import time
from typing import Any

from orchestrator.counting import counted
from orchestrator.fleet.transport.untrusted import headline
from orchestrator.specs.inventory import Board
from orchestrator.specs.runtimes import inventory_runtimes
from orchestrator.specs.transports import SshTransportSpec
from orchestrator.store.fleet_entries import Described, Proof
from orchestrator.store.fleet_log import Standing
from orchestrator.store.reservations import holder

_NO_DRIVERS = {"agent", "python", "os", "kernel"}


def reserved_words(standing: Standing) -> str:
    """Whose the board is now and how many come next; empty when it is nobody's."""
    now = holder(standing.reserved, time.time())
    if now is None:
        return ""
    more = len(standing.reserved) - 1
    return now.words + (f"; {counted(more, 'reservation')} after it" if more else "")


def state_now(standing: Standing, holder: Any) -> tuple[str, str]:
    """State and reason, with what the board itself said of its lock just now."""
    if isinstance(holder, str):
        return "unreachable", holder
    if isinstance(holder, dict) and holder and standing.state != "quarantined":
        held = f"held by {holder.get('owner') or 'somebody'} ({holder.get('reason') or '–'})"
        reserved = reserved_words(standing)
        return "draining" if standing.drained else "busy", "; ".join(filter(None, (held, reserved)))
    return standing_words(standing)


def standing_words(standing: Standing) -> tuple[str, str]:
    """State and reason as the fleet log has them, reservations included."""
    reserved = reserved_words(standing)
    state = "reserved" if reserved and standing.state == "ready" else standing.state
    return state, "; ".join(filter(None, (standing.reason, reserved)))


def doubt(standing: Standing) -> str:
    """Why the board is not what its entry says, and which versions there do not fit."""
    described = standing.described
    words = f"an emulator: {described.emulator}" if described.emulator else described.contradicts
    return "; ".join(filter(None, (words, *described.mismatches)))


def described_lines(kind: str, described: Described) -> list[tuple[str, str]]:
    """What a board is by its own files, with what speaks against its kind."""
    lines = [
        ("it is", described.board),
        ("emulator", described.emulator),
        (f"no {kind}", described.contradicts),
        ("unseen", ", ".join(described.unseen)),
    ]
    lines += [("versions", words) for words in described.mismatches]
    return [(name, text) for name, text in lines if text]


def proof_words(proof: Proof) -> str:
    """A proof in words."""
    what = " ".join(part for part in (proof.version, proof.provider) if part)
    if proof.proved:
        return f"passed {what}".strip()
    word = "check failed" if proof.tried else "not checked"
    return word + (f" ({what})" if what else "") + f": {proof.reason}"


def place(board: Board) -> str:
    """Where a board is."""
    transport = board.transport
    if isinstance(transport, SshTransportSpec):
        user = f"{transport.user}@" if transport.user else ""
        over = "".join(f" over {hop.host}:{hop.port}" for hop in transport.jump)
        return f"{user}{transport.host}:{transport.port}{over}"
    if board.machine:
        return f"emulated on this host as {board.machine}"
    places = {"local": "this host", "emulated": "emulated on this host"}
    return places.get(transport.type, "simulator on this host")


def where(board: Board) -> str:
    """Transport and address: `ssh khadas@192.168.1.20:22`, or how it is on this host."""
    ssh = isinstance(board.transport, SshTransportSpec)
    return f"ssh {place(board)}" if ssh else place(board)


def age(at: float | None) -> str:
    """How long ago, in words."""
    if at is None:
        return "never"
    seconds = max(0.0, time.time() - at)
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (172800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds / 86400:.0f} d ago"


def runtime_words(board: Board, standing: Standing) -> str:
    """The runtime and, where the board tells them, the accelerator's driver, with versions."""
    versions = standing.versions
    version = versions.get(board.runtime.name, "")
    others = {*_NO_DRIVERS, *inventory_runtimes(), board.runtime.name}
    drivers = [
        f"{name} {headline(versions[name], 24)}" for name in sorted(versions) if name not in others
    ]
    return ", ".join([f"{board.runtime.name} {version}".strip(), *drivers])
