"""How far a piece of work is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """So much is done; the unit (images, inferences, bytes, pairs) is that of the work.

    Attributes:
        done: units that are done.
        total: of about how many; 0 while that is not known.
        note: what else goes on.
    """

    done: int
    total: int
    note: str = ""
