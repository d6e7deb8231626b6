"""What a model's features look like on a few images, before anything is quantized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orchestrator.counting import share

Floats = npt.NDArray[np.float32]

# Features that differ by less, as a share of their length, are one to any quantization.
_CONSTANT = 1e-6
_NEARLY = 1e-3


@dataclass(frozen=True)
class Looked:
    """What is wrong with features.

    Attributes:
        fatal: why they are of no use; empty when they are.
        warnings: what makes them doubtful.
    """

    fatal: str
    warnings: tuple[str, ...]


def look(features: Floats, *, detector: bool = False) -> Looked:
    """Judge features.

    Args:
        features: float32 (n, d), of n different images.
        detector: they are a detector's raw outputs, most of which say the same of any image.
    """
    count, dims = features.shape
    if dims < 2:
        return Looked("the model's output is one number an image, no embedding", ())
    for word, bad in (("NaN", np.isnan(features)), ("infinite", np.isinf(features))):
        images = int(bad.any(axis=1).sum())
        if images:
            return Looked(f"the model's output is {word} for {share(images, count, 'image')}", ())
    zero = int((~features.any(axis=1)).sum())
    if zero == count:
        return Looked(f"the model's output is all zero for {share(count, count, 'image')}", ())
    warnings = []
    if zero:
        warnings.append(f"the model's output is all zero for {share(zero, count, 'image')}")
    if count > 1:
        wide = features.astype(np.float64)
        length = float(np.linalg.norm(wide, axis=1).mean())
        apart = float(np.linalg.norm(wide - wide.mean(axis=0), axis=1).max()) / length
        if apart < _CONSTANT:
            return Looked(
                f"the model's output is the same for all of {count} images: its features do not "
                "depend on the image",
                (),
            )
        if apart < _NEARLY and not detector:
            warnings.append(
                f"the model's features hardly depend on the image: on {count} images they differ "
                f"by {apart:.1g} of their length"
            )
        spread = np.ptp(wide, axis=0)
        dead = int((spread <= 1e-9 * max(float(np.abs(wide).max()), 1e-30)).sum())
        if dead and not detector:
            warnings.append(
                f"{dead} of the {dims} numbers of the model's features are the same for all of "
                f"{count} images"
            )
    return Looked("", tuple(warnings))
