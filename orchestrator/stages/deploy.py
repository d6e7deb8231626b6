"""deploy: an artifact on its board, verified there, and built there where the runtime does that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.cluster.interfaces import Deployed
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages import deployable
from orchestrator.stages.stage import Stage
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import About, Work


def run(work: Work) -> StageOutput:
    """Bring the artifact; nothing is stored, since the output lies on the board."""
    held, artifact = work.artifact()
    data = held.read(deployable.FILE)
    about, there = About(), False
    for message in work.services.boards.deploy(work.step.board, artifact, data):
        if isinstance(message, Deployed):
            there = message.already_there
        else:
            work.receive(message, about, "bytes")
    built = about.opened.facts if about.opened else {}
    build_s = float(built.get("build_s") or 0) if built.get("built_now") is True else None
    return StageOutput({}, {"bytes": len(data), "already_there": there, "build_s": build_s})


def summary(facts: Mapping[str, Any]) -> str:
    """What was sent, and how long the board built."""
    said = "already there" if facts["already_there"] else f"{facts['bytes']:,} bytes, verified"
    if facts["build_s"] is not None:
        said += f", engine built in {facts['build_s']:.0f} s"
    return said


STAGE = Stage(STAGE_FACTS["deploy"], ("artifact",), run, summary)
