"""`farm doctor`: what is missing on this machine and the boards, and how to fix it."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.deprecation import deprecate, with_old_names

if TYPE_CHECKING:
    from orchestrator.specs.inventory import Board, Inventory
    from orchestrator.specs.transports import JumpHost

DISTRIBUTION = "facefarm"
FREE_BYTES = 2 << 30
INVENTORY = "device_inventory.yaml"
FIX = deprecate("mend", "fix", remove_in="0.3")


State = Literal["ok", "note", "missing"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at.

    Attributes:
        state: `ok`; `note`, work is possible without it; `missing`, it is not.
        about: what was looked at.
        text: what was found.
        fix: what to type or change; empty when nothing is to be done.
    """

    state: State
    about: str
    text: str
    fix: str = ""


@dataclass(frozen=True)
class ToExamine:
    """Where to look; `inventory` None: beside the matrix, or here."""

    matrix: str
    inventory: str | None
    state: str
    runs: str
    ray_address: str | None


def doctor(arguments: ToExamine, *, as_json: bool) -> int:
    """Print findings; 1 when something is missing, else 0. Connects to no board."""
    found: list[Finding] = []
    for finding in examine(arguments):
        found.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        FIX.warn("farm doctor --json")
        print(json.dumps([with_old_names(asdict(finding), FIX) for finding in found], indent=1))
    return 1 if any(finding.state == "missing" for finding in found) else 0


def examine(arguments: ToExamine) -> Iterator[Finding]:
    """Look at everything, the head first."""
    yield from _python()
    yield from _packages()
    yield from _room(Path(arguments.state))
    yield from _matrix(Path(arguments.matrix))
    inventory = yield from _inventory(arguments)
    if inventory is not None:
        yield from _login(inventory)
        yield from _toolchains(inventory)
        yield from _boards(inventory, Path(arguments.runs))
        if arguments.ray_address is not None:
            yield from _cluster(arguments.ray_address, str(_inventory_of(arguments)))


def _show(finding: Finding) -> None:
    from orchestrator.fleet.transport.untrusted import headline

    lines = [headline(line, 300) for line in finding.text.splitlines()] or [""]
    print(f"{finding.state:<8}{headline(finding.about)}: {lines[0]}")
    for line in lines[1:]:
        print(f"        {line}")
    for line in finding.fix.splitlines():
        print(f"        > {headline(line, 300)}")


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    fix = "" if fits else "make setup PYTHON=/path/to/python3.12"
    yield Finding("ok" if fits else "missing", "Python", version, fix)


def _packages() -> Iterator[Finding]:
    from importlib import metadata

    from packaging.requirements import Requirement

    try:
        needed = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:
        yield Finding("note", "packages", f"{DISTRIBUTION} is not installed here", "make setup")
        return
    wrong = []
    for each in needed:
        if each.marker is not None and not each.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{each.name} is missing")
            continue
        if not each.specifier.contains(version, prereleases=True):
            wrong.append(f"{each.name} is {version}, needed is {each.specifier}")
    if wrong:
        yield Finding("missing", "packages", "\n".join(wrong), "make setup")
    else:
        yield Finding("ok", "packages", "all required packages are installed")


def _room(state: Path) -> Iterator[Finding]:
    place = state.resolve()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    text = f"{free / (1 << 30):.1f} GiB free for {state}"
    if free < FREE_BYTES:
        yield Finding("note", "disk", text, "make room, or keep the store elsewhere with --state")
    else:
        yield Finding("ok", "disk", text)


def _matrix(path: Path) -> Iterator[Finding]:
    from orchestrator.errors import UserError
    from orchestrator.specs.manifests import load_models
    from orchestrator.specs.matrix import load_matrix

    try:
        matrix = load_matrix(path)
        models = load_models(matrix)
    except UserError as error:
        yield Finding("missing", str(path), error.message, error.hint)
        return
    rows = f"{len(matrix.entries)} entries, models {', '.join(models)}"
    yield Finding("ok", str(path), rows)


def _inventory(arguments: ToExamine) -> Any:
    from orchestrator.errors import UserError
    from orchestrator.specs.inventory import load_inventory

    path = _inventory_of(arguments)
    try:
        inventory = load_inventory(path)
    except UserError as error:
        yield Finding(
            "missing", str(path), error.message, error.hint or "farm boards add user@host"
        )
        return None
    yield Finding("ok", str(path), f"{len(inventory.boards)} boards")
    return inventory


def _inventory_of(arguments: ToExamine) -> Path:
    beside = Path(arguments.matrix).parent / INVENTORY
    return Path(arguments.inventory or (beside if beside.exists() else INVENTORY))


def _cluster(address: str, inventory: str) -> Iterator[Finding]:
    """A Ray cluster: token, sites, and the farm of the nodes that drive them."""
    from orchestrator.cluster.doctor import ask

    report = ask(address, inventory)
    about = f"Ray cluster {address}"
    if report["problem"]:
        yield Finding("missing", about, report["problem"], report["hint"])
    for words in report["words"]:
        yield Finding("ok" if words.startswith("joined") else "note", about, words)


