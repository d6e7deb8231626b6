"""`farm toolchain`: environments for vendors' toolkits that farm's own cannot hold."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.environments import Environment
    from orchestrator.toolchains.installing import Plan


def install(name: str, *, find_links: Sequence[str], python: str | None, agreed: bool) -> int:
    """Make an environment; 0 when it is there and works."""
    from orchestrator import environments
    from orchestrator.toolchains import installing

    recipe = _recipe(name)
    there = environments.find(recipe.name)
    if there is not None and there.packages.get(recipe.package) == recipe.version:
        print(f"{recipe.package} {recipe.version} is installed already, in {there.folder}")
        return 0
    plan = installing.installation_plan(recipe, find_links=list(find_links), python=python)
    _state(plan)
    if not agreed and not _agreed():
        print("nothing was done")
        return 1
    environment = installing.install(plan, prove, _say)
    cosine = environment.verified.get("simulator_cosine")
    print(
        f"{recipe.package} {recipe.version} works: {environment.folder} "
        f"(a small model: cosine {cosine})"
    )
    return 0


def show() -> int:
    """List toolchains."""
    from orchestrator import environments
    from orchestrator.errors import FarmError
    from orchestrator.toolchains import installing, toolchain, toolchain_names
    from orchestrator.toolchains.recipes import RECIPES

    for name in toolchain_names():
        try:
            chain = toolchain(name)
            missing: tuple[str, ...] = getattr(chain, "missing", tuple)()
        except FarmError as error:
            print(f"{name:<12} broken: {error}")
            continue
        if missing:
            mend = getattr(chain, "install", "")
            half = name in RECIPES and installing.unfinished(name)
            state = "an installation did not end" if half else f"lacks {' and '.join(missing)}"
            print(f"{name:<12} {state}; {mend}")
        else:
            print(f"{name:<12} {chain.version()}")
            there = environments.find(name)
            if there is not None:
                print(f"{'':<12} Python {there.python_version}, in {there.folder}")
    return 0


def remove(name: str) -> int:
    """Delete an environment."""
    from orchestrator import environments
    from orchestrator.toolchains import installing

    recipe = _recipe(name)
    folder = environments.folder_of(recipe.name)
    if installing.remove(recipe.name):
        print(f"removed {folder}")
    else:
        print(f"{recipe.name} is not installed; there is no {folder}")
    return 0


def prove(environment: Environment) -> Mapping[str, Any]:
    """A small model through the new environment's converter and simulator.

    Raises:
        ToolchainError: it does not work.
    """
    from orchestrator.toolchains.trial import convert_a_small_model

    return convert_a_small_model(environment)


def _recipe(name: str) -> Any:
    import difflib

    from orchestrator.errors import UserError
    from orchestrator.toolchains import toolchain_names
    from orchestrator.toolchains.recipes import RECIPES

    if name in RECIPES:
        return RECIPES[name]
    known = ", ".join(RECIPES)
    if name in toolchain_names():
        raise UserError(
            f"toolchain {name} is not one that farm installs; it installs {known}",
            "`farm toolchain list` says what it lacks",
        )
    near = difflib.get_close_matches(name, RECIPES, 1)
    raise UserError(
        f"there is no toolchain {name!r} to install",
        f"did you mean {near[0]!r}?" if near else f"there is: {known}",
    )


def _state(plan: Plan) -> None:
    from orchestrator import environments

    recipe = plan.recipe
    print(f"{recipe.package} {recipe.version}: {recipe.title}")
    print(f"  licence   {recipe.licence}")
    print(f"  size      about {plan.gigabytes:.1f} GB in {environments.folder_of(recipe.name)}")
    print(f"  Python    3.{plan.minor}, {plan.python}")
    if plan.torch:
        print(f"  torch     {plan.torch}, " + ("a CPU build" if plan.cpu else _BIG))


_BIG = (
    "with CUDA: pip finds no CPU build\n            (a folder with one, --find-links DIR, "
    "saves about 5 GB)"
)


def _agreed() -> bool:
    if not sys.stdin.isatty():
        from orchestrator.errors import UserError

        raise UserError(
            "nobody is there to agree: standard input is no terminal", "say --yes to agree"
        )
    return input("Agree to the licence and install? [y/N] ").strip().lower() in ("y", "yes")


def _say(line: str) -> None:
    print(f"- {line}", flush=True)
