"""`farm boards`: the fleet seen, checked, added to, taken from. Heavy imports wait for a call."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cli import project

if TYPE_CHECKING:
    from orchestrator.fleet.boards.board import Address
    from orchestrator.fleet.boards.health import Health
    from orchestrator.specs.inventory import Board, Inventory
    from orchestrator.store.fleet_log import FleetLog, Standing

WORDS = (
    *("list", "show", "check", "add", "import", "remove"),
    *("drain", "undrain", "who", "release", "wipe"),
)
INVENTORY = "device_inventory.yaml"
AT_ONCE = 8


def add_parser(commands: Any) -> None:
    """Add `boards` to the command line; its parsers carry the function to call as `call`."""
    boards = commands.add_parser("boards", help="see, check, add and remove boards")
    boards.words = WORDS
    actions = boards.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, call: Callable[[argparse.Namespace], int], text: str) -> Any:
        made = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.set_defaults(call=call)
        made.add_argument(
            "--inventory",
            metavar="FILE",
            default=project.INVENTORY,
            help="the boards (%(default)s)",
        )
        made.add_argument("--state", metavar="DIR", default=project.STATE, help=argparse.SUPPRESS)
        made.add_argument(
            "--runs",
            metavar="DIR",
            default=project.RUNS,
            help="where the fleet log is (%(default)s)",
        )
        return made

    def with_json(made: Any) -> None:
        made.add_argument("--json", action="store_true", help="for programs")

    made = action("list", show_list, "every board: place, state, last check, versions, temperature")
    made.add_argument("--live", action="store_true", help="ask each board who uses it now")
    with_json(made)
    made = action("show", show_one, "all that is known of a board")
    made.add_argument("name")
    with_json(made)
    made = action("check", check_boards, "check boards by a tiny real inference")
    made.add_argument("names", nargs="+", metavar="NAME", help="a board, or `all`")
    made.add_argument(
        "--every",
        metavar="TIME",
        type=_interval,
        help="again and again, such as 30m or 6h, until Ctrl-C; boards in use are skipped",
    )
    with_json(made)

    made = action("add", _add, "connect a board, check it and write it into the inventory")
    made.add_argument("target", metavar="[USER@]HOST[:PORT]", help="or a name of ~/.ssh/config")
    made.add_argument("--name", help="in the inventory; made of the host's name when left out")
    made.add_argument("--python", metavar="PATH", help="Python 3.6 or later on the board")
    _adding(made)
    made.add_argument("--kind", help="instead of what the board is recognised as")
    made.add_argument(
        "--host-key",
        metavar="KEY",
        help="the approved host key: SHA256:... or `ssh-ed25519 AAAA...`",
    )
    made.add_argument(
        "--jump", metavar="HOST[,HOST]", help="go through these hosts, as with `ssh -J`"
    )
    made.add_argument("--workdir", metavar="DIR", help="farm's folder on the board (~/.farm)")
    made = action("import", _import, "add every host of an OpenSSH configuration or a list")
    made.add_argument("file", nargs="?", default="~/.ssh/config", help="(%(default)s)")
    _adding(made)

    for name, call, text in (
        ("remove", remove, "take a board out of the inventory"),
        ("drain", drain, "give a board no new work"),
        ("undrain", undrain, "give a board work again"),
        ("who", who, "who holds a board's lock now"),
        ("release", release, "take a board's lock from its holder, whose run is aborted"),
        ("wipe", wipe, "remove all files of farm's from a board"),
    ):
        made = action(name, call, text)
        made.add_argument("name")
        if name in ("drain", "release"):
            made.add_argument("--reason", metavar="TEXT", required=name == "release", default="")
        if name == "who":
            with_json(made)


def _adding(made: Any) -> None:
    made.add_argument("--key", metavar="FILE", help="the private key to log in with")
    made.add_argument(
        "--config", metavar="FILE", default="~/.ssh/config", help="OpenSSH's (%(default)s)"
    )
    made.add_argument(
        "--jump-host-key",
        metavar="KEY",
        action="append",
        default=[],
        help="the approved host key of a jump host; once for each, in their order",
    )
    made.set_defaults(jump=None, workdir=None)
    made.add_argument(
        "--yes", action="store_true", help="ask nothing; does not approve a host key unseen"
    )


def _interval(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    sizes = {"s": 1.0, "m": 60.0, "h": 3600.0}
    if unit not in sizes or not number.isdecimal() or int(number) < 1:
        raise argparse.ArgumentTypeError(f"expected a time such as 30m or 6h, not {text!r}")
    return int(number) * sizes[unit]


def _add(arguments: argparse.Namespace) -> int:
    from orchestrator.cli.boards_add import add

    return add(arguments)


def _import(arguments: argparse.Namespace) -> int:
    from orchestrator.cli.boards_add import import_hosts

    return import_hosts(arguments)


# ---- what the commands share


@dataclass(frozen=True)
class Fleet:
    """The inventory and its log."""

    inventory: Inventory
    log: FleetLog
    standings: dict[str, Standing]

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Fleet:
        """Read both.

        Raises:
            UserError: the inventory is missing or wrong.
        """
        from orchestrator.fleet.boards.entry import identity
        from orchestrator.specs.inventory import load_inventory
        from orchestrator.store.fleet_log import FleetLog

        inventory = load_inventory(arguments.inventory)
        log = FleetLog(Path(arguments.runs))
        ids = {board.name: identity(board) for board in inventory.boards}
        return cls(inventory, log, log.standings(ids))

    def named(self, name: str) -> Board:
        """The board of that name.

        Raises:
            UserError: there is none; names the nearest.
        """
        from orchestrator.errors import UserError
        from orchestrator.specs.yamlfile import nearest

        board = self.inventory.board(name)
        if board is None:
            names = [each.name for each in self.inventory.boards]
            raise UserError(
                f"there is no board {printed(name)!r} in {self.inventory.source.file}"
                + nearest(name, names)
            )
        return board


@contextmanager
def reaching(arguments: argparse.Namespace, doing: str) -> Iterator[Callable[[Board], Address]]:
    """Addresses of boards for the length of a `with`, for which emulated ones live."""
    from orchestrator.fleet.boards.addressing import address_of, me
    from orchestrator.fleet.emulated.boards import EmulatedFleet

    state = Path(arguments.state)
    with EmulatedFleet(state / "emulated") as emulated:
        yield lambda board: address_of(board, owner=me(doing), state=state, emulated=emulated)


def by() -> str:
    """Who acts, for the log."""
    import getpass
    import socket

    return f"{getpass.getuser()}@{socket.gethostname()}"


def printed(text: str) -> str:
    """Text from a board or a log as one line that no terminal acts upon."""
    from orchestrator.fleet.transport.untrusted import headline

    return headline(text, 300)


def say(text: str = "") -> None:
    """Print a line now."""
    print(text, flush=True)


# ---- list, show, check


def show_list(arguments: argparse.Namespace) -> int:
    """The whole fleet."""
    from orchestrator.cli.boards_show import board_json, fleet_table

    fleet = Fleet.of(arguments)
    holders: dict[str, Any] = {}
    if arguments.live:
        holders = _ask_all(arguments, fleet.inventory.boards)
    if arguments.json:
        say(
            json.dumps(
                [board_json(b, fleet.standings[b.name], holders) for b in fleet.inventory.boards],
                indent=1,
            )
        )
    else:
        fleet_table(fleet.inventory.boards, fleet.standings, holders)
    return 0


def show_one(arguments: argparse.Namespace) -> int:
    """One board."""
    from orchestrator.cli.boards_show import SHOWN, board_json, board_page

    fleet = Fleet.of(arguments)
    board = fleet.named(arguments.name)
    standing = fleet.standings[board.name]
    if arguments.json:
        say(json.dumps(board_json(board, standing, {}), indent=1))
    else:
        board_page(board, standing, fleet.log.history(board.name, SHOWN))
    return 0


def check_boards(arguments: argparse.Namespace) -> int:
    """Prove boards, once or periodically; 1 unless all are ready."""
    import time

    while arguments.every is not None:
        began = time.monotonic()
        _check_once(arguments)
        time.sleep(max(0.0, began + arguments.every - time.monotonic()))
    return _check_once(arguments)


def _check_once(arguments: argparse.Namespace) -> int:
    from concurrent.futures import ThreadPoolExecutor

    from orchestrator.cli.boards_show import health_json, health_lines

    fleet = Fleet.of(arguments)
    everyone = "all" in arguments.names
    names = [b.name for b in fleet.inventory.boards] if everyone else arguments.names
    boards = [fleet.named(name) for name in dict.fromkeys(names)]
    found: dict[str, Health] = {}
    with reaching(arguments, "farm boards check") as address:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            toolkits = toolkits_of(fleet.inventory, boards)
            checks = [
                (board, pool.submit(checked, board, address, (), toolkits[board.name]))
                for board in boards
            ]
            for board, future in checks:
                found[board.name] = health = future.result()
                fleet.log.append(health.entry(board, by()))
                if not arguments.json:
                    for line in health_lines(board, health):
                        say(line)
    if arguments.json:
        say(json.dumps({name: health_json(health) for name, health in found.items()}, indent=1))
    return 0 if all(health.state == "ready" for health in found.values()) else 1


def toolkits_of(inventory: Inventory, boards: Iterable[Board]) -> dict[str, str]:
    """What makes each board's files on this head, with its version; empty where nothing does."""
    from orchestrator.errors import FarmError
    from orchestrator.toolchains import toolchain, toolchain_names

    found: dict[str, str] = {}
    for board in boards:
        name = board.toolchain_for("auto")
        found[board.name] = ""
        if board.executed_by == "board" and name.startswith("rknn") and name in toolchain_names():
            told = inventory.toolchains.get(name)
            try:
                chain = toolchain(name, told.to_options() if told else None)
                missing: tuple[str, ...] = getattr(chain, "missing", tuple)()
                found[board.name] = "" if missing else chain.version()
            except FarmError:  # `farm doctor` says what is wrong with it
                continue
    return found


