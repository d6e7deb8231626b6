"""What the steps of an encoder are called."""

from __future__ import annotations

from orchestrator.planning.cells import Encoder, scheme_name


def after_detector(encoder: Encoder) -> str:
    """Tells features of one encoder apart by whose faces they are of."""
    return f"/{encoder.detector.name}" if encoder.detector is not None else ""


def extraction(encoder: Encoder, role: str) -> str:
    """The step in which an encoder turns the images of a role into features."""
    return f"extract/{encoder.name}/{role}{after_detector(encoder)}"


def measurement(encoder: Encoder) -> str:
    """The step in which an encoder is timed."""
    return f"measure/{encoder.name}"


def artifact_name(encoder: Encoder) -> str:
    """A deployable file: what makes it, for which processor, and its scheme."""
    parts = [encoder.maker.replace(" ", "-"), scheme_name(encoder.quantization)]
    if encoder.target:
        parts.insert(1, f"{encoder.target}-simulator" if encoder.simulated else encoder.target)
    return "/".join(parts)
