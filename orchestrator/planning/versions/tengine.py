"""Tengine on TIM-VX: the driver galcore and the library libGAL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.planning.versions.reading import Version, mapping, version

# Tengine's document on TIM-VX: Linux needs this at least, and one release is broken.
GALCORE_LEAST: Version = (6, 4, 3)
GALCORE_BROKEN = "6.4.6.2.5.3.2"


def mismatches(opened: Mapping[str, Any], identity: Mapping[str, Any], toolkit: str) -> list[str]:
    """See `orchestrator.planning.versions.mismatches`."""
    facts, drivers = mapping(opened.get("facts")), mapping(identity.get("drivers"))
    libraries = mapping(identity.get("libraries"))
    kernel = str(facts.get("galcore") or drivers.get("galcore") or "")
    return _unfit(kernel, str(facts.get("libGAL") or libraries.get("libGAL") or ""))


def _unfit(kernel_text: str, user_text: str) -> list[str]:
    kernel, user = version(kernel_text), version(user_text)
    words = []
    if kernel and user and kernel[:3] != user[:3]:
        words.append(
            f"the board's driver galcore {kernel_text} and its library libGAL {user_text} are of "
            "different releases, which TIM-VX does not run with; bring both from one"
        )
    if kernel and (kernel[:3] < GALCORE_LEAST or kernel_text.startswith(GALCORE_BROKEN)):
        words.append(
            f"the board's driver galcore {kernel_text} is known not to run TIM-VX, which needs "
            f"6.4.3.p0.286725 or newer, and not {GALCORE_BROKEN}"
        )
    return words
