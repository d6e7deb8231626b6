"""From files to a plan: everything is read and checked here, before any board is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import BoardError
from orchestrator.events import CellInfo, ExecutedBy, StepInfo
from orchestrator.fleet.boards.fleet_book import FleetBook
from orchestrator.graphs.recipes import QDQ, calibration_version, helpers_version
from orchestrator.planning.building import CALIBRATION, GIVEN, HELPERS, build
from orchestrator.planning.cells import Cell, Encoder, as_executed, expand, only
from orchestrator.planning.critical_path import Lead, leads, ranks
from orchestrator.planning.evidence import Evidence
from orchestrator.planning.facts import BoardFacts, identity_of
from orchestrator.planning.graph import HEAD_DOMAIN, Graph, ImageSet, Step
from orchestrator.planning.identity import emulator
from orchestrator.planning.new_facts import take_facts
from orchestrator.planning.paces import Observation, Paces
from orchestrator.planning.resolving import Keys, Resolution, Successors, resolve, step_key
from orchestrator.planning.step_names import extraction, measurement
from orchestrator.planning.tasks import TASKS
from orchestrator.planning.work import Work, least_seconds, work_of
from orchestrator.preflight.as_given import Given, examine
from orchestrator.preflight.audit import audit_of
from orchestrator.preflight.caches import FactsFile, PacesFile
from orchestrator.preflight.capabilities import DeclaredCapabilities, capabilities_of, check_kinds
from orchestrator.preflight.known_files import KnownFiles
from orchestrator.preflight.machines import require_machines
from orchestrator.preflight.model import TakenIn, hold_against_file, take_in
from orchestrator.preflight.rows import detectors_of, image_rows
from orchestrator.preflight.settings import refuse_idle
from orchestrator.preflight.unsupported import with_reasons
from orchestrator.request import Request
from orchestrator.results import AuditFinding
from orchestrator.specs.inventory import Board, Inventory, load_inventory
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.manifests import load_detector, load_models
from orchestrator.specs.matrix import Matrix, load_matrix
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.references import check_references
from orchestrator.specs.runtimes import runtime
from orchestrator.store.artifacts import Store

if TYPE_CHECKING:
    from orchestrator.images import Rows


@dataclass
class Plan:
    """A checked matrix against a fleet and a store.

    Attributes:
        cells: all rows, impossible ones included.
        graph, resolution: the steps of the possible rows, their keys, what is left to do.
        tools: options of the toolchains that the inventory speaks of.
        rows: (model, role) to its images.
        audit: what the images' audit found; leaks among it are allowed.
        book: how the boards stand in the fleet log.
        models: as every step uses them: in the normal form.
        intake: what was done to bring them there.
        bound: which board of its pool does a step, by step; `bind` chooses.
        given: what was found of models' quantized files, where rows deploy them as given.
        ranks, leads: by step, as the functions of these names have them.
    """

    request: Request
    matrix: Matrix
    boards: dict[str, Board]
    models: dict[str, ModelSpec]
    cells: list[Cell]
    capabilities: dict[str, DeclaredCapabilities]
    tools: dict[str, dict[str, Any]]
    rows: dict[tuple[str, str], Rows]
    store: Store
    book: FleetBook
    intake: dict[str, TakenIn] = field(default_factory=dict)
    facts: dict[str, BoardFacts] = field(default_factory=dict)
    audit: list[AuditFinding] = field(default_factory=list)
    graph: Graph = field(default_factory=lambda: Graph({}, {}))
    resolution: Resolution = field(default_factory=Resolution)
    bound: dict[str, str] = field(default_factory=dict)
    ranks: dict[str, float] = field(default_factory=dict)
    leads: dict[str, Lead] = field(default_factory=dict)
    given: dict[str, Given] = field(default_factory=dict)
    _contents: dict[str, str] = field(default_factory=dict)
    _keys: Keys = field(default_factory=Keys)
    _successors: Successors | None = None
    _paces: Paces | None = None
    _emulators: Mapping[str, str] = field(default_factory=dict)

    def settle(self) -> None:
        """Work out graph and keys again from what is now known of boards and store."""
        self._emulators = self.emulators()
        self.cells = as_executed(self.cells, self._emulators)
        sets = {
            key: ImageSet(key[1], rows.fingerprint(), len(rows)) for key, rows in self.rows.items()
        }
        self.graph = build(
            self.cells,
            self.matrix,
            self.models,
            self.boards,
            sets,
            self.facts,
            {name: can.version for name, can in self.capabilities.items()}
            | {
                CALIBRATION: calibration_version(),
                GIVEN: f"given recipe {QDQ}",
                HELPERS: helpers_version(),
            },
            self.bound,
        )
        self.ranks = ranks(self.graph, self.seconds)
        sharing = {n for n, b in self.boards.items() if b.contention_domain == HEAD_DOMAIN}
        self.leads = leads(self.graph, self.seconds, sharing)
        self.resolve()

    def take_facts(self, boards: Collection[str]) -> list[str] | None:
        """Bring the graph up to date where all that changed since are the facts of some boards.

        Returns:
            Ids of the steps whose keys are to be worked out again (`resolve_after`); None where
            one of the boards turned out to be an emulator or none: all is to be settled then.
        """
        if any((name in self._emulators) != bool(self.emulator(name)) for name in boards):
            return None
        return take_facts(self.graph, self.boards, self.facts, boards)

    def emulators(self) -> dict[str, str]:
        """What the inventory calls a board and shows that it is an emulator: by what, by name."""
        found = {name: self.emulator(name) for name in self.facts if name in self.boards}
        return {name: words for name, words in found.items() if words}

    def emulator(self, name: str) -> str:
        """By what a board shows that it is an emulator; empty as far as nothing is known of it."""
        board, facts = self.boards[name], self.facts.get(name)
        if facts is None or board.executed_by != "board":
            return ""
        return emulator(load_kinds()[board.kind], Evidence.by_agent(facts.machine, facts.identity))

    def executed_by(self, name: str) -> ExecutedBy:
        """What a board's results may be called, as far as is known."""
        return "emulated" if self.emulator(name) else self.boards[name].executed_by

    def bind(self) -> None:
        """Give each step of a pool a board: one whose time is in the store, else each in turn."""
        turns: dict[tuple[str, ...], int] = {}
        for cell in self.possible:
            for encoder in (cell.gallery, cell.probe):
                roles = TASKS[self.matrix.task].roles
                # A recognizer is also fed with a float32 detector's faces, by another step.
                each = (encoder, *encoder.chain, replace(encoder, detector=None))
                steps = [
                    step
                    for one in each
                    for step in (measurement(one), *(extraction(one, role) for role in roles))
                ]
                if len(encoder.pool) == 1 or steps[0] in self.bound or steps[1] in self.bound:
                    continue
                usable = [n for n in encoder.pool if not self.book.refusal(n, encoder.runtime)]
                free = [name for name in usable if self.book.reserved(name) is None] or usable
                known = [name for name in free if name in self.facts]
                fit = known or free or list(encoder.pool)
                turn = turns[encoder.pool] = turns.get(encoder.pool, -1) + 1
                self.bound |= dict.fromkeys(steps, fit[turn % len(fit)])
        self.settle()
        self._bind_measured()

    def _bind_measured(self) -> None:
        found = {}
        for step in self.graph.steps.values():
            if (
                step.stage != "measure"
                or len(step.pool) == 1
                or step.id not in self.resolution.keys
            ):
                continue
            for name in step.pool if not self.resolution.cached(step.id) else ():
                params = step.params | {"board": identity_of(self.boards[name])}
                facts = self.facts.get(name)
                params["runtime"] = facts and facts.runtime_identity(step.extra["runtime"])
                key = step_key(replace(step, params=params), self.resolution.contents)
                if key is not None and self.content("measure", key) is not None:
                    found[step.id] = name
                    break
        if found:
            self.bound |= found
            self.settle()

    def resolve(self) -> None:
        """Work out keys again after the store has received something."""
        self.resolution = resolve(self.graph, self.content, self._keys)
        self._successors = None

    def resolve_after(self, ended: Iterable[str]) -> None:
        """Work out keys again after the store has received the outputs of some steps (ids)."""
        if self._successors is None:
            self._successors = Successors(self.graph, self._keys, self.resolution)
        self.resolution = self._successors.resolve(self.resolution, ended, self.content)

    def forget(self) -> None:
        """Look at the store again: something in it was discarded."""
        self._contents.clear()

    def content(self, stage: str, key: str) -> str | None:
        """Content hash of what the store holds under a key."""
        if key not in self._contents:
            held = self.store.lookup(stage, key)
            if held is None:
                return None
            self._contents[key] = held.content
        return self._contents[key]

    def notes(self, model: str | None = None) -> list[str]:
        """What must be said of the images, of one model's or of all."""
        rows = (rows for (name, _), rows in self.rows.items() if model in (None, name))
        return list(dict.fromkeys(note for found in rows for note in found.notes))

    @property
    def possible(self) -> list[Cell]:
        """The rows that can be made."""
        return [cell for cell in self.cells if not cell.reason]

    def hardware(self, cell: Cell) -> str:
        """The Hardware column: the board's name, what its scheme has beyond the columns beside
        it, and a star in mixed mode."""
        extras = " ".join(cell.probe.quantization.extras)
        name = self.boards[cell.board].hardware + (f" ({extras})" if extras else "")
        return name + ("*" if cell.mixed else "")

    def axes(self, cell: Cell) -> dict[str, str | None]:
        """`dtype`, `granularity` and `symmetry` of a row; those of the file where it is given."""
        q = cell.probe.quantization
        held = self.given[cell.model] if q.is_given else q
        return {
            "dtype": held.dtype,
            "granularity": held.granularity,
            "symmetry": held.symmetry,
        }

    def cell_infos(self) -> tuple[CellInfo, ...]:
        """The rows as events carry them."""
        return tuple(
            CellInfo(
                name=cell.name,
                hardware=self.hardware(cell),
                board=cell.board,
                executed_by=cell.probe.executed_by,
                reason=cell.reason,
            )
            for cell in self.cells
        )

    def step_infos(self, only: Container[str] | None = None) -> tuple[StepInfo, ...]:
        """The steps as events carry them: those to do, and those that the store already holds.

        Args:
            only: ids; None: all of them.
        """
        shown = self.resolution.shown
        domains = self.domains()
        return tuple(
            StepInfo(
                id=step.id,
                stage=step.stage,
                board=step.board,
                cells=tuple(step.cells),
                executed_by=step.executed_by,
                cached=self.resolution.cached(step.id),
                domain=domains[step.board],
                seconds=self.seconds(step),
                units=step.units,
                least=least_seconds(step),
                sources=tuple(s for s in self.graph.sources(step.id) if s in shown),
                pool=step.pool if len(step.pool) > 1 else (),
                priority=step.priority,
                work=self._work(step).to_text(),
                all_processors=step.all_processors,
            )
            for step in self.graph.steps.values()
            if (only is None or step.id in only) and step.id in shown
        )

    def boards_needed(self) -> list[str]:
        """Boards that have something to do, in the inventory's order."""
        needed = {self.graph.steps[s].board for s in self.resolution.todo}
        return [name for name in self.boards if name in needed]

    def boards_in_use(self) -> list[Board]:
        """Boards that have something to do, or may be given it."""
        steps = [self.graph.steps[step_id] for step_id in self.resolution.todo]
        names = {name for step in steps for name in (step.board, *step.pool)}
        return [board for name, board in self.boards.items() if name in names]

    def runtimes(self, board: str) -> tuple[str, ...]:
        """Runtimes that what is to be done on a board needs, its own first."""
        steps = (self.graph.steps[step_id] for step_id in self.resolution.todo)
        names = {s.extra["runtime"] for s in steps if s.board == board and "runtime" in s.extra}
        own = self.boards[board].runtime.name
        return tuple(sorted(names, key=lambda name: (name != own, name)))

    def refusals(self) -> dict[str, BoardError]:
        """Why steps that are to be done cannot be, by step: their board is out of use."""
        found: dict[str, BoardError] = {}
        for step_id in self.resolution.todo:
            step = self.graph.steps[step_id]
            error = self.refusal(step)
            if error is not None:
                found[step_id] = error
        return found

    def refusal(self, step: Step) -> BoardError | None:
        """Why a step's board gets no work, None when it may."""
        if not step.board:
            return None
        return self.book.refusal(step.board, step.extra.get("runtime"))

    def domains(self) -> dict[str, str]:
        """Contention domain of each board; the head's under the empty name."""
        return {"": HEAD_DOMAIN} | {n: board.contention_domain for n, board in self.boards.items()}

    def observations(self) -> list[Observation]:
        """What earlier runs' steps took."""
        return PacesFile(Path(self.request.state)).load()

    def seconds(self, step: Step) -> float:
        """How long a step takes alone, as earlier runs' steps would have it."""
        if self._paces is None:
            self._paces = Paces(self.observations())
        return self._paces.line(self._work(step)).seconds(step.units, least_seconds(step))

    def _work(self, step: Step) -> Work:
        if not step.board:
            return work_of(step, "head")
        board = self.boards[step.board]
        by = f"{board.kind} {step.executed_by or board.executed_by}"
        return work_of(step, f"{by} {board.machine}".rstrip())

    def matrix_sha256(self) -> str:
        """Hash of the matrix file's bytes."""
        return hashlib.sha256(Path(self.request.matrix).read_bytes()).hexdigest()


