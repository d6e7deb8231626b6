"""TensorRT: what built an engine, the Python package and the library on the board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.planning.versions.reading import dotted, mapping, version


def mismatches(opened: Mapping[str, Any], identity: Mapping[str, Any], toolkit: str) -> list[str]:
    """See `orchestrator.planning.versions.mismatches`."""
    libraries = mapping(identity.get("libraries"))
    own, library = str(opened.get("version") or ""), str(libraries.get("libnvinfer") or "")
    return _unfit(own, mapping(opened.get("facts")), library)


def _unfit(own: str, facts: Mapping[str, Any], library: str) -> list[str]:
    runtime, file = version(own), version(library)
    built = version(str(facts.get("tensorrt") or ""))
    words = []
    if runtime and built and runtime[:3] != built[:3]:
        words.append(
            f"the engine was built by TensorRT {dotted(built)}, the board runs "
            f"{dotted(runtime)}: an engine fits one version only; `farm boards wipe` has it "
            "rebuilt"
        )
    if runtime and file and runtime[:3] != file[:3]:
        words.append(
            f"the board's Python package TensorRT {dotted(runtime)} and its libnvinfer "
            f"{dotted(file)} differ; install both from one JetPack"
        )
    return words
