"""The one exception of the scoring library."""

from __future__ import annotations


class ScoringError(ValueError):
    """The input cannot be scored; the message names the set, the row and the identity."""