def checked(
    board: Board,
    address: Callable[[Board], Address],
    also: Iterable[str] = (),
    toolkit: str = "",
) -> Health:
    """Check a board, an emulated one that does not start included."""
    from orchestrator.errors import FarmError
    from orchestrator.fleet.boards.health import Health, check

    try:
        place = address(board)
    except FarmError as error:
        return Health("unreachable", error.message, error.hint)
    return check(board, place, also=also, toolkit=toolkit)


def _ask_all(arguments: argparse.Namespace, boards: Sequence[Board]) -> dict[str, Any]:
    """Holder of each board's lock: a mapping, or the words why it was not reported."""
    from concurrent.futures import ThreadPoolExecutor

    from orchestrator.errors import FarmError
    from orchestrator.fleet.boards.addressing import contact

    def ask(board: Board) -> Any:
        try:
            with contact(address(board)) as commands:
                return dict(commands.who())
        except FarmError as error:
            return error.message.removeprefix(f"{board.name}: ")

    with reaching(arguments, "farm boards list") as address:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip([b.name for b in boards], pool.map(ask, boards), strict=True))


# ---- one board's lock and files


def who(arguments: argparse.Namespace) -> int:
    """Who holds the board."""
    from orchestrator.fleet.boards.addressing import contact

    board = Fleet.of(arguments).named(arguments.name)
    with reaching(arguments, "farm boards who") as address, contact(address(board)) as commands:
        holder = dict(commands.who())
    if arguments.json:
        say(json.dumps(holder, indent=1, sort_keys=True))
    elif not holder:
        say(f"{board.name} is free")
    else:
        say(f"{board.name} is held by {_holder(holder)}")
    return 0


