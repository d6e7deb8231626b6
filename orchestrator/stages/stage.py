"""What a stage is: its inputs, where it runs, what it does, and its result in a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.planning.stage_facts import StageFacts
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Work
from orchestrator.store.artifacts import Held


@dataclass(frozen=True)
class Stage:
    """One kind of step; each file of this folder that is one ends with its `STAGE`.

    Attributes:
        facts: what the plan knows of it: name, recipe, where it runs.
        inputs: roles of the steps that every step of this stage needs.
        sometimes: roles that only some need.
        run: does a step's work, in a thread of the driver's: it calls Ray workers and boards, and
            gives what is to be stored, or what it has stored itself. Raises FarmError.
        summary: the finished step in a line for a person, from the output's facts.
    """

    facts: StageFacts
    inputs: tuple[str, ...]
    run: Callable[[Work], StageOutput | Held]
    summary: Callable[[Mapping[str, Any]], str]
    sometimes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As in keys, events and folders of the store."""
        return self.facts.name


def size(facts: Mapping[str, Any]) -> str:
    """A file's bytes."""
    return f"{facts['bytes']:,} bytes"
