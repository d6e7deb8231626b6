"""Whether a machine is the one that it should be: its host key, approved by a person."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cli.boards.asking import answer
from orchestrator.cli.boards.fleet import say
from orchestrator.errors import UserError
from orchestrator.fleet.boards.deadlines import ADD_CONNECT_S
from orchestrator.fleet.transport.jump_hosts import Place, scan_host_key
from orchestrator.fleet.transport.known_keys import HostKey, Pin, check_host_key, pins_of_user
from orchestrator.fleet.transport.openssh_config import Target

KNOWN_HOSTS = Path("~/.ssh/known_hosts")


def approve(
    name: str,
    target: Target,
    given: str | None,
    *,
    ask: bool,
    way: tuple[Place, ...] = (),
    option: str = "--host-key",
) -> HostKey:
    """The host key that this machine shows, once a person has approved it.

    Approved is what `--host-key` names, what `ssh` itself already knows, or what a person at the
    terminal says yes to. Nothing else: not even `--yes`.

    Raises:
        ChangedHostKey: (a BoardError) it is another than the approved one.
        UserError: nobody approved it.
    """
    named = (Pin.parse(given),) if given else ()
    shown = scan_host_key(name, target.host, target.port, ADD_CONNECT_S, way, KNOWN_HOSTS)
    address = f"{target.host}:{target.port}"
    known = pins_of_user(target.host, target.port, KNOWN_HOSTS.expanduser())
    pins = named or tuple(pin for pin in known if _same_kind(pin, shown))
    if pins:
        check_host_key(pins, shown, board=name, address=address)
        say(f"{address} shows its approved host key {shown.fingerprint}")
        return shown
    say(f"{address} shows the host key {shown.kind}")
    say(f"  {shown.fingerprint}")
    say("  compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the board")
    if ask and sys.stdin.isatty() and _approved(shown):
        return shown
    raise UserError(
        f"{name}: the host key of {address} was not approved, so nothing was sent there",
        f"if it is the board's: farm boards add ... {option} {shown.fingerprint}",
    )


def approved_way(
    name: str, target: Target, host_keys: Sequence[str], *, ask: bool
) -> tuple[Place, ...]:
    """The hosts to jump over with their approved host keys, each reached through those before."""
    way: tuple[Place, ...] = ()
    given = list(host_keys)
    for hop in target.jump:
        key = given.pop(0) if given else None
        shown = approve(name, hop, key, ask=ask, way=way, option="--jump-host-key")
        way += (Place(hop.host, hop.port, hop.user, hop.key, shown.line),)
    return way


def _same_kind(pin: Pin, shown: HostKey) -> bool:
    return pin.key is None or pin.key.kind == shown.kind


def _approved(shown: HostKey) -> bool:
    said = answer("is it the board's? [yes/no, or the fingerprint] ")
    return said.lower() in ("y", "yes") or said.rstrip("=") == shown.fingerprint
