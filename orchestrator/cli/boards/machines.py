"""`farm boards emulate` and `farm boards machine`."""

from __future__ import annotations

import sys
from typing import Any

from orchestrator import machines
from orchestrator.cli.boards.asking import yes
from orchestrator.cli.boards.entry import valid
from orchestrator.cli.boards.fleet import Places, say
from orchestrator.errors import UserError
from orchestrator.fleet.machines import installing
from orchestrator.fleet.machines.recipes import RECIPES
from orchestrator.specs.inventory import Board
from orchestrator.specs.inventory_edit import add_board
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.yamlfile import nearest


def emulate(places: Places, name: str, kind: str, machine: str | None) -> int:
    """Write the entry; 1 when its processor is not installed yet.

    Raises:
        UserError: it is no valid entry, or the inventory has such a board; nothing is written.
    """
    if kind not in load_kinds():
        raise UserError(f"--kind: unknown kind {kind!r}{nearest(kind, load_kinds())}")
    transport: Any = {"emulated": {"machine": machine}} if machine else "emulated"
    entry = {"name": name, "kind": kind, "transport": transport}
    valid(Board, entry)
    board = add_board(places.inventory, entry)
    says = f", emulated as {machine}" if machine else ", emulated on this host"
    say(f"{name}: written into {places.inventory} ({board.hardware}{says})")
    if machine and machines.find(machine) is None:
        say(f"{machine} is not installed yet: {machines.install_command(machine)}")
        return 1
    return 0


def install(name: str, *, mirror: str | None, agreed: bool) -> int:
    """Build a machine; 0 when it is there and works."""
    recipe = RECIPES[name]  # type: ignore[index]  # one of the words that the command takes
    plan = installing.installation_plan(recipe, mirror)
    there = machines.find(name)
    wanted = dict(each.split("==") for each in plan.wheels)
    if there is not None and wanted.items() <= dict(there.packages).items():
        say(f"{name} is installed already, in {there.folder} ({_versions(there)})")
        return 0
    load, disk = recipe.megabytes
    say(f"{name}: Debian {recipe.suite} for {recipe.architecture}, run by QEMU's user mode")
    say(f"  packages  {', '.join(recipe.packages)} and what they need, from {plan.mirror}")
    if plan.wheels:
        say(f"  wheels    {', '.join(plan.wheels)}, from pip's index")
    say(f"  emulator  {plan.qemu or 'qemu-user-static, from this host’s mirror'}")
    say(f"  size      about {load} MB to fetch, {disk} MB in {machines.folder_of(name)}")
    if not agreed:
        if not sys.stdin.isatty():
            raise UserError(
                "nobody is there to agree: standard input is no terminal", "say --yes to agree"
            )
        if not yes("fetch and build it?"):
            say("nothing was done")
            return 1
    machine = installing.install(plan, lambda line: say(f"- {line}"))
    say(f"{name} works: {machine.folder} ({_versions(machine)})")
    return 0


def show() -> int:
    """Every machine, and what of it is here."""
    for name in machines.MACHINES:
        there = machines.find(name)
        if there is None:
            say(f"{name:<9} not installed; {machines.install_command(name)}")
        else:
            say(f"{name:<9} {_versions(there)}, {there.cpu}, {there.qemu}")
            say(f"{'':<9} in {there.folder}")
    return 0


def remove(name: str) -> int:
    """Delete one."""
    folder = machines.folder_of(name)
    found = installing.remove(name)
    say(f"removed {folder}" if found else f"{name} is not installed; there is no {folder}")
    return 0


def _versions(machine: machines.Machine) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(machine.packages.items()))
