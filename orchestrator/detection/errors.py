"""The one exception of the detection library."""

from __future__ import annotations


class DetectionError(ValueError):
    """Outputs, boxes or truth that cannot be used; the message says of which image."""