def make_plan(
    request: Request,
    by: str = "",
    *,
    places: Callable[[Board], Board] | None = None,
    facts: BoardFacts | None = None,
) -> Plan:
    """Read and check everything and work out what is left to do.

    Args:
        request: what a person asked for.
        by: who writes into the fleet log what is learnt of boards.
        places: what is taken in the place of each board of the inventory.
        facts: what is true of all of them, instead of what is remembered of each.

    Raises:
        UserError: something in the files is wrong; nothing has been started.
    """
    matrix, state = load_matrix(Path(request.matrix)), Path(request.state)
    written = inventory = load_inventory(Path(request.inventory))
    if places is not None:
        placed = tuple(places(board) for board in written.boards)
        inventory = written.model_copy(update={"boards": placed})
    models = load_models(matrix)
    capabilities = capabilities_of(inventory)
    check_references(matrix, inventory, load_kinds(), models)
    check_kinds(inventory, load_kinds(), capabilities)
    given, capabilities = examine(matrix, inventory, models, capabilities, state)
    cells = _asked_for(request, matrix, inventory, written, list(models), capabilities)
    require_machines(inventory, cells)
    used = _used(matrix, models, cells)
    known = KnownFiles(state)
    for model in used.values():
        hold_against_file(model, known)
    rows = image_rows(matrix, used, cells, request)
    taken = {name: take_in(model, rows, state) for name, model in used.items()}
    known.save()
    boards = {board.name: board for board in inventory.boards}
    book = FleetBook(Path(request.runs), by)
    book.read(boards)
    plan = Plan(
        request=request,
        matrix=matrix,
        boards=boards,
        models={name: found.spec for name, found in taken.items()},
        cells=with_reasons(cells, {name: found.impossible for name, found in taken.items()}),
        capabilities=capabilities,
        given=given,
        tools={name: options.to_options() for name, options in inventory.toolchains.items()},
        rows=rows,
        store=Store(state / "store"),
        book=book,
        intake=taken,
        facts=dict.fromkeys(boards, facts) if facts else FactsFile(state).load(boards),
    )
    plan.audit = audit_of(matrix, plan.rows, plan.models, state)
    plan.bind()
    return plan


