"""Kinds of work: which steps take about as long as each other. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator.planning.graph import Step
from orchestrator.planning.stage_facts import STAGE_FACTS

BESIDE_STEPS = ("begin", "ray", "connect")
"""What takes time beside steps: until the driver begins, until Ray is up, connecting a board."""


@dataclass(frozen=True)
class Work:
    """A kind of work, from the general to the particular.

    Attributes:
        stage: of the step; also `begin`, `ray`, `connect`.
        place: what executes it: `head`, or a board's kind and by what it is executed.
        model, variant: what else decides how long it takes.
        board: the board; empty for the head.
    """

    stage: str
    place: str = "head"
    model: str = ""
    variant: str = ""
    board: str = ""

    def levels(self) -> tuple[Work, ...]:
        """The kinds of work that this one belongs to, the most general first."""
        general = Work(self.stage, self.place)
        model = replace(general, model=self.model)
        variant = replace(model, variant=self.variant)
        return tuple(dict.fromkeys((general, model, variant, self)))

    def to_text(self) -> str:
        """One line; the inverse of `from_text`."""
        words = (self.stage, self.place, self.model, self.variant, self.board)
        return "|".join(word.replace("|", "/") for word in words)

    @classmethod
    def from_text(cls, text: str) -> Work:
        """What `to_text` wrote.

        Raises:
            ValueError: it is not that.
        """
        words = text.split("|")
        if len(words) != 5 or not (words[0] in STAGE_FACTS or words[0] in BESIDE_STEPS):
            raise ValueError(f"no kind of work: {text!r}")
        return cls(*words)


def work_of(step: Step, place: str) -> Work:
    """The kind of work that a step is.

    Args:
        place: see `Work`.
    """
    return Work(step.stage, place, str(step.extra.get("model", "")), _variant(step), step.board)


def _variant(step: Step) -> str:
    params = step.params
    if step.stage == "calibrate":
        return str(params["calibrator"]) + (" equalize" if params["equalize"] else "")
    if step.stage in ("quantize", "convert"):
        scheme = params["scheme"]
        helped = any(scheme.get(name) for name in ("equalize", "bias_correction", "keep_float"))
        words = [params["toolchain"], "twin" if params["twin"] else "", scheme["dtype"]]
        return " ".join(filter(None, [*words, "helped" if helped else ""]))
    if step.facts.executes:
        dtype = step.inputs["artifact"].rpartition("/")[2].partition("-")[0]
        return f"{step.extra['runtime']} {dtype}"
    return "simulator" if "simulator" in step.inputs else ""


def least_seconds(step: Step) -> float:
    """What a step takes however fast its board is: a measurement has a shortest time."""
    if not step.facts.measures_time:
        return 0.0
    policy = step.params["policy"]
    pauses = float(policy["blocks"] - 1) * float(policy["pause_s"])
    return float(policy["min_duration_s"]) + pauses
