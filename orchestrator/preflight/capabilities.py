"""What each toolchain declares, as the plan reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import UserError
from orchestrator.planning.cells import capability_name
from orchestrator.plugins import toolchain_names
from orchestrator.specs.inventory import Inventory
from orchestrator.specs.kinds import Kind
from orchestrator.specs.yamlfile import fail, nearest
from orchestrator.toolchains.given import UNSAID


@dataclass(frozen=True)
class DeclaredCapabilities:
    """A toolchain's (or its twin's) declaration as the plan reads it."""

    runtime: str
    schemes: frozenset[tuple[str, str | None, str | None]]
    calibrators: frozenset[str]
    version: str
    missing: str = ""
    targets: tuple[str, ...] = ()
    calibrates: bool = False
    simulator: str = ""
    keeps_float: bool = True
    refuses_qdq: str = UNSAID
    qdq_reasons: Mapping[str, str] = field(default_factory=dict)

    def no_given(self, model: str) -> str:
        """Why it cannot deploy the quantized file of a model; empty when it can."""
        if self.refuses_qdq:
            return self.refuses_qdq
        reason = self.qdq_reasons.get(model, "")
        return f"cannot take the quantized file of {model}: {reason}" if reason else ""


def capabilities_of(inventory: Inventory) -> dict[str, DeclaredCapabilities]:
    """Every toolchain and twin by its `capability_name`, with what the inventory says of them.

    Raises:
        UserError: the inventory names a toolchain that there is not, or sets one up wrongly.
    """
    from orchestrator import toolchains

    names = toolchain_names()
    for name in inventory.toolchains:
        if name not in names:
            text = f"unknown toolchain {name!r}{nearest(name, names)}"
            fail([inventory.source.problem(("toolchains", name), text)])
    capabilities = {}
    for name in names:
        chain = _built(inventory, name)
        capabilities[capability_name(name, twin=False)] = _declared(
            chain, chain.capabilities.runtime or name
        )
    for name in toolchains.twin_names():
        twin = toolchains.twin_toolchain(name)
        capabilities[capability_name(name, twin=True)] = _declared(twin, "onnxruntime")
    return capabilities


def check_kinds(
    inventory: Inventory,
    kinds: Mapping[str, Kind],
    capabilities: Mapping[str, DeclaredCapabilities],
) -> None:
    """Check that what runs on a kind of board is what its toolchain's files need.

    Raises:
        UserError: a kind that the inventory uses names a runtime that would never run.
    """
    problems = []
    for name in sorted({board.kind for board in inventory.boards}):
        kind = kinds[name]
        can = capabilities.get(capability_name(kind.toolchain, twin=False))
        if can is None or can.runtime == kind.runtime:
            continue
        fits = sorted(
            each
            for each in toolchain_names()
            if capabilities[capability_name(each, twin=False)].runtime == kind.runtime
        )
        text = (
            f"runtime: {kind.runtime} never runs: the files of the toolchain {kind.toolchain} run "
            f"on {can.runtime}; toolchains for {kind.runtime}: {', '.join(fits) or 'none'}"
        )
        problems.append(kind.source.problem(("runtime",), text))
    fail(problems)


def _built(inventory: Inventory, name: str) -> Any:
    from orchestrator import toolchains

    options = inventory.toolchains.get(name)
    try:
        return toolchains.toolchain(name, options.to_options() if options else None)
    except UserError as error:
        if options is None:
            raise
        fail([inventory.source.problem(("toolchains", name), f"{error.message}; {error.hint}")])
        raise


def _declared(chain: Any, runtime: str) -> DeclaredCapabilities:
    can = chain.capabilities
    schemes: set[tuple[str, str | None, str | None]] = set(can.schemes)
    schemes |= {(dtype, None, None) for dtype in can.float_types}
    missing: tuple[str, ...] = chain.missing() if hasattr(chain, "missing") else ()
    return DeclaredCapabilities(
        runtime,
        frozenset(schemes),
        frozenset(can.calibrators),
        chain.version(),
        f"{' and '.join(missing)} not found; {chain.install}" if missing else "",
        can.targets,
        can.calibrates,
        can.simulator,
        can.keeps_float,
        can.refuses_qdq,
    )
