"""The table of stages: each is the file of its name in this folder.

What plan, scheduler and estimate know of it is its line in `planning/stage_facts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.stages.stage import Stage

STAGES: Mapping[str, Stage] = {
    name: import_module(f"orchestrator.stages.{name}").STAGE for name in STAGE_FACTS
}
