"""Building a machine: QEMU's user mode, a root of Debian's packages, wheels, wrappers, a proof."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from orchestrator import installations, machines
from orchestrator.errors import ToolchainError, TransientError
from orchestrator.fleet.machines import debian
from orchestrator.fleet.machines.recipes import Recipe
from orchestrator.machines import Machine

_PIP_S = 900.0
_PROOF_S = 300.0
_APPLET = re.compile(r"[a-z\[][a-z0-9_.\[-]*")
_PROOF = """
import json, os, platform, sys
import numpy, onnxruntime
print(json.dumps({
    "machine": os.uname().machine, "executable": sys.executable, "numpy": numpy.__version__,
    "python": platform.python_version(), "onnxruntime": onnxruntime.__version__,
}))
"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What an installation will do.

    Attributes:
        mirror: of Debian's packages.
        qemu: this host's own emulator; empty where it is fetched as well.
        wheels: requirements, in this host's versions.
    """

    recipe: Recipe
    mirror: str
    qemu: str
    wheels: tuple[str, ...]


def installation_plan(recipe: Recipe, mirror: str | None = None) -> Plan:
    """Look for what is here already.

    Raises:
        UserError: this host cannot build a machine, and what would.
    """
    debian.require_tools()
    wheels = tuple(f"{name}=={metadata.version(name)}" for name in recipe.wheels)
    qemu = shutil.which(recipe.qemu) or ""
    return Plan(recipe, mirror or debian.configured_mirror(), qemu, wheels)


def install(plan: Plan, say: Say) -> Machine:
    """Build the machine from scratch, from what is fetched now.

    Raises:
        UserError: another process is installing it.
        TransientError: packages or wheels could not be fetched.
        ToolchainError: it does not run here.
    """
    recipe = plan.recipe
    folder = machines.folder_of(recipe.name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with installations.alone(folder):
        installations.clear(folder)
        work = folder / "fetched"
        say(f"packages of {recipe.suite} for {recipe.architecture} from {plan.mirror}")
        packages = debian.fetch(
            work, recipe.architecture, recipe.suite, plan.mirror, recipe.packages
        )
        root = folder / "root"
        debian.unpack(packages, root)
        qemu = plan.qemu or _fetched_qemu(recipe, folder, work, say)
        if plan.wheels:
            say(f"wheels for {recipe.name}: {', '.join(plan.wheels)}")
            _wheels(plan, folder / "site")
        _describe_processor(recipe, root)
        shell, python = write_wrappers(recipe, folder, qemu)
        say("Python there imports onnxruntime, to prove that it works")
        found = _proved(recipe, shell, python)
        machine = Machine(
            name=recipe.name,
            folder=str(folder),
            shell=str(shell),
            python=str(python),
            path=str(shell.parent),
            qemu=_version(qemu),
            cpu=recipe.cpu,
            packages={name: found[name] for name in ("python", "onnxruntime", "numpy")},
        )
        shutil.rmtree(work)
        installations.write(folder / installations.RECORD, machine.to_json())
    return machine


def _describe_processor(recipe: Recipe, root: Path) -> None:
    (root / "proc").mkdir(exist_ok=True)
    cpuinfo = "".join(recipe.cpuinfo.format(n=n) for n in range(os.cpu_count() or 1))
    (root / "proc/cpuinfo").write_text(cpuinfo)


def remove(name: str) -> bool:
    """Delete a machine and what is left of attempts; returns whether there was anything.

    Raises:
        UserError: it is being installed.
    """
    return installations.remove(machines.folder_of(name))


def write_wrappers(recipe: Recipe, folder: Path, qemu: str) -> tuple[Path, Path]:
    """`bin/sh` and `bin/python3`: programs of this host that run the machine's under QEMU.

    Every applet of its busybox gets one too, for whoever calls this host's `/bin/sh` by its path.
    Python calls itself by the wrapper's path (`-0`), so that a child that it starts from
    `sys.executable` runs in the machine as well; no binfmt_misc is needed.
    """
    root, place = folder / "root", folder / "bin"
    place.mkdir(exist_ok=True)
    environment = {"PYTHONHOME": str(root / "usr")}
    site = folder / "site" if recipe.wheels else root / "usr/lib/python3/dist-packages"
    if recipe.libraries:
        environment["LD_LIBRARY_PATH"] = ":".join(str(root / each) for each in recipe.libraries)
    given = [word for name, value in environment.items() for word in ("-E", f"{name}={value}")]
    python, shell = place / "python3", place / "sh"
    # What somebody set on the board comes first, as on any.
    own = f' -E "PYTHONPATH=${{PYTHONPATH:+$PYTHONPATH:}}"{shlex.quote(str(site))}'
    program = f"{own} {shlex.quote(str(root / recipe.python))}"
    _script(python, recipe, [qemu, "-0", str(python), "-L", str(root), *given], program)
    # busybox does what it is called (`-0`); `${0##*/}` is the link's name.
    busybox = root / "bin/busybox"
    every = place / "busybox"
    _script(
        every, recipe, [qemu, "-L", str(root), "-0"], f' "${{0##*/}}" {shlex.quote(str(busybox))}'
    )
    listed = subprocess.run(
        [every, "--list"], capture_output=True, text=True, timeout=_PROOF_S, check=False
    )
    for name in {"sh", *filter(_APPLET.fullmatch, listed.stdout.split())} - {"busybox", "python3"}:
        (place / name).unlink(missing_ok=True)
        (place / name).symlink_to("busybox")
    return shell, python


def _script(path: Path, recipe: Recipe, words: Sequence[str | Path], last: str = "") -> None:
    line = shlex.join(map(str, words)) + last
    path.write_text(f'#!/bin/sh\nexport QEMU_CPU={shlex.quote(recipe.cpu)}\nexec {line} "$@"\n')
    path.chmod(0o755)


def _fetched_qemu(recipe: Recipe, folder: Path, work: Path, say: Say) -> str:
    say("qemu-user-static, which is not installed here")
    package = debian.fetch_own(work / "own", "qemu-user-static")
    unpacked = work / "qemu"
    debian.unpack([package], unpacked)
    place = folder / recipe.qemu
    shutil.copy2(unpacked / "usr/bin" / recipe.qemu, place)
    return str(place)


def _wheels(plan: Plan, place: Path) -> None:
    recipe = plan.recipe
    words = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    words += ["--no-input", "--no-deps", "--only-binary=:all:", "--implementation", "cp"]
    words += ["--python-version", f"3.{recipe.minor}", "--target", str(place)]
    words += [word for each in recipe.platforms for word in ("--platform", each)]
    try:
        ended = subprocess.run(
            [*words, *plan.wheels], capture_output=True, text=True, timeout=_PIP_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TransientError(f"pip: {error}") from error
    if ended.returncode:
        errors = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
        raise TransientError(
            f"pip has no wheels of {', '.join(plan.wheels)} for {recipe.name}: "
            + " ".join(errors or [ended.stderr[-300:]])
        )


def _proved(recipe: Recipe, shell: Path, python: Path) -> dict[str, str]:
    """What the machine's Python says of itself; the first run also writes its byte code."""
    clean = {"PATH": str(shell.parent), "HOME": "/"}
    words = [str(shell), "-c", 'exec python3 -c "$1"', "sh", _PROOF]
    try:
        ended = subprocess.run(
            words, capture_output=True, text=True, env=clean, timeout=_PROOF_S, check=False
        )
        found: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{recipe.name}: its Python did not end: {error}") from error
    except (ValueError, IndexError):
        raise ToolchainError(
            f"{recipe.name}: its Python does not work here (exit code {ended.returncode}): "
            f"{ended.stderr.strip()[-300:]}",
            f"to repeat it by hand: {python} -c 'import onnxruntime'",
        ) from None
    if found["machine"] != recipe.name or found["executable"] != str(python):
        raise ToolchainError(
            f"{recipe.name}: its Python calls itself {found['executable']} on {found['machine']}"
        )
    return found


def _version(qemu: str) -> str:
    ended = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False)
    return ended.stdout.splitlines()[0].strip() if ended.stdout else ""
