"""What every toolchain's `quantize` begins and ends with: refusals, and the manifest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UserError
from orchestrator.toolchains.base import Scheme

if TYPE_CHECKING:
    from orchestrator.calibration.table import CalibrationTable


def require_allowed(toolchain: Any, prepared: bytes) -> None:
    """Raise UserError at the first node whose operator the vendor does not run."""
    import onnx

    from orchestrator.graphs import edit

    forbidden = toolchain.capabilities.forbidden
    for node in onnx.ModelProto.FromString(prepared).graph.node if forbidden else ():
        if node.op_type in forbidden:
            raise UserError(
                f"{edit.label(node)}: toolchain '{toolchain.name}' does not run {node.op_type} "
                f"on its accelerator (nor {', '.join(o for o in forbidden if o != node.op_type)})",
                "change the layer and export again, or use another toolchain",
            )


def require_offered(toolchain: Any, scheme: Scheme) -> None:
    """Raise UserError when the toolchain's capabilities do not hold the scheme."""
    reason = toolchain.capabilities.why_not(scheme)
    if reason:
        raise UserError(f"toolchain '{toolchain.name}' {reason}")


def manifest(
    toolchain: Any,
    model: bytes,
    table: CalibrationTable | None,
    scheme: Scheme,
    data: bytes,
    *,
    model_sha256: str | None = None,
) -> dict[str, Any]:
    """What a quantized ONNX file was made from.

    Args:
        toolchain: that made it.
        model: from which.
        table: the ranges, of an integer scheme.
        scheme: of the file.
        data: the file.
        model_sha256: of `model`, where it is known.
    """
    from orchestrator.toolchains import finish

    return {
        "toolchain": toolchain.name,
        "version": toolchain.version(),
        "model_sha256": model_sha256 or hashlib.sha256(model).hexdigest(),
        "scheme": scheme.to_dict(),
        "calibration_set": table.calibration_set if table and not scheme.is_float else None,
        "calibration_images": len(table.images) if table and not scheme.is_float else 0,
        **finish.onnx_facts(data),
    }
