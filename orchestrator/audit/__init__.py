"""The audit of a test set: images that repeat, roles that overlap, figures too few to be told."""

from orchestrator.audit.alarms import false_alarms
from orchestrator.audit.checks import Images, audit, leaks
from orchestrator.audit.near import NEAR_BITS, near_pairs
from orchestrator.audit.prints import VERSION, Prints, prints_of
from orchestrator.audit.sheet import draw

__all__ = [
    "NEAR_BITS",
    "VERSION",
    "Images",
    "Prints",
    "audit",
    "draw",
    "false_alarms",
    "leaks",
    "near_pairs",
    "prints_of",
]
