"""Numbers with their nouns: `1 probe`, `2,000 probes`."""

from __future__ import annotations

_IRREGULAR = {"is": "are", "was": "were", "has": "have", "differs": "differ", "its": "their"}


def plural(noun: str) -> str:
    """`probes`, `identities`, `searches`; of a verb, its form for several: `are`."""
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"


def form(count: int, noun: str) -> str:
    """The noun (its last word) or verb, as it goes with a number: `enrolled identities`."""
    *before, last = noun.split(" ")
    return noun if count == 1 else " ".join([*before, plural(last)])


def counted(count: int, noun: str) -> str:
    """`1 probe`, `2,000 probes`."""
    return f"{count:,} {form(count, noun)}"


def share(part: int, whole: int, noun: str) -> str:
    """`1 of 1 row`, `1 of 3 rows`."""
    return f"{part:,} of {counted(whole, noun)}"
