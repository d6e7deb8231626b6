"""What a board is: its probe in words, its kind, and where farm's files can be there."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from orchestrator.cli.boards.asking import yes
from orchestrator.cli.boards.fleet import printed, say
from orchestrator.errors import BoardError, UserError
from orchestrator.fleet.boards.probing import BoardProbe, Recognition
from orchestrator.specs.kinds import Kind

_SKEW_S = 3600.0


def probe_lines(found: BoardProbe) -> list[str]:
    """What a probe found, for a person."""
    lines = [
        ("board", found.model or "no device tree"),
        ("chip", " ".join(dict.fromkeys((*found.soc, found.cpu)))),
        ("system", f"{found.os}, Linux {found.kernel}, {found.machine}"),
        ("memory", f"{found.memory_bytes / (1 << 30):.1f} GiB, {found.cores} cores"),
        ("Python", ", ".join(dict.fromkeys(version for _, version in found.pythons))),
        ("libraries", ", ".join(f"{n} {e.version}".strip() for n, e in found.libraries.items())),
        ("packages", ", ".join(f"{n} {v}".strip() for n, v in found.packages.items())),
        ("drivers", ", ".join(f"{n} {v}".strip() for n, v in found.drivers.items())),
        ("devices", ", ".join(found.devices)),
        ("tree", ", ".join(found.compatible)),
        ("heat", ", ".join(f"{n} {v:.0f} °C" for n, v in found.temperatures_c.items())),
        ("clocks", ", ".join(f"{n} {c.now_mhz:.0f} MHz" for n, c in found.clocks.items())),
    ]
    shown = [f"{name:<9} {printed(text)}" for name, text in lines if text.strip()]
    if found.clock_behind_s is not None and abs(found.clock_behind_s) > _SKEW_S:
        shown.append(
            f"calendar  {abs(found.clock_behind_s) / 86400:.1f} days "
            f"{'behind' if found.clock_behind_s > 0 else 'ahead'}; farm does not rely on it"
        )
    if not found.home_writable:
        shown.append("home      not writable")
    return shown


def choose(
    name: str, given: str | None, seen: Recognition, kinds: Mapping[str, Kind], *, ask: bool
) -> Kind:
    """The board's kind: as given, as recognised, or as the person agrees.

    Raises:
        UserError: it is not known, or only likely and nobody agreed.
    """
    for note in seen.notes:
        say(f"  note      {printed(note)}")
    if given is not None:
        if seen.kind is not None and seen.kind.name != given:
            say(f"  kind      {given}, as you say; it looks like {seen.kind.name}")
        return kinds[given]
    if seen.kind is None:
        raise UserError(
            f"{name}: not recognised: {printed('; '.join(seen.notes))}",
            f"say which kind it is with --kind; there are: {', '.join(kinds)}",
        )
    say(f"  kind      {seen.kind.name}: {printed(seen.because)}")
    if seen.certain or (ask and sys.stdin.isatty() and yes(f"is it a {seen.kind.name}?")):
        return seen.kind
    raise UserError(
        f"{name}: it is only likely that this is a {seen.kind.name}: "
        + printed("; ".join((seen.because, *seen.notes))),
        f"if it is: --kind {seen.kind.name}",
    )


def room_for_farm(found: BoardProbe) -> str | None:
    """A folder for farm where the user's home cannot be written; None when it can."""
    if found.home_writable or not found.writable:
        return None
    return found.writable[0] + "/farm"


def no_python(name: str, found: BoardProbe) -> BoardError:
    """What is said of a board without a Python that will do."""
    old = ", ".join(version for _, version in found.pythons)
    return BoardError(
        f"{name}: no Python 3.6 or later there" + (f" (only {old})" if old else ""),
        "nothing was written. Install one on the board (`apt-get install python3-minimal`, `opkg "
        "install python3-light`), or copy a portable build for its processor "
        f"({found.machine or 'see uname -m'}) to it and name it with --python /path/to/python3",
    )