def _used(
    matrix: Matrix, models: Mapping[str, ModelSpec], cells: Sequence[Cell]
) -> dict[str, ModelSpec]:
    """The models that rows are of, and the detector where a board runs it before a recognizer."""
    used = {name: models[name] for name in models if any(c.model == name for c in cells)}
    detector = load_detector(matrix) if any(map(detectors_of, cells)) else None
    return used | ({detector.name: detector} if detector is not None else {})


def _asked_for(
    request: Request,
    matrix: Matrix,
    inventory: Inventory,
    written: Inventory,
    models: list[str],
    capabilities: dict[str, DeclaredCapabilities],
) -> list[Cell]:
    """The rows that a person asked for, on what is taken in the place of the inventory's boards.

    Raises:
        UserError: a setting that no row of the inventory as it is written uses; no such row.
    """
    kinds = load_kinds()
    cells = expand(matrix, inventory, kinds, models, capabilities)
    real = cells
    if inventory is not written:
        real = expand(matrix, written, kinds, models, capabilities)
    refuse_idle(matrix, written, models, real)
    return only(cells, request.only, request.matrix)


def graph_with(request: Request, boards: tuple[Board, ...]) -> Plan:
    """A plan as if the inventory had just these boards, none known and nothing in the store.

    Raises:
        UserError: something in the files is wrong.
    """
    matrix = load_matrix(Path(request.matrix))
    real = load_inventory(Path(request.inventory))
    models, kinds, capabilities = load_models(matrix), load_kinds(), capabilities_of(real)
    check_references(matrix, real, kinds, models)
    check_kinds(real, kinds, capabilities)
    inventory = real.model_copy(update={"boards": boards})
    cells = only(
        expand(matrix, inventory, kinds, list(models), capabilities), request.only, request.matrix
    )
    nowhere = Path(request.state) / "simulated"
    plan = Plan(
        request=request,
        matrix=matrix,
        boards={board.name: board for board in boards},
        models=_used(matrix, models, cells),
        cells=cells,
        capabilities=capabilities,
        tools={},
        rows=image_rows(matrix, models, cells, request),
        store=Store(nowhere / "store"),
        book=FleetBook(nowhere, ""),
    )
    plan.bind()
    return plan


def encoder_backend(encoder: Encoder) -> str:
    """The Backend column: what really ran, and for whom when it was only a substitute."""
    dtype = encoder.quantization.dtype
    # The table has no column for it, and a dash for its granularity as float32 has.
    half = " float16" if dtype == "float16" else ""
    if encoder.executed_by == "twin":
        from orchestrator.toolchains import twin_of

        on = f"{encoder.runtime} {encoder.machine}".rstrip()
        return f"{twin_of(encoder.toolchain)}{half} twin ({on})"
    if encoder.simulated:
        from orchestrator.toolchains.registry import descriptor

        return f"{descriptor(encoder.toolchain).label}{half} simulator"
    if encoder.executed_by == "emulated":
        return f"{encoder.runtime}{half} ({f'emulated {encoder.machine}'.rstrip()})"
    name = runtime(encoder.runtime).label + half
    return f"{name} ({encoder.provider})" if encoder.provider else name
