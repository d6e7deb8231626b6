"""Versions that do not fit each other: a file's toolkit, its runtime, the accelerator's driver.

Pure. What is not reported gives no word. Each word has both versions and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

Version = tuple[int, ...]

_NUMBERS = re.compile(r"(?<![\w.])(\d+(?:\.\d+){1,3})")
# librknnrt prints this itself from 1.5.2 on (public logs).
RKNPU_LEAST: tuple[Version, Version] = ((1, 5, 2), (0, 8, 8))
# Tengine's document on TIM-VX: Linux needs this at least, and one release is broken.
GALCORE_LEAST: Version = (6, 4, 3)
GALCORE_BROKEN = "6.4.6.2.5.3.2"


def version(text: str) -> Version:
    """The first version in a text (`librknnrt version: 2.3.0 (c94@2024)`); empty for none."""
    found = _NUMBERS.search(text)
    return tuple(int(part) for part in found.group(1).split(".")) if found else ()


def of_runtimes(
    runtimes: Mapping[str, str], told: Mapping[str, Any], toolkit: str = ""
) -> tuple[str, ...]:
    """What does not fit on a board whose runtimes were looked at but not opened.

    Args:
        runtimes: name to the version that the board tells.
        told: the `identity` of its facts, with their `drivers`.
        toolkit: what makes the board's files here, with its version; empty where nothing does.
    """
    words: list[str] = []
    for name in sorted(runtimes):
        words += mismatches(name, {"version": runtimes[name]}, told, toolkit)
    return tuple(words)


def mismatches(
    runtime: str, opened: Mapping[str, Any], told: Mapping[str, Any], toolkit: str = ""
) -> tuple[str, ...]:
    """What does not fit where a runtime opened a file.

    Args:
        runtime: its name.
        opened: its facts: `version`, and in `facts` what it read of file and driver.
        told: the `identity` of the board's facts, with their `drivers`.
        toolkit: what made the file, with its version.
    """
    facts, drivers = _mapping(opened.get("facts")), _mapping(told.get("drivers"))
    libraries = _mapping(told.get("libraries"))
    own = str(opened.get("version") or "")
    if runtime == "rknn":
        made = str(facts.get("toolkit") or "") or (toolkit if toolkit.startswith("rknn") else "")
        api, _, within = own.partition(", driver ")
        driver = within or str(drivers.get("rknpu") or "")
        return tuple(_rknn(made, api, driver))
    if runtime == "tengine":
        kernel = str(facts.get("galcore") or drivers.get("galcore") or "")
        user = str(facts.get("libGAL") or libraries.get("libGAL") or "")
        return tuple(_galcore(kernel, user))
    if runtime == "tensorrt":
        return tuple(_tensorrt(own, facts, str(libraries.get("libnvinfer") or "")))
    return ()


def _rknn(made: str, api: str, driver: str) -> list[str]:
    toolkit, library, kernel = version(made), version(api), version(driver)
    words = []
    # Toolkit 1.x of RKNN 2 and librknn_api 1.x of RKNN 1 number alike: only what made it tells.
    first = made.startswith("rknn-toolkit ") or (not made and "librknn_api" in api)
    name = "librknn_api" if first else "librknnrt"
    if toolkit and library and toolkit[:3] > library[:3]:
        words.append(
            f"the file was made by {_made(made)}, newer than the board's {name} {_dotted(library)}:"
            " wrong features are a known result; bring the library of the toolkit's release"
        )
    elif toolkit and library and toolkit[0] != library[0]:
        words.append(
            f"the file was made by {_made(made)}, the board has {name} {_dotted(library)}: another "
            "generation; convert it with the toolkit of the library's release"
        )
    if first and library and kernel and library[:2] != kernel[:2]:
        words.append(
            f"the board's librknn_api {_dotted(library)} and its driver {_dotted(kernel)} are of "
            "different releases; bring both from one"
        )
    since, least = RKNPU_LEAST
    if not first and kernel and library[:3] >= since and kernel[:3] < least:
        words.append(
            f"the board's librknnrt {_dotted(library)} asks for an NPU driver of {_dotted(least)} "
            f"or newer, it has {_dotted(kernel)}; update its kernel"
        )
    return words


def _galcore(kernel_text: str, user_text: str) -> list[str]:
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


def _tensorrt(own: str, facts: Mapping[str, Any], library: str) -> list[str]:
    runtime, file = version(own), version(library)
    built = version(str(facts.get("tensorrt") or ""))
    words = []
    if runtime and built and runtime[:3] != built[:3]:
        words.append(
            f"the engine was built by TensorRT {_dotted(built)}, the board runs "
            f"{_dotted(runtime)}: an engine fits one version only; `farm boards wipe` has it "
            "rebuilt"
        )
    if runtime and file and runtime[:3] != file[:3]:
        words.append(
            f"the board's Python package TensorRT {_dotted(runtime)} and its libnvinfer "
            f"{_dotted(file)} differ; install both from one JetPack"
        )
    return words


def _made(text: str) -> str:
    return text.split(",")[0] if text.startswith("rknn") else f"rknn-toolkit2 {text}"


def _dotted(numbers: Version) -> str:
    return ".".join(map(str, numbers))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
