"""`farm boards add` and `import`: trust first, then look, then prove, then write."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from orchestrator.cli.boards import by, checked, printed, reaching, say
from orchestrator.cli.boards_show import health_lines
from orchestrator.errors import BoardError, FarmError, UserError
from orchestrator.fleet.boards.health import Health
from orchestrator.fleet.boards.probing import (
    BoardProbe,
    Recognition,
    probe,
    recognise,
    usable_python,
)
from orchestrator.fleet.transport.known_keys import HostKey, Pin, check_host_key, pins_of_user
from orchestrator.fleet.transport.openssh_config import Target, parse_target, resolved
from orchestrator.fleet.transport.openssh_files import hosts
from orchestrator.specs.base import Spec, problems_of
from orchestrator.specs.inventory import Board, SshTransportSpec, load_inventory
from orchestrator.specs.inventory_edit import add_board
from orchestrator.specs.kinds import Kind, load_kinds
from orchestrator.specs.yamlfile import Source, nearest
from orchestrator.store.fleet_entries import Added
from orchestrator.store.fleet_log import FleetLog

if TYPE_CHECKING:
    from orchestrator.fleet.transport.jump_hosts import Place

CONNECT_S = 20.0
KNOWN_HOSTS = Path("~/.ssh/known_hosts")
_SKEW_S = 3600.0


def add(arguments: argparse.Namespace) -> int:
    """Add one board; 0 when it is ready, 1 when it was written but is not."""
    wanted = parse_target(arguments.target)
    name = arguments.name or name_of(wanted.host)
    return _add(arguments, wanted, name, arguments.kind, arguments.host_key, arguments.python)


def import_hosts(arguments: argparse.Namespace) -> int:
    """Add every host of a file that the inventory lacks; 1 unless all became ready."""
    file = Path(arguments.file)
    if "config" in file.name:
        arguments.config = arguments.file
    known = _known(Path(arguments.inventory))
    code = 0
    for host in hosts(file):
        try:
            wanted = parse_target(host)
            place = resolved(wanted, Path(arguments.config))
            if (place.host.lower(), place.port) in known:
                say(f"{printed(host)}: already in {arguments.inventory}")
                continue
            code = max(code, _add(arguments, wanted, name_of(wanted.host), None, None, None))
        except FarmError as error:
            print(f"farm: {printed(host)}: {error}", file=sys.stderr)
            code = 1
    return code


def name_of(host: str) -> str:
    """A board's name made of a host's: `vim3` of `vim3.lab`, `board-10-0-0-7` of an address."""
    first = host if re.fullmatch(r"[0-9.:A-Fa-f%]+", host) and not host.isalpha() else ""
    text = f"board-{first}" if first else host.split(".")[0]
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:63] or "board"


def _add(
    arguments: argparse.Namespace,
    wanted: Target,
    name: str,
    kind: str | None,
    host_key: str | None,
    python: str | None,
) -> int:
    from orchestrator.fleet.transport.ssh import SshTransport

    inventory = Path(arguments.inventory)
    _check_free(inventory, name)
    kinds = load_kinds()
    if kind is not None and kind not in kinds:
        raise UserError(f"--kind: unknown kind {kind!r}{nearest(kind, kinds)}")
    target = resolved(wanted, Path(arguments.config), arguments.jump)
    if arguments.key:
        target = replace(target, key=arguments.key)
    ssh = _ssh(target)
    # The name goes through the same rules as the file's before anything is connected.
    _valid(Board, {"name": name, "kind": "host-cpu", "transport": {"ssh": ssh}})
    way = _approved_way(name, target, arguments)
    if way:
        ssh["jump"] = [_hop(place) for place in way]
    approved = approve(name, target, host_key, ask=not arguments.yes, way=way)
    ssh["host_key"] = approved.line
    transport = SshTransport(
        name,
        target.host,
        port=target.port,
        user=target.user,
        key_file=target.key,
        host_key=approved.line,
        jump=way,
    )
    try:
        transport.connect(CONNECT_S)
        found = probe(transport, kinds.values(), board=name)
    finally:
        transport.close()
    for line in probe_lines(found):
        say(f"  {line}")
    chosen = _choose(name, kind, recognise(found, kinds.values()), kinds, ask=not arguments.yes)
    python = python or usable_python(found)
    if python is None:
        raise _no_python(name, found)
    entry: dict[str, Any] = {"name": name, "kind": chosen.name, "transport": {"ssh": ssh}}
    if python != "python3":
        entry["python"] = python
    workdir = arguments.workdir or room_for_farm(found)
    if workdir is not None:
        say(f"  workdir   {printed(workdir)}")
        entry["workdir"] = workdir
    health = _prove(arguments, entry, found)
    for line in health_lines(_valid(Board, entry), health):
        say(line)
    if not arguments.yes and not _yes(f"write {name} into {inventory}?"):
        say("nothing was written")
        return 1
    board = add_board(inventory, entry)
    log = FleetLog(Path(arguments.runs))
    done = health.entry(board, by())
    log.append(Added(board=name, by=by(), identity=done.identity, probe=found.to_json()))
    log.append(done)
    say(f"{name}: written into {inventory}")
    if health.state != "ready":
        say(f"{name} gets no work before `farm boards check {name}` finds it ready")
        return 1
    return 0


# ---- trust


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
    from orchestrator.fleet.transport.jump_hosts import scan_host_key

    named = (Pin.parse(given),) if given else ()
    shown = scan_host_key(name, target.host, target.port, CONNECT_S, way, KNOWN_HOSTS)
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


def _approved_way(name: str, target: Target, arguments: argparse.Namespace) -> tuple[Place, ...]:
    """The hosts to jump over with their approved host keys, each reached through those before."""
    from orchestrator.fleet.transport.jump_hosts import Place

    way: tuple[Place, ...] = ()
    given = list(arguments.jump_host_key)
    for hop in target.jump:
        key = given.pop(0) if given else None
        ask = not arguments.yes
        shown = approve(name, hop, key, ask=ask, way=way, option="--jump-host-key")
        way += (Place(hop.host, hop.port, hop.user, hop.key, shown.line),)
    return way


def _hop(place: Place) -> dict[str, Any]:
    ssh = _ssh(Target(place.host, place.port, place.user, place.key_file))
    return ssh | {"host_key": place.host_key}


def _same_kind(pin: Pin, shown: HostKey) -> bool:
    return pin.key is None or pin.key.kind == shown.kind


def _approved(shown: HostKey) -> bool:
    answer = _answer("is it the board's? [yes/no, or the fingerprint] ")
    return answer.lower() in ("y", "yes") or answer.rstrip("=") == shown.fingerprint


def _yes(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UserError(f"{question} there is nobody to ask", "say --yes")
    return _answer(f"{question} [yes/no] ").lower() in ("y", "yes")


def _answer(question: str) -> str:
    try:
        return input(question).strip()
    except EOFError:
        return ""


# ---- what it is


def probe_lines(found: BoardProbe) -> list[str]:
    """What a probe found, for a person."""
    lines = [
        ("board", found.model or "no device tree"),
        ("chip", " ".join(dict.fromkeys((*found.soc, found.cpu)))),
        ("system", f"{found.os}, Linux {found.kernel}, {found.machine}"),
        ("memory", f"{found.memory_bytes / (1 << 30):.1f} GiB, {found.cores} cores"),
        ("Python", ", ".join(dict.fromkeys(version for _, version in found.pythons))),
        ("libraries", ", ".join(f"{n} {e.version}".strip() for n, e in found.libraries.items())),
        ("packages", ", ".join(f"{n} {v}".strip() for n, v in found.packages.items())),
        ("drivers", ", ".join(f"{n} {v}".strip() for n, v in found.drivers.items())),
        ("devices", ", ".join(found.devices)),
        ("tree", ", ".join(found.compatible)),
        ("heat", ", ".join(f"{n} {v:.0f} °C" for n, v in found.temperatures_c.items())),
        ("clocks", ", ".join(f"{n} {c.now_mhz:.0f} MHz" for n, c in found.clocks.items())),
    ]
    told = [f"{name:<9} {printed(text)}" for name, text in lines if text.strip()]
    if found.clock_behind_s is not None and abs(found.clock_behind_s) > _SKEW_S:
        told.append(
            f"calendar  {abs(found.clock_behind_s) / 86400:.1f} days "
            f"{'behind' if found.clock_behind_s > 0 else 'ahead'}; farm does not rely on it"
        )
    if not found.home_writable:
        told.append("home      not writable")
    return told


def _choose(
    name: str, given: str | None, seen: Recognition, kinds: Mapping[str, Kind], *, ask: bool
) -> Kind:
    for note in seen.notes:
        say(f"  note      {printed(note)}")
    if given is not None:
        if seen.kind is not None and seen.kind.name != given:
            say(f"  kind      {given}, as you say; it looks like {seen.kind.name}")
        return kinds[given]
    if seen.kind is None:
        raise UserError(
            f"{name}: not recognised: {printed('; '.join(seen.notes))}",
            f"say which kind it is with --kind; there are: {', '.join(kinds)}",
        )
    say(f"  kind      {seen.kind.name}: {printed(seen.because)}")
    if seen.certain or (ask and sys.stdin.isatty() and _yes(f"is it a {seen.kind.name}?")):
        return seen.kind
    raise UserError(
        f"{name}: it is only likely that this is a {seen.kind.name}: "
        + printed("; ".join((seen.because, *seen.notes))),
        f"if it is: --kind {seen.kind.name}",
    )


def room_for_farm(found: BoardProbe) -> str | None:
    """A folder for farm where the user's home cannot be written; None when it can."""
    if found.home_writable or not found.writable:
        return None
    return found.writable[0] + "/farm"


