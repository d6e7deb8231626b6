"""How many false alarms a test set allows: below one, TAR at that FAR cannot be given."""

from __future__ import annotations

import math
from collections.abc import Sequence

from orchestrator.counting import counted
from orchestrator.results import AuditFinding
from orchestrator.scoring.threshold import budget


def false_alarms(
    probes: Sequence[str], enrolled: Sequence[str], fars: Sequence[float], table_far: float
) -> AuditFinding:
    """The arithmetic of FAR before anything is run.

    Args:
        probes: identity of each probe.
        enrolled: identities of the gallery.
        fars: rates of false alarms a search that are scored.
        table_far: the one whose TAR the table shows.

    Returns:
        A finding whose count is the number of false alarms that all searches allow at `table_far`;
        a warning when that is none.
    """
    gallery = set(enrolled)
    searches, unknown = len(probes), sum(name not in gallery for name in probes)
    listed = ", ".join(
        f"{budget(far, searches):,} ({budget(far, unknown):,}) at FAR {far:g}"
        for far in sorted(fars, reverse=True)
    )
    allowed = budget(table_far, searches)
    sentence = (
        f"false alarms allowed among {counted(searches, 'search')} (among the "
        f"{counted(unknown, 'unknown probe')} alone): {listed}"
    )
    if not allowed:
        sentence += (
            f"; TAR at FAR {table_far:g} cannot be given: that takes "
            f"{counted(math.ceil(1 / table_far), 'probe')}, or a larger table_far"
        )
    if not unknown:
        sentence += "; there are no unknown probes, so every alarm is one for an enrolled person"
    return AuditFinding(
        kind="false-alarms",
        severity="note" if allowed else "warning",
        count=allowed,
        sentence=sentence,
    )
