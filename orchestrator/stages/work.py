"""One step under way: what its stage may use, and what boards say meanwhile."""

from __future__ import annotations

import platform
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from orchestrator.cluster.interfaces import BoardCalls, BoardMessage, Computes, Emits
from orchestrator.data.progress import Progress
from orchestrator.errors import ToolchainError
from orchestrator.events import Note, StepProgress, Telemetry
from orchestrator.fleet.boards.board import Artifact
from orchestrator.fleet.session.types import Building, MeasureFacts, ModelFacts, SensorSample
from orchestrator.images.workers import Rendering
from orchestrator.planning.facts import BoardFacts
from orchestrator.planning.graph import Graph, Step
from orchestrator.planning.resolving import Resolution
from orchestrator.specs.inventory import Board
from orchestrator.specs.model import ModelSpec
from orchestrator.stages.conditions import pace_mhz
from orchestrator.stages.deployable import deployable
from orchestrator.stages.image_rows import Rows
from orchestrator.stages.shared_extraction import Extractions
from orchestrator.stages.stage_output import StageOutput
from orchestrator.store.artifacts import CorruptArtifact, Held, Store
from orchestrator.version import __version__

Tools = tuple[str, bool, Mapping[str, Any] | None]
"""A step's toolchain as the stages take it: name, whether its twin, options."""


class Planned(Protocol):
    """What the stages need of a plan."""

    @property
    def store(self) -> Store: ...

    @property
    def graph(self) -> Graph: ...

    @property
    def resolution(self) -> Resolution: ...

    @property
    def models(self) -> Mapping[str, ModelSpec]: ...

    @property
    def boards(self) -> Mapping[str, Board]: ...

    @property
    def facts(self) -> Mapping[str, BoardFacts]: ...

    @property
    def tools(self) -> Mapping[str, Mapping[str, Any]]: ...

    @property
    def rows(self) -> Mapping[tuple[str, str], Rows]: ...

    def domains(self) -> Mapping[str, str]:
        """Contention domain of each board; the head's under the empty name."""

    def emulator(self, name: str) -> str:
        """By what a board shows that it is an emulator; empty when it is none."""


@dataclass(frozen=True, eq=False)
class Services:
    """What all steps of a run share. Thread-safe, apart from the plan, which the driver changes.

    Attributes:
        stop: set when the run is being stopped.
        owner: who makes results, for others that wait for the same ones.
        heat: each board's latest temperature, degrees Celsius.
        progressed: ids of steps whose latest attempt brought something that is kept.
    """

    plan: Planned
    compute: Computes
    boards: BoardCalls
    reporter: Emits
    stop: threading.Event
    owner: str
    rendering: Rendering = field(default_factory=Rendering)
    extractions: Extractions = field(default_factory=Extractions)
    heat: dict[str, float] = field(default_factory=dict)
    progressed: set[str] = field(default_factory=set)


@dataclass
class About:
    """What boards said of themselves and the artifact during a step."""

    opened: ModelFacts | None = None
    measured: MeasureFacts | None = None
    sensors: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For the step's provenance: what was not said is left out."""
        said = {"opened": self.opened, "measured": self.measured}
        found: dict[str, Any] = {name: asdict(facts) for name, facts in said.items() if facts}
        return found | ({"sensors": dict(self.sensors)} if self.sensors else {})


