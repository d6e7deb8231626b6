"""Making a toolchain's environment: a Python that has wheels, pip, a conversion as the proof.

Every step that ends well is noted in the folder, so that a second attempt goes on where the first
one stopped. The record that makes it an environment is written last, in one piece.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator import environments, installations
from orchestrator.environments import Environment
from orchestrator.errors import ToolchainError, TransientError, UserError
from orchestrator.toolchains.process import ToolRun, run_tool
from orchestrator.toolchains.recipes import Recipe

_PROGRESS = "installing.json"
_VENV = "venv"
_PIP_S = 3600.0
_ASK_S = 120.0
_OFFLINE = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "No matching distribution found",
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What an installation will do.

    Attributes:
        python: the interpreter that the environment is made of.
        minor: its minor version.
        torch: the requirement that is installed; empty where none is needed.
        cpu: whether that is a CPU build.
        find_links: folders of wheels given by the user.
    """

    recipe: Recipe
    python: str
    minor: int
    torch: str
    cpu: bool
    find_links: tuple[str, ...]

    @property
    def steps(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Name and pip's arguments of each step, in order."""
        recipe = self.recipe
        steps: list[tuple[str, tuple[str, ...]]] = [
            ("what it needs", recipe.first),
            (recipe.package, ("--no-deps", f"{recipe.package}=={recipe.version}")),
        ]
        if self.torch and self.cpu:
            steps.append((self.torch, ("--no-deps", self.torch)))
            steps.append(("what torch needs", recipe.after_torch))
        elif self.torch:
            steps.append((self.torch, (self.torch,)))
        return tuple(steps)

    @property
    def gigabytes(self) -> float:
        """What it takes on the disk."""
        return self.recipe.gigabytes[0 if self.cpu or not self.torch else 1]

    @property
    def digest(self) -> str:
        """Of all that decides what is installed: only an equal plan goes on with what is there."""
        text = json.dumps([self.python, self.steps], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def installation_plan(
    recipe: Recipe, *, find_links: Sequence[str] = (), python: str | None = None
) -> Plan:
    """Look for an interpreter that has wheels, and for a CPU build of torch.

    Raises:
        UserError: the machine, the interpreter or `find_links` will not do, with what would.
        TransientError: pip reaches neither an index nor such a folder.
    """
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in recipe.machines:
        raise UserError(
            f"{recipe.package} has no wheels for {platform.system()} on {machine}, only for Linux "
            f"on {' and '.join(recipe.machines)}",
            "run farm on such a computer",
        )
    folders = tuple(_folder(each) for each in find_links)
    found = list(interpreters(recipe.pythons, python))
    wanted = ", ".join(f"3.{minor}" for minor in sorted(recipe.pythons))
    if not found:
        where = f"{python} is no Python" if python else "there is no Python"
        raise UserError(
            f"{recipe.package} needs Python {wanted}; {where} of these versions here",
            "install one, or name it: --python /path/to/python3.11",
        )
    without: list[str] = []
    last = ""
    for minor, path in found:
        available, says = _versions(recipe.package, minor, folders)
        if recipe.version not in available:
            without.append(f"3.{minor}")
            last = says
            continue
        torch, cpu = _torch(recipe, minor, folders)
        return Plan(recipe, path, minor, torch, cpu, folders)
    raise TransientError(
        f"pip finds no wheel of {recipe.package} {recipe.version} for Python {', '.join(without)}"
        + (f"; its last lines: {last}" if last else ""),
        "without a connection, bring the wheels in a folder: --find-links DIR "
        f"(`pip download {recipe.package}=={recipe.version}` elsewhere fills one)",
    )


def interpreters(minors: Sequence[int], named: str | None = None) -> Iterator[tuple[int, str]]:
    """Minor version and path of Pythons on this computer, in the order of `minors`."""
    if named is not None:
        path = shutil.which(named) or named
        minor = _minor(path)
        if minor is not None and minor in minors:
            yield minor, path
        return
    home = Path.home()
    manager = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv")
    managed = [manager / "versions", home / ".local/share/uv/python", Path("/opt/python")]
    own = getattr(sys, "_base_executable", None) or sys.executable
    for minor in minors:
        candidates = [own] if sys.version_info[1] == minor else []
        candidates += [shutil.which(f"python3.{minor}") or ""]
        for folder in managed:
            candidates += sorted(map(str, folder.glob(f"*/bin/python3.{minor}")), reverse=True)
        for path in candidates:
            if path and _minor(path) == minor:
                yield minor, path
                break


def _minor(python: str) -> int | None:
    """The minor version of an interpreter that can make virtual environments."""
    program = "import sys, venv, ensurepip; print(sys.version_info[0], sys.version_info[1])"
    try:
        words = subprocess.run(
            [python, "-I", "-c", program], capture_output=True, text=True, timeout=30, check=True
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    return int(words[1]) if len(words) == 2 and words[0] == "3" else None


def _folder(name: str) -> str:
    if "://" in name:
        return name
    path = Path(name).expanduser().absolute()
    if not path.is_dir():
        raise UserError(f"--find-links {name}: there is no such folder", "name a folder of wheels")
    return str(path)


def _versions(package: str, minor: int, folders: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The versions that pip finds for a Python, and its last word when it finds none."""
    words = [sys.executable, "-m", "pip", "index", "versions", package, *_links(folders)]
    words += ["--python-version", f"3.{minor}", "--only-binary=:all:"]
    try:
        ended = subprocess.run(words, capture_output=True, text=True, timeout=_ASK_S, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return (), str(error)
    listed = re.search(r"Available versions: (.*)", ended.stdout)
    versions = tuple(v.strip() for v in listed.group(1).split(",")) if listed else ()
    errors = [line for line in ended.stderr.splitlines() if line.startswith("ERROR")]
    return versions, (errors or ended.stderr.splitlines() or [""])[-1].removeprefix("ERROR: ")


def _torch(recipe: Recipe, minor: int, folders: Sequence[str]) -> tuple[str, bool]:
    """The requirement for torch, and whether it is a CPU build."""
    if not recipe.torch:
        return "", False
    available, _ = _versions("torch", minor, folders)
    cpu = next((version for version in available if version.endswith("+cpu")), None)
    if cpu is not None:
        return f"torch=={cpu}", True
    # The ordinary wheels for Arm have no CUDA in them; those for x86_64 need it to be imported.
    return ("torch<=2.4.0", platform.machine() == "aarch64")


def _links(folders: Sequence[str]) -> list[str]:
    return [word for folder in folders for word in ("--find-links", folder)]


def install(plan: Plan, prove: Callable[[Environment], Mapping[str, Any]], say: Say) -> Environment:
    """Make the environment, going on with an equal attempt that did not come to its end.

    Args:
        plan: from `make_plan`.
        prove: tries the environment; what it returns is kept as `verified`.
        say: told what is being done, a line each.

    Raises:
        UserError: no room, or another process is installing it.
        TransientError: pip could not reach what it needs.
        ToolchainError: pip failed, or `prove` did.
    """
    recipe = plan.recipe
    folder = environments.folder_of(recipe.name)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with installations.alone(folder):
        progress = folder / _PROGRESS
        done = _done(progress, plan.digest)
        if not done:
            installations.clear(folder)
            _require_room(folder, plan.gigabytes)
        # From here on nothing looks installed.
        (folder / installations.RECORD).unlink(missing_ok=True)
        python = folder / _VENV / "bin" / "python"
        if "venv" not in done or not python.exists():
            say(f"virtual environment of {plan.python} in {folder}")
            run = _run([plan.python, "-m", "venv", _VENV], folder)
            if not python.exists():
                raise ToolchainError(_failed("making the virtual environment", run), _again(run))
            done = _note(progress, plan.digest, ["venv"])
        for name, arguments in plan.steps:
            if name in done:
                say(f"{name}: there already")
                continue
            say(f"pip install {' '.join(arguments)}")
            _pip(python, folder, name, [*arguments, *_links(plan.find_links)])
            done = _note(progress, plan.digest, [*done, name])
        version, packages = _inventory(python, folder)
        environment = Environment(recipe.name, str(folder), str(python), version, packages)
        say("a small model is converted, to prove that it works")
        proved = Environment(**{**environment.to_json(), "verified": dict(prove(environment))})
        installations.write(folder / installations.RECORD, proved.to_json())
        progress.unlink(missing_ok=True)
    return proved


def remove(name: str) -> bool:
    """Delete an environment and what is left of attempts; returns whether there was anything.

    Raises:
        UserError: it is being installed.
    """
    return installations.remove(environments.folder_of(name))


def unfinished(name: str) -> bool:
    """Whether an installation began and did not come to its end."""
    return (environments.folder_of(name) / _PROGRESS).exists()


def _require_room(folder: Path, gigabytes: float) -> None:
    free = shutil.disk_usage(folder).free / 1e9
    if free < gigabytes + 0.5:
        raise UserError(
            f"{folder} has {free:.1f} GB free, about {gigabytes + 0.5:.1f} GB are needed",
            f"make room, or name another folder: {environments.VARIABLE}=/large/disk",
        )


def _pip(python: Path, folder: Path, what: str, arguments: Sequence[str]) -> None:
    words = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    run = _run([*words, "--prefer-binary", *arguments], folder)
    if run.returncode == 0:
        return
    reached = not any(sign in run.log for sign in _OFFLINE)
    errors = [line for line in run.last_words.splitlines() if "ERROR" in line]
    message = f"pip could not install {what}: " + " ".join(errors or [run.last_words])
    if reached:
        raise ToolchainError(message, _again(run))
    raise TransientError(
        message,
        "the same command goes on from here; without a connection, bring the wheels in a folder: "
        "--find-links DIR",
    )


def _run(words: Sequence[str], folder: Path) -> ToolRun:
    # A user's PYTHONPATH or home packages would shadow what is installed here.
    clean = {"PYTHONPATH": "", "PYTHONNOUSERSITE": "1", "PIP_REQUIRE_VIRTUALENV": "0"}
    return run_tool(words, folder=folder, deadline=_PIP_S, environment=clean)


def _inventory(python: Path, folder: Path) -> tuple[str, dict[str, str]]:
    program = (
        "import json, platform; from importlib import metadata as m; "
        "print(json.dumps([platform.python_version(), "
        "{d.metadata['Name']: d.version for d in m.distributions() if d.metadata['Name']}]))"
    )
    run = _run([str(python), "-c", program], folder)
    try:
        version, packages = json.loads(run.log)
    except ValueError as error:
        raise ToolchainError(_failed("looking at what was installed", run), _again(run)) from error
    return version, dict(sorted(packages.items()))


def _failed(doing: str, run: ToolRun) -> str:
    return f"{doing} failed with exit code {run.returncode}; the last words:\n{run.last_words}"


def _again(run: ToolRun) -> str:
    return f"to repeat it by hand: {run.command}"


def _done(progress: Path, digest: str) -> list[str]:
    try:
        noted = json.loads(progress.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    return list(noted["done"]) if noted.get("plan") == digest else []


def _note(progress: Path, digest: str, done: list[str]) -> list[str]:
    installations.write(progress, {"plan": digest, "done": done})
    return done
