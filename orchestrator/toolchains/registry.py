"""Finding toolchains by name, those of other distributions included."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from orchestrator.errors import UserError
from orchestrator.plugins import built_in_toolchains, other_toolchains, toolchain_names
from orchestrator.toolchains.base import Toolchain
from orchestrator.toolchains.descriptor import Descriptor

VENDORS = "orchestrator.toolchains.vendors"


def descriptor(name: str) -> Descriptor:
    """What is known of a toolchain.

    Raises:
        UserError: there is none of that name, or the distribution that offers it cannot be
            imported.
    """
    if name in built_in_toolchains():
        known: Descriptor = import_module(f"{VENDORS}.{name}").DESCRIPTOR
        return known
    others = other_toolchains()
    if name not in others:
        nearest = difflib.get_close_matches(name, toolchain_names(), n=1)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise UserError(
            f"unknown toolchain '{name}'", f"{hint}known: {', '.join(toolchain_names())}"
        )
    module, _, attribute = others[name].partition(":")
    try:
        return Descriptor(name, getattr(import_module(module), attribute))
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"toolchain '{name}' is registered as {others[name]}, which cannot be loaded: {error}",
            "install or remove the distribution that registers it",
        ) from error


def toolchain(name: str, options: Mapping[str, Any] | None = None) -> Toolchain:
    """The toolchain of that name.

    Args:
        name: as in matrix.yaml.
        options: what it takes to build it, as `bin_dir` of tengine.

    Raises:
        UserError: there is none, it takes no such option, or the distribution that offers it
            cannot be imported.
    """
    make = descriptor(name).make
    known = tuple(inspect.signature(make).parameters) if options else ()
    for option in options or {}:
        if option not in known:
            raise UserError(
                f"toolchain '{name}' has no option '{option}'",
                f"its options: {', '.join(known) or 'none'}",
            )
    found = make(**(options or {}))
    if not isinstance(found, Toolchain):
        raise UserError(
            f"toolchain '{name}' ({other_toolchains().get(name, name)}) does not follow the "
            "protocol orchestrator.toolchains.Toolchain",
            "it needs name, capabilities, version(), quantize() and convert()",
        )
    return found