def _login(inventory: Inventory) -> Iterator[Finding]:
    from orchestrator.fleet.transport.ssh_keys import offered_keys
    from orchestrator.specs.transports import SshTransportSpec

    usual = any(offered_keys("this machine", None, True))
    for board in inventory.boards:
        if isinstance(board.transport, SshTransportSpec):
            for place in (*board.transport.jump, board.transport):
                yield from _place(board.name, place, usual)


def _place(name: str, place: JumpHost, usual: bool) -> Iterator[Finding]:
    """A board, or a host on the way to it."""
    from orchestrator.errors import UserError
    from orchestrator.fleet.transport.known_keys import pins_of_user
    from orchestrator.fleet.transport.ssh_keys import offered_keys

    if place.key is not None:
        try:
            next(offered_keys(name, Path(place.key).expanduser(), True))
        except UserError as error:
            yield Finding("missing", name, error.message.removeprefix(f"{name}: "), error.hint)
    elif not usual:
        target = f"{place.user}@{place.host}" if place.user else place.host
        fix = f"ssh-keygen -t ed25519\nssh-copy-id -p {place.port} {target}"
        yield Finding("missing", name, "no private key to log in with", fix)
    known = Path("~/.ssh/known_hosts").expanduser()
    if not (place.host_key or pins_of_user(place.host, place.port, known)):
        fix = f"farm boards remove {name}\nfarm boards add {place.host}:{place.port} --name {name}"
        text = f"the host key of {place.host}:{place.port} is not pinned"
        yield Finding("missing", name, text, fix)


def _toolchains(inventory: Inventory) -> Iterator[Finding]:
    from orchestrator.errors import FarmError
    from orchestrator.toolchains import toolchain, toolchain_names

    # An emulated board runs the twin, which needs nothing of the vendor's.
    wanted: dict[str, list[str]] = {name: [] for name in ("onnxruntime", *toolchain_names())}
    for board in inventory.boards:
        if not board.emulated and board.transport.type != "local":
            wanted.setdefault(board.toolchain_for("auto"), []).append(board.name)
    for name, boards in wanted.items():
        about = f"toolchain {name}" + (f" (for {', '.join(boards)})" if boards else "")
        if name not in toolchain_names():
            text = f"this farm has none; it has {', '.join(toolchain_names())}"
            yield Finding("missing", about, text, "`toolchain: onnxruntime` in the matrix")
            continue
        try:
            options = inventory.toolchains.get(name)
            chain = toolchain(name, options.to_options() if options else None)
            missing: tuple[str, ...] = getattr(chain, "missing", tuple)()
            text = f"lacks {', '.join(missing)}" if missing else chain.version()
        except FarmError as error:
            yield Finding("missing", about, error.message, error.hint)
            continue
        state: State = "ok" if not missing else "missing" if boards else "note"
        yield Finding(state, about, text, getattr(chain, "install", "") if missing else "")


def _boards(inventory: Inventory, runs: Path) -> Iterator[Finding]:
    from orchestrator import machines
    from orchestrator.fleet.boards.entry import identity
    from orchestrator.store.fleet_log import FleetLog

    standings = FleetLog(runs).standings({b.name: identity(b) for b in inventory.boards})
    for board in inventory.boards:
        program = board.recovery.power[0] if board.recovery.power else ""
        if program and shutil.which(program) is None:
            text = f"its power hook {program} is not a program here"
            yield Finding(
                "missing", board.name, text, "give its full path under `recovery: power:`"
            )
        if board.machine and machines.find(board.machine) is None:
            text = f"it is emulated as {board.machine}, which is not installed here"
            yield Finding("missing", board.name, text, machines.install_command(board.machine))
        standing = standings[board.name]
        described = standing.described
        if described.emulator:
            text = f"an emulator, whose rows have no Time: {described.emulator}"
            yield Finding("note", board.name, text)
        for words in described.mismatches:
            yield Finding("note", board.name, words)
        if described.contradicts:
            text = f"{described.contradicts}; it is {described.board}"
            fix = f"farm boards show {board.name}"
            yield Finding("note", board.name, text, f"correct its `kind:` or address\n{fix}")
        if standing.state == "ready":
            yield Finding("ok", board.name, "ready")
        elif standing.drained:
            fix = f"farm boards undrain {board.name}"
            yield Finding("note", board.name, standing.reason, fix)
        else:
            known_bad = standing.refusal(board.runtime.name) or standing.state == "unreachable"
            text = f"{standing.state}: {standing.reason}"
            yield Finding("missing" if known_bad else "note", board.name, text, _check(board))


def _check(board: Board) -> str:
    return f"farm boards check {board.name}"
