"""Finding toolchains by name, those of other distributions included."""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from orchestrator.errors import UserError
from orchestrator.toolchains.base import Toolchain

GROUP = "farm.toolchains"

# Used from a source checkout, where no distribution metadata is installed.
BUILT_IN = {
    "onnxruntime": "orchestrator.toolchains.onnxruntime:OnnxRuntimeToolchain",
    "rknn": "orchestrator.toolchains.rknn:RknnToolchain",
    "rknn1": "orchestrator.toolchains.rknn1:Rknn1Toolchain",
    "tengine": "orchestrator.toolchains.tengine:TengineToolchain",
    "tensorrt": "orchestrator.toolchains.tensorrt:TensorRtToolchain",
}


@functools.cache  # a look at every installed distribution
def registered() -> Mapping[str, str]:
    """`module:class` of each toolchain by its name; loads none of them."""
    return BUILT_IN | {point.name: point.value for point in entry_points(group=GROUP)}


def toolchain_names() -> tuple[str, ...]:
    """The names that `toolchain` knows, sorted."""
    return tuple(sorted(registered()))


def toolchain(name: str, options: Mapping[str, Any] | None = None) -> Toolchain:
    """The toolchain of that name.

    Args:
        name: as in matrix.yaml.
        options: what it takes to build it, as `bin_dir` of tengine.

    Raises:
        UserError: there is none, it takes no such option, or the distribution that offers it
            cannot be imported.
    """
    targets = registered()
    if name not in targets:
        nearest = difflib.get_close_matches(name, targets, n=1)
        hint = f"did you mean '{nearest[0]}'? " if nearest else ""
        raise UserError(
            f"unknown toolchain '{name}'", f"{hint}known: {', '.join(toolchain_names())}"
        )
    module, _, attribute = targets[name].partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"toolchain '{name}' is registered as {targets[name]}, which cannot be loaded: {error}",
            "install or remove the distribution that registers it",
        ) from error
    known = tuple(inspect.signature(kind).parameters) if options else ()
    for option in options or {}:
        if option not in known:
            raise UserError(
                f"toolchain '{name}' has no option '{option}'",
                f"its options: {', '.join(known) or 'none'}",
            )
    found = kind(**(options or {}))
    if not isinstance(found, Toolchain):
        raise UserError(
            f"toolchain '{name}' ({targets[name]}) does not follow the protocol "
            "orchestrator.toolchains.Toolchain",
            "it needs name, capabilities, version(), quantize() and convert()",
        )
    return found
