"""The proof that a normal form computes what the user's file does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orchestrator.errors import ToolchainError, UserError
from orchestrator.graphs.prepare import prepare
from orchestrator.graphs.sessions import joined
from orchestrator.intake.normalizing import Normal
from orchestrator.intake.reading import Original
from orchestrator.intake.running import outputs_of, session_of

LOWEST = 1 - 1e-5
LOWEST_HALF = 1 - 1e-3
# Lengths may differ by so much: cosine alone does not see a factor.
LENGTHS, LENGTHS_HALF = 1e-3, 2e-2

Floats = npt.NDArray[np.float32]

_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True)
class Proof:
    """How both compare on the same images.

    Attributes:
        images: how many.
        cosine: the lowest one; 1.0 where nothing was changed.
        features: float32 (n, d), the normal form's.
    """

    images: int
    cosine: float
    features: Floats


def prove(original: Original, normal: Normal, fed: Floats) -> Proof:
    """Compute both on the same images.

    Args:
        original, normal: the file and what was made of it.
        fed: float32 (n, 3, height, width), as the normal form takes them.

    Raises:
        UserError: they differ, or onnxruntime cannot compute one of them.
    """
    features = features_of(normal.data, fed)
    if not normal.changes:
        return Proof(len(fed), 1.0, features)
    before = _original_features(original, normal, fed)
    if before.shape != features.shape:
        raise UserError(
            f"the model gives {before.shape[1]} numbers an image, and its normal form "
            f"{features.shape[1]}",
            _hint(normal),
        )
    return Proof(len(fed), _compare(before, features, normal), features)


def prepared(normal: Normal) -> bytes:
    """Prepare it as every toolchain will, so that it is not a run that finds out.

    Raises:
        UserError: it cannot be.
    """
    try:
        return prepare(normal.data)
    except ToolchainError as error:
        raise UserError(error.message, error.hint) from error


def features_of(model: bytes, fed: Floats) -> Floats:
    """float32 (n, d) of a normal form; d is the embedding's, or that of all outputs together."""
    session = session_of(model)
    name = session.get_inputs()[0].name
    return np.stack([joined(outputs_of(session, {name: image[None]})) for image in fed])


def _original_features(original: Original, normal: Normal, fed: Floats) -> Floats:
    """float32 (n, d) of the file itself, fed as it wants it."""
    # By its path onnxruntime reads weights beside it, as any user of the file would.
    source = str(original.path) if normal.computable is None else normal.computable
    session = session_of(source, f"the model {original.path}")
    name = normal.name
    # The session's own type: a model changed so that it can be computed may be float32 by now.
    known = [output.name for output in session.get_outputs()]
    places = [known.index(name) for name in normal.outputs]
    images = fed if normal.layout == "NCHW" else fed.transpose(0, 2, 3, 1)
    if normal.dtype == "uint8":
        images = np.clip(np.rint(images), 0, 255)
    images = images.astype(_TYPES[session.get_inputs()[0].type])
    batch = max(normal.batch, 1)
    rows = []
    for start in range(0, len(images), batch):
        taken = np.arange(start, start + batch) % len(images)
        outputs = outputs_of(session, {name: np.ascontiguousarray(images[taken])})
        count = min(batch, len(images) - start)
        parts = [np.asarray(outputs[p]).astype(np.float32).reshape(batch, -1) for p in places]
        rows.append(np.concatenate(parts, axis=1)[:count])
    return np.concatenate(rows)


def _compare(before: Floats, after: Floats, normal: Normal) -> float:
    a, b = before.astype(np.float64), after.astype(np.float64)
    good = np.isfinite(a).all(axis=1)
    if not np.isfinite(b[good]).all():
        raise UserError("the normal form gives NaN where the model does not", _hint(normal))
    a, b = a[good], b[good]
    if not len(a):
        return 1.0  # nothing to compare; whoever looks at the outputs says so
    la, lb = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    zero = (la == 0) & (lb == 0)
    with np.errstate(all="ignore"):
        cosines = np.where(zero, 1.0, (a * b).sum(axis=1) / (la * lb))
        apart = np.where(zero, 0.0, np.abs(la - lb) / la)
    lowest = float(np.nan_to_num(cosines, nan=0.0).min())
    limit, most = (LOWEST_HALF, LENGTHS_HALF) if normal.half else (LOWEST, LENGTHS)
    if lowest < limit or float(np.nan_to_num(apart, nan=1.0).max()) > most:
        raise UserError(
            f"the normal form does not compute what the model does: lowest cosine {lowest:.7f} on "
            f"{len(a)} images (expected {limit:.5f} or more), lengths differ by up to "
            f"{float(np.nan_to_num(apart, nan=1.0).max()):.2g}",
            _hint(normal),
        )
    return lowest


def _hint(normal: Normal) -> str:
    return (
        "changes made: "
        + "; ".join(normal.changes)
        + ". Export the model so that these are not needed: float32, NCHW, batch 1"
    )
