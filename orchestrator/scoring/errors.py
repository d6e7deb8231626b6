"""The exceptions of the scoring library."""

from __future__ import annotations


class ScoringError(ValueError):
    """The input cannot be scored; the message names the set, the row and the identity."""


class UnusableRow(ScoringError):
    """A feature that is zero or not finite.

    Attributes:
        what: its set, as the caller called it.
        row: its row there.
    """

    def __init__(self, message: str, what: str = "", row: int = -1) -> None:
        super().__init__(message)
        self.what, self.row = what, row