@dataclass(frozen=True, eq=False)
class Work:
    """One step, and what its stage may use to do it."""

    step: Step
    key: str
    services: Services

    @property
    def store(self) -> Store:
        """Where inputs are and outputs go."""
        return self.services.plan.store

    def another(self, step: Step, key: str) -> Work:
        """The same for another step."""
        return replace(self, step=step, key=key)

    # -- inputs --------------------------------------------------------------------------------

    def has(self, role: str) -> bool:
        """Whether the step has an input of this role."""
        return role in self.step.inputs

    def input(self, role: str) -> Held:
        """What the store holds of an input.

        Raises:
            CorruptArtifact: it is gone.
        """
        plan = self.services.plan
        source = plan.graph.steps[self.step.inputs[role]]
        held = plan.store.lookup(source.stage, plan.resolution.keys[source.id])
        if held is None:
            raise CorruptArtifact(
                f"{source.id}: gone from the store while the run was going",
                "`farm resume` makes it again",
            )
        return held

    def model(self) -> bytes:
        """The step's model: its float32 file, or the quantized one that is deployed as given."""
        model = self.services.plan.models[self.step.extra["model"]]
        path = model.quantized_path if self.step.extra.get("given") else model.path
        return path.read_bytes()

    def tools(self, step: Step | None = None) -> Tools:
        """The step's toolchain, or that of another step."""
        params = (step or self.step).params
        name = params["toolchain"]
        return name, params["twin"], self.services.plan.tools.get(name)

    def artifact(self) -> tuple[Held, Artifact]:
        """The file to deploy: as the store holds it, and as the step's board opens it."""
        plan, step = self.services.plan, self.step
        held = self.input("artifact")
        meta = plan.models[step.extra["model"]].input_meta
        return held, deployable(held, plan.boards[step.board], step.extra["runtime"], meta)

    # -- output --------------------------------------------------------------------------------

    @property
    def origin(self) -> dict[str, str]:
        """Which farm made an output; said beside it, and part of no key."""
        return {"farm": __version__}

    def commit(self, output: StageOutput) -> Held:
        """Keep the step's output in the store."""
        origin = self.origin | {"python": platform.python_version()}
        return self.store.commit(
            self.step.stage,
            self.key,
            output.files,
            provenance=origin | dict(output.provenance),
            facts=output.facts,
        )

    def provenance(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """What made an output on a board."""
        facts = self.services.plan.facts.get(self.step.board)
        return {
            **self.origin,
            "executed_by": self.step.executed_by,
            "board_name": self.step.board,
            "board_facts": facts.to_json() if facts else {},
            **about,
        }

    # -- events --------------------------------------------------------------------------------

    def progress(self, done: int, total: int, unit: str, note: str = "") -> None:
        """Say how far the step is."""
        step = self.step
        self.services.reporter.emit(
            StepProgress(
                step=step.id, board=step.board, done=done, total=total, unit=unit, note=note
            )
        )

    def warn(self, text: str, board: str = "") -> None:
        """Say something that a person should read."""
        board = board or self.step.board
        message = f"{self.step.id}{text}"
        self.services.reporter.emit(Note(level="warning", board=board, message=message))

    def receive(self, message: BoardMessage, about: About, unit: str, board: str = "") -> None:
        """Take in what a board says beside times and features.

        Args:
            about: receives what the step's provenance keeps.
            unit: of progress.
            board: which board, where it is not the step's own.
        """
        board = board or self.step.board
        match message:
            case Progress():
                self.progress(message.done, message.total, unit, message.note)
            case Building():
                note = (
                    f"{message.doing}: {message.seconds:.0f} s of at most {message.limit_s:.0f} s;"
                )
                self.progress(0, 0, unit, note)
            case ModelFacts():
                self._check_length(message, board)
                about.opened = message
            case MeasureFacts():
                about.measured = message
            case SensorSample() if message.values:
                about.sensors = message.values
                self._show(board, message)

    def _check_length(self, opened: ModelFacts, board: str) -> None:
        model = self.services.plan.models[self.step.extra["model"]]
        if opened.dim != model.row_size:
            where = (
                "`embedding_size` in its manifest" if model.embedding_size else "all its outputs"
            )
            raise ToolchainError(
                f"{board}: {opened.runtime} makes features of {opened.dim} numbers, the model "
                f"{model.name} has {model.row_size} ({where})"
            )

    def _show(self, board: str, sample: SensorSample) -> None:
        temperature, clock = sample.values.get("temperature_c"), pace_mhz(sample.values)
        if isinstance(temperature, (int, float)):
            self.services.heat[board] = float(temperature)
        if temperature is not None or clock is not None:
            self.services.reporter.emit(
                Telemetry(board=board, temperature_c=temperature, clock_mhz=clock)
            )