def _no_python(name: str, found: BoardProbe) -> BoardError:
    old = ", ".join(version for _, version in found.pythons)
    return BoardError(
        f"{name}: no Python 3.6 or later there" + (f" (only {old})" if old else ""),
        "nothing was written. Install one on the board (`apt-get install python3-minimal`, `opkg "
        "install python3-light`), or copy a portable build for its processor "
        f"({found.machine or 'see uname -m'}) to it and name it with --python /path/to/python3",
    )


def _prove(arguments: argparse.Namespace, entry: dict[str, Any], found: BoardProbe) -> Health:
    board = _valid(Board, entry)
    with reaching(arguments, "farm boards add") as address:
        return checked(board, address, also=found.runtimes)


# ---- the entry


def _ssh(target: Target) -> dict[str, Any]:
    ssh: dict[str, Any] = {"host": target.host}
    if target.port != 22:
        ssh["port"] = target.port
    if target.user is not None:
        ssh["user"] = target.user
    if target.key is not None:
        ssh["key"] = target.key
    _valid(SshTransportSpec, ssh)
    return ssh


S = TypeVar("S", bound=Spec)


def _valid(cls: type[S], data: dict[str, Any]) -> S:
    try:
        return cls.model_validate(data)
    except ValidationError as error:
        words = "; ".join(p.text for p in problems_of(error, cls, Source("")))
        shown = ", ".join(f"{k} {v!r}" for k, v in data.items() if k in ("name", "host", "user"))
        raise UserError(
            f"not a valid entry ({shown}): {words}", "see `farm boards add --help`"
        ) from None


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
