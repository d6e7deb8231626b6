"""Twins by a vendor's formulas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.graphs.recipes import FINISH, INTEGERS, IR, OPSET, PRELUS, PREPARE, TWIN
from orchestrator.toolchains.base import (
    Artifact,
    Capabilities,
    Conversion,
    Dtype,
    Granularity,
    Scheme,
    Symmetry,
)
from orchestrator.toolchains.given import TWIN_FACTS
from orchestrator.toolchains.quantizing import manifest, require_allowed, require_offered
from orchestrator.toolchains.vendor_rules import VendorRule

if TYPE_CHECKING:
    from orchestrator.calibration.table import CalibrationTable

Axes = tuple[Dtype, Granularity, Symmetry]


class RuleTwin:
    """Twins of a toolchain by its vendor's formulas (`vendor_rules`); a `Toolchain`.

    Args:
        name: the toolchain's.
        real: what that can do. A twin of what the vendor's accelerator cannot run would predict a
            file that is never made, so the twin refuses what the toolchain refuses.
        rules: the formulas of each of its schemes.
        label: whose arithmetic it models.
        float_types: those of which there is a twin.
    """

    def __init__(
        self,
        name: str,
        real: Capabilities,
        rules: Mapping[Axes, VendorRule],
        label: str,
        float_types: tuple[Dtype, ...] = (),
    ) -> None:
        self._rules, self._label = rules, label
        self.name = name
        self.capabilities = Capabilities(
            schemes=tuple(rules),
            float_types=float_types,
            calibrators=("minmax", "percentile", "entropy"),
            opset=OPSET,
            ir=IR,
            forbidden=real.forbidden,
            keeps_float=real.keeps_float,
            refuses_qdq=real.refuses_qdq,
        )

    def version(self) -> str:
        """Our recipes alone: nothing of the vendor's is involved."""
        return f"twin recipe {PREPARE}.{TWIN}.{FINISH}.{PRELUS}.{INTEGERS}"

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`."""
        from orchestrator.graphs import prepare, qdq
        from orchestrator.toolchains import twin

        require_offered(self, scheme)
        if scheme.is_given:
            data = qdq.normal(model)
            about = twin_facts(self._label, TWIN_FACTS)
            return Artifact(data, "onnx", manifest(self, model, None, scheme, data) | about)
        data = prepare.prepare(model)
        require_allowed(self, data)
        facts: tuple[str, ...] = ("float32, as prepared for every toolchain",)
        if not scheme.is_float:
            rule = next(rule for axes, rule in self._rules.items() if axes == scheme.axes)
            facts = rule.facts
            data = twin.emit_twin(data, table, scheme, rule)
        about = manifest(self, model, table, scheme, data) | twin_facts(self._label, facts)
        return Artifact(data, "onnx", about)

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`."""
        from orchestrator.toolchains import finish

        data, facts = executed_form(finish.finish_onnx(quantized, opset=OPSET, ir=IR))
        own = {"toolchain": self.name, "version": self.version()}
        return Artifact(data, "onnx", own | facts)


def executed_form(model: bytes) -> tuple[bytes, dict[str, Any]]:
    """A twin's file by operators and types that compute the same bits sooner.

    Returns:
        The file, and what its manifest says of it.
    """
    from orchestrator.graphs import integers, prelus
    from orchestrator.toolchains import finish

    data = prelus.replaced(model)
    sums = integers.sums_integers(data)
    if sums:
        data = integers.for_kernels(data)
    about = {"executed_by": "twin", "integer_sums": sums or None}
    return data, finish.onnx_facts(data) | about


def twin_facts(label: str, facts: tuple[str, ...]) -> dict[str, Any]:
    """What a twin's manifest says of it."""
    return {"executed_by": "twin", "twin_of": label, "twin_facts": list(facts)}
