"""Accuracy helpers: what may be done to a model before it is quantized, each with its gain.

All are opt-in words of a quantization. They change the float32 model or the scheme, never a
vendor's arithmetic, so every toolchain can take them. What the vendor's quantizer would do is
judged by its twin. The gain printed is the mean cosine to float32 on calibration images; whether
Rank-1 follows is for the row to show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMAGES = 64
SUGGESTED = "suggested"


@dataclass(frozen=True)
class Gain:
    """What a helper did: mean cosine to float32 before and after it."""

    helper: str
    before: float
    after: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"helper": self.helper, "before": self.before, "after": self.after}


@dataclass(frozen=True)
class Helped:
    """What is to be quantized instead.

    Attributes:
        model: the float32 file, prepared.
        table: the ranges of exactly that file.
        keep_float: nodes that stay in float32.
        gains: of each helper, in the order they were applied.
    """

    model: bytes
    table: Any
    keep_float: tuple[str, ...]
    gains: tuple[Gain, ...]


def asked(scheme: Mapping[str, Any]) -> bool:
    """Whether a quantization asks for a helper."""
    return bool(
        scheme.get("equalize")
        or scheme.get("bias_correction")
        or SUGGESTED in scheme.get("keep_float", ())
    )


def source_of(model: bytes, scheme: Mapping[str, Any]) -> bytes:
    """The float32 model whose activations are calibrated: prepared, and equalized if asked."""
    from orchestrator.graphs.equalize import equalize
    from orchestrator.graphs.prepare import prepare

    prepared = prepare(model)
    return equalize(prepared) if scheme.get("equalize") else prepared


def help_model(
    model: bytes,
    table: Any,
    scheme: Any,
    wanted: Mapping[str, Any],
    quantize: Callable[[bytes, Any, Any], bytes],
    inputs: NDArray[np.float32],
) -> Helped:
    """Apply the helpers of `wanted` in the order equalize, keep_float, bias_correction.

    Args:
        model: the float32 ONNX file.
        table: ranges of `source_of(model, wanted)`; None: of `inputs` alone.
        scheme: the toolchains' scheme, `keep_float` without `suggested`.
        wanted: the matrix's quantization.
        quantize: (prepared model, table, scheme) to a QDQ file or twin.
        inputs: float32 (n, 3, H, W), calibration images.

    Raises:
        FarmError: a helper failed.
    """
    from orchestrator.calibration import METHODS, bias, calibrate, explain
    from orchestrator.graphs.prepare import fingerprint, prepare
    from orchestrator.graphs.sessions import SAME_SUMS

    if scheme.calibrator not in METHODS:  # a vendor's own, of which our twin knows nothing
        scheme = replace(scheme, calibrator="minmax")
    source = source_of(model, wanted)
    real = _features(prepare(model), inputs)

    def batches() -> Iterable[NDArray[np.float32]]:
        return (inputs[i : i + 1] for i in range(len(inputs)))

    # A toolchain that calibrates by itself has none.
    table = table or calibrate(source, batches, scheme.calibrator)
    gains = []
    quantized = quantize(source, table, scheme)
    now = _cosine(quantized, inputs, real)
    if wanted.get("equalize"):
        # Both with ranges of these images alone, or the one with the better fitting table wins.
        pair = [
            _cosine(quantize(m, calibrate(m, batches, scheme.calibrator), scheme), inputs, real)
            for m in (prepare(model), source)
        ]
        gains.append(Gain("equalize", *pair))
    if SUGGESTED in wanted.get("keep_float", ()):
        report = explain(source, quantized, batches, threads=SAME_SUMS)
        scheme = replace(scheme, keep_float=tuple(sorted(report.bad)))
        quantized = quantize(source, table, scheme)
        before, now = now, _cosine(quantized, inputs, real)
        names = ", ".join(report.bad) or "nothing"
        gains.append(Gain(f"keep_float ({names})", before, now))
    if wanted.get("bias_correction"):
        errors = bias.mean_errors(source, quantized, batches)
        source = bias.correct(source, errors)
        table = replace(table, model=fingerprint(source))
        before, now = now, _cosine(quantize(source, table, scheme), inputs, real)
        gains.append(Gain("bias_correction", before, now))
    return Helped(source, table, scheme.keep_float, tuple(gains))


def words(gains: Iterable[Mapping[str, Any]]) -> str:
    """Gains as a person reads them."""
    return "; ".join(f"{g['helper']}: {g['before']:.5f} → {g['after']:.5f}" for g in gains)


def _cosine(quantized: bytes, inputs: NDArray[np.float32], real: NDArray[np.float64]) -> float:
    import numpy as np

    found = _features(quantized, inputs)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(real, axis=1)
    return float(((found * real).sum(axis=1) / np.maximum(lengths, 1e-300)).mean())


def _features(model: bytes, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
    import numpy as np

    from orchestrator.graphs.sessions import faithful_session, joined

    session = faithful_session(model, threads=1)
    name = session.get_inputs()[0].name
    rows = [joined(session.run(None, {name: image[None]})) for image in inputs]
    return np.stack(rows).astype(np.float64)
