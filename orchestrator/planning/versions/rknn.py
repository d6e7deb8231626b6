"""Rockchip: the toolkit that made a file, the library and the driver on the board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.planning.versions.reading import Version, dotted, mapping, version

# librknnrt prints this itself from 1.5.2 on (public logs).
RKNPU_LEAST: tuple[Version, Version] = ((1, 5, 2), (0, 8, 8))


def mismatches(opened: Mapping[str, Any], identity: Mapping[str, Any], toolkit: str) -> list[str]:
    """See `orchestrator.planning.versions.mismatches`."""
    facts, drivers = mapping(opened.get("facts")), mapping(identity.get("drivers"))
    built_by = str(facts.get("toolkit") or "") or (toolkit if toolkit.startswith("rknn") else "")
    api, _, within = str(opened.get("version") or "").partition(", driver ")
    return _unfit(built_by, api, within or str(drivers.get("rknpu") or ""))


def _unfit(built_by: str, api: str, driver: str) -> list[str]:
    toolkit, library, kernel = version(built_by), version(api), version(driver)
    words = []
    # Toolkit 1.x of RKNN 2 and librknn_api 1.x of RKNN 1 number alike: only what made it tells.
    first = built_by.startswith("rknn-toolkit ") or (not built_by and "librknn_api" in api)
    name = "librknn_api" if first else "librknnrt"
    if toolkit and library and toolkit[:3] > library[:3]:
        words.append(
            f"the file was made by {_maker(built_by)}, newer than the board's {name} "
            f"{dotted(library)}: wrong features are a known result; bring the library of the "
            "toolkit's release"
        )
    elif toolkit and library and toolkit[0] != library[0]:
        words.append(
            f"the file was made by {_maker(built_by)}, the board has {name} {dotted(library)}: "
            "another generation; convert it with the toolkit of the library's release"
        )
    if first and library and kernel and library[:2] != kernel[:2]:
        words.append(
            f"the board's librknn_api {dotted(library)} and its driver {dotted(kernel)} are of "
            "different releases; bring both from one"
        )
    since, least = RKNPU_LEAST
    if not first and kernel and library[:3] >= since and kernel[:3] < least:
        words.append(
            f"the board's librknnrt {dotted(library)} asks for an NPU driver of {dotted(least)} "
            f"or newer, it has {dotted(kernel)}; update its kernel"
        )
    return words


def _maker(text: str) -> str:
    return text.split(",")[0] if text.startswith("rknn") else f"rknn-toolkit2 {text}"