def release(arguments: argparse.Namespace) -> int:
    """Take the lock away."""
    from orchestrator.errors import UserError
    from orchestrator.fleet.boards.addressing import contact
    from orchestrator.store.fleet_entries import Released

    reason = printed(arguments.reason)
    if not reason:
        raise UserError("the reason is empty", "its holder will read it: --reason 'board is mine'")
    fleet = Fleet.of(arguments)
    board = fleet.named(arguments.name)
    doing = "farm boards release"
    with reaching(arguments, doing) as address, contact(address(board)) as commands:
        holder = dict(commands.release(reason))
    fleet.log.append(Released(board=board.name, by=by(), reason=reason, holder=holder))
    say(f"{board.name}: taken from {_holder(holder)}" if holder else f"{board.name} was free")
    return 0


def wipe(arguments: argparse.Namespace) -> int:
    """Remove farm's files."""
    from orchestrator.fleet.boards.addressing import contact
    from orchestrator.store.fleet_entries import Wiped

    fleet = Fleet.of(arguments)
    board = fleet.named(arguments.name)
    with reaching(arguments, "farm boards wipe") as address, contact(address(board)) as commands:
        gone = commands.wipe()
    fleet.log.append(Wiped(board=board.name, by=by(), files=len(gone)))
    say(f"{board.name}: removed {', '.join(gone) or 'nothing'} from {board.workdir}")
    return 0


def _holder(holder: dict[str, Any]) -> str:
    pids = holder.get("pids")
    pid = f", pid {pids[0][0]}" if isinstance(pids, list) and pids and pids[0] else ""
    left = holder.get("lease_left_s")
    lease = f"; its lease ends in {left:.0f} s" if isinstance(left, (int, float)) else ""
    return (
        f"{holder.get('owner') or 'somebody who left no name'} since "
        f"{holder.get('since', 'an unknown time')} ({holder.get('reason') or 'no reason given'})"
        f"{pid}{lease}"
    )


# ---- the inventory and the log


def remove(arguments: argparse.Namespace) -> int:
    """Take an entry out."""
    from orchestrator.specs.inventory_edit import remove_board
    from orchestrator.store.fleet_entries import Removed
    from orchestrator.store.fleet_log import FleetLog

    remove_board(Path(arguments.inventory), arguments.name)
    FleetLog(Path(arguments.runs)).append(Removed(board=arguments.name, by=by()))
    say(f"{arguments.name}: taken out of {arguments.inventory}")
    return 0


def drain(arguments: argparse.Namespace) -> int:
    """No new work."""
    from orchestrator.store.fleet_entries import Drained

    fleet = Fleet.of(arguments)
    board = fleet.named(arguments.name)
    fleet.log.append(Drained(board=board.name, by=by(), reason=printed(arguments.reason)))
    say(f"{board.name}: gets no new work until `farm boards undrain {board.name}`")
    return 0


def undrain(arguments: argparse.Namespace) -> int:
    """Work again."""
    from orchestrator.store.fleet_entries import Undrained

    fleet = Fleet.of(arguments)
    board = fleet.named(arguments.name)
    if not fleet.standings[board.name].drained:
        print(f"farm: {board.name} was not drained", file=sys.stderr)
        return 0
    fleet.log.append(Undrained(board=board.name, by=by()))
    say(f"{board.name}: gets work again")
    return 0
