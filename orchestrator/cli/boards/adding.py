"""`farm boards add` and `import`: trust first, then look, then check, then write."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.cli.boards.asking import yes
from orchestrator.cli.boards.check import checked
from orchestrator.cli.boards.entry import ssh_entry, valid
from orchestrator.cli.boards.fleet import Places, printed, reaching, say
from orchestrator.cli.boards.recognising import choose, no_python, probe_lines, room_for_farm
from orchestrator.cli.boards.table import health_lines
from orchestrator.cli.boards.trust import approve, approved_way
from orchestrator.errors import FarmError, UserError
from orchestrator.fleet.boards.deadlines import ADD_CONNECT_S
from orchestrator.fleet.boards.health import Health
from orchestrator.fleet.boards.person import person
from orchestrator.fleet.boards.probing import BoardProbe, probe, recognise, usable_python
from orchestrator.fleet.transport.jump_hosts import Place
from orchestrator.fleet.transport.known_keys import HostKey
from orchestrator.fleet.transport.openssh_config import Target, parse_target, resolved
from orchestrator.fleet.transport.openssh_files import hosts
from orchestrator.fleet.transport.ssh import SshTransport
from orchestrator.specs.inventory import Board, load_inventory
from orchestrator.specs.inventory_edit import add_board
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.transports import SshTransportSpec
from orchestrator.specs.yamlfile import nearest
from orchestrator.store.fleet_entries import Added
from orchestrator.store.fleet_log import FleetLog


@dataclass(frozen=True)
class Adding:
    """How boards are added.

    Attributes:
        config: OpenSSH's configuration.
        key: the private key's file, None for the usual ones.
        jump_host_keys: approved host keys of the hosts on the way, in their order.
        ask: whether a person may be asked.
    """

    places: Places
    config: Path
    key: str | None
    jump_host_keys: tuple[str, ...]
    ask: bool


@dataclass(frozen=True)
class Wanted:
    """What is said of one board; None where it is to be found out."""

    target: Target
    name: str
    kind: str | None = None
    host_key: str | None = None
    python: str | None = None
    jump: str | None = None
    workdir: str | None = None


def import_hosts(adding: Adding, file: Path) -> int:
    """Add every host of a file that the inventory lacks; 1 unless all became ready."""
    if "config" in file.name:
        adding = replace(adding, config=file)
    inventory = adding.places.inventory
    known = _known(inventory)
    code = 0
    for host in hosts(file):
        try:
            target = parse_target(host)
            place = resolved(target, adding.config)
            if (place.host.lower(), place.port) in known:
                say(f"{printed(host)}: already in {inventory}")
                continue
            code = max(code, add(adding, Wanted(target, name_of(target.host))))
        except FarmError as error:
            print(f"farm: {printed(host)}: {error}", file=sys.stderr)
            code = 1
    return code


def name_of(host: str) -> str:
    """A board's name made of a host's: `vim3` of `vim3.lab`, `board-10-0-0-7` of an address."""
    first = host if re.fullmatch(r"[0-9.:A-Fa-f%]+", host) and not host.isalpha() else ""
    text = f"board-{first}" if first else host.split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:63] or "board"


def add(adding: Adding, wanted: Wanted) -> int:
    """Add one board; 0 when it is ready, 1 when it was written but is not.

    Raises:
        UserError: what was said is wrong, or nobody approved the host key; nothing is written.
        FarmError: the board cannot be reached, or no farm can run there; nothing is written.
    """
    inventory, name = adding.places.inventory, wanted.name
    _check_free(inventory, name)
    kinds = load_kinds()
    if wanted.kind is not None and wanted.kind not in kinds:
        raise UserError(f"--kind: unknown kind {wanted.kind!r}{nearest(wanted.kind, kinds)}")
    target = resolved(wanted.target, adding.config, wanted.jump)
    if adding.key:
        target = replace(target, key=adding.key)
    ssh = ssh_entry(target)
    # The name goes through the same rules as the file's before anything is connected.
    valid(Board, {"name": name, "kind": "host-cpu", "transport": {"ssh": ssh}})
    way = approved_way(name, target, adding.jump_host_keys, ask=adding.ask)
    if way:
        ssh["jump"] = [_hop(place) for place in way]
    approved = approve(name, target, wanted.host_key, ask=adding.ask, way=way)
    ssh["host_key"] = approved.line
    adding.places.check_log()
    found = _looked_at(name, target, approved, way)
    for line in probe_lines(found):
        say(f"  {line}")
    chosen = choose(name, wanted.kind, recognise(found, kinds.values()), kinds, ask=adding.ask)
    entry: dict[str, Any] = {"name": name, "kind": chosen.name, "transport": {"ssh": ssh}}
    python = wanted.python or usable_python(found)
    if python is None:
        raise no_python(name, found)
    if python != "python3":
        entry["python"] = python
    workdir = wanted.workdir or room_for_farm(found)
    if workdir is not None:
        say(f"  workdir   {printed(workdir)}")
        entry["workdir"] = workdir
    return _check_and_write(adding, entry, found)


def _looked_at(name: str, target: Target, host_key: HostKey, way: tuple[Place, ...]) -> BoardProbe:
    transport = SshTransport(
        name,
        target.host,
        port=target.port,
        user=target.user,
        key_file=target.key,
        host_key=host_key.line,
        jump=way,
    )
    try:
        transport.connect(ADD_CONNECT_S)
        return probe(transport, load_kinds().values(), board=name)
    finally:
        transport.close()


def _check_and_write(adding: Adding, entry: dict[str, Any], found: BoardProbe) -> int:
    places, name = adding.places, entry["name"]
    health = _check(places, entry, found)
    for line in health_lines(valid(Board, entry), health):
        say(line)
    if adding.ask and not yes(f"write {name} into {places.inventory}?"):
        say("nothing was written")
        return 1
    board = add_board(places.inventory, entry)
    log = FleetLog(places.runs)
    done = health.entry(board, person())
    log.append(Added(board=name, by=person(), identity=done.identity, probe=found.to_json()))
    log.append(done)
    say(f"{name}: written into {places.inventory}")
    if health.state != "ready":
        say(f"{name} gets no work before `farm boards check {name}` finds it ready")
        return 1
    return 0


def _check(places: Places, entry: dict[str, Any], found: BoardProbe) -> Health:
    board = valid(Board, entry)
    with reaching(places, "farm boards add") as address:
        return checked(board, address, also=found.runtimes)


def _hop(place: Place) -> dict[str, Any]:
    ssh = ssh_entry(Target(place.host, place.port, place.user, place.key_file))
    return ssh | {"host_key": place.host_key}


def _check_free(inventory: Path, name: str) -> None:
    if inventory.exists():
        taken = {board.name.lower() for board in load_inventory(inventory).boards}
        if name.lower() in taken:
            raise UserError(
                f"{inventory}: there is a board {name!r} already", "choose another with --name"
            )


def _known(inventory: Path) -> set[tuple[str, int]]:
    if not inventory.exists():
        return set()
    boards = load_inventory(inventory).boards
    return {
        (board.transport.host.lower(), board.transport.port)
        for board in boards
        if isinstance(board.transport, SshTransportSpec)
    }
