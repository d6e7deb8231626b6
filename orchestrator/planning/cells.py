"""From the matrix to cells: which encoder makes the gallery, which the probes, and what cannot be.

A cell is one row: a pair of encoders over one test set; in mixed mode float32 makes the gallery.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

from orchestrator.errors import UserError
from orchestrator.events import ExecutedBy
from orchestrator.specs.detecting import Detecting, is_on_board, label, quantized
from orchestrator.specs.inventory import Board, Inventory
from orchestrator.specs.kinds import Kind
from orchestrator.specs.matrix import Entry, Gallery, Matrix
from orchestrator.specs.quantization import Quantization
from orchestrator.specs.runtimes import runtimes


class ToolchainCapabilities(Protocol):
    """What a toolchain or its twin declares: read here as data, never called."""

    @property
    def runtime(self) -> str:
        """The runtime on the board that its artifacts need."""

    @property
    def schemes(self) -> frozenset[tuple[str, str | None, str | None]]:
        """(dtype, granularity, symmetry) it can emit."""

    @property
    def calibrators(self) -> frozenset[str]:
        """Calibrators it can use."""

    @property
    def targets(self) -> Collection[str]:
        """Processors that it makes one file each for; empty when one serves all."""

    @property
    def calibrates(self) -> bool:
        """Whether its own tool calibrates, from the images."""

    @property
    def simulator(self) -> str:
        """The runtime that is its vendor's simulator on the head; empty when there is none."""

    @property
    def missing(self) -> str:
        """What has to be installed before it can make anything; empty when nothing."""

    @property
    def keeps_float(self) -> bool:
        """Whether single layers can stay in float32."""

    def no_given(self, model: str) -> str:
        """Why it cannot deploy the quantized file of a model; empty when it can."""


@dataclass(frozen=True)
class Encoder:
    """What turns images into features: a model, made by a toolchain, executed somewhere.

    `name` is unique in a plan: the board, with model and scheme where it has several. `provider`
    is what of a native runtime executes where that is not its accelerator; `emulator` tells that
    what the inventory calls a board turned out to be one. `simulator` is its vendor's simulator's
    runtime, `machine` the processor that is emulated: empty when there is none. `detector` finds
    and aligns the faces that it is fed with, where a board does that.
    """

    model: str
    quantization: Quantization
    toolchain: str
    runtime: str
    kind: str
    executed_by: ExecutedBy
    pool: tuple[str, ...]
    name: str
    provider: str = ""
    target: str = ""
    calibrates: bool = False
    simulator: str = ""
    emulator: bool = False
    machine: str = ""
    detector: Encoder | None = None

    @property
    def chain(self) -> tuple[Encoder, ...]:
        """What executes, in its order: the detector where it has one, and itself."""
        return (self,) if self.detector is None else (self.detector, self)

    @property
    def is_reference(self) -> bool:
        """Whether nothing in it is less exact than float32."""
        return all(each.quantization.dtype == "float32" for each in self.chain)

    @property
    def simulated(self) -> bool:
        """Whether its vendor's simulator executes it, which has no time."""
        return self.executed_by == "simulator"

    @property
    def twin(self) -> bool:
        """Whether its artifact is the twin of what the toolchain makes for a real board."""
        return self.executed_by == "twin"

    @property
    def maker(self) -> str:
        """Under which name what makes its artifact is offered: `tengine`, `tengine twin`."""
        return capability_name(self.toolchain, self.twin)


def capability_name(toolchain: str, twin: bool) -> str:
    """The name under which a toolchain's, or its twin's, capabilities are kept."""
    return f"{toolchain} twin" if twin else toolchain


@dataclass(frozen=True)
class Cell:
    """One row of the table. `reason` says why it cannot be made; empty when it can."""

    name: str
    entry: str
    model: str
    board: str
    kind: str
    gallery: Encoder
    probe: Encoder
    mixed: bool
    reason: str = ""


@dataclass(frozen=True)
class Candidate:
    """What `include` and `exclude` choose from: a row before it is known whether it is wanted."""

    model: str
    entry: Entry
    pool: tuple[Board, ...]
    quantization: Quantization
    gallery: Gallery
    detector: Detecting

    @property
    def facts(self) -> dict[str, Any]:
        """As the rules of a matrix take them."""
        return {
            "entry": self.entry.name,
            "board": self.pool[0],
            "toolchain": self.pool[0].toolchain_for(self.entry.toolchain),
            "quantization": self.quantization,
            "gallery": self.gallery,
            "model": self.model,
        }


def crossed(matrix: Matrix, inventory: Inventory, models: Collection[str]) -> Iterator[Candidate]:
    """Boards × quantizations × detectors × galleries × models of each entry, in table order."""
    for model in models:
        for entry in matrix.entries:
            if entry.model and model not in entry.model:
                continue
            for pool in _pools(entry, inventory):
                for quantization in entry.quantization:
                    for detector, gallery in product(entry.detector, entry.gallery):
                        yield Candidate(model, entry, pool, quantization, gallery, detector)


def as_executed(cells: Iterable[Cell], emulators: Collection[str]) -> list[Cell]:
    """The cells with what is known of who executes them.

    Args:
        emulators: names of boards that turned out to be emulators. Such a one leaves a pool that
            has a board; what only emulators execute is `emulated`.
    """

    def known(encoder: Encoder) -> Encoder:
        if encoder.detector is not None:
            encoder = replace(encoder, detector=known(encoder.detector))
        if encoder.executed_by != "board" and not encoder.emulator:
            return encoder
        boards = tuple(name for name in encoder.pool if name not in emulators)
        if boards:
            return replace(encoder, executed_by="board", pool=boards, emulator=False)
        return replace(encoder, executed_by="emulated", emulator=True)

    return [replace(cell, gallery=known(cell.gallery), probe=known(cell.probe)) for cell in cells]


def scheme_name(quantization: Quantization) -> str:
    """`float32`, or like `uint8-per-tensor-asymmetric`, its calibrator and float layers added."""
    return quantization.label.replace("float: ", "float-").replace(",", "+").replace(" ", "-")


def scheme_words(scheme: tuple[str, str | None, str | None]) -> str:
    """A scheme as a person says it: `uint8 per-tensor asymmetric`."""
    return " ".join(part for part in scheme if part)


def expand(
    matrix: Matrix,
    inventory: Inventory,
    kinds: Mapping[str, Kind],
    models: Collection[str],
    capabilities: Mapping[str, ToolchainCapabilities],
) -> list[Cell]:
    """All cells of a matrix, in its order, impossible ones included.

    Args:
        matrix, inventory, kinds: validated specs whose references have been checked.
        models: the names of the matrix's models.
        capabilities: what toolchains and twins declare, by `capability_name`.

    Raises:
        UserError: two cells would have one name, or nothing is left to do.
    """
    namer = _Namer(matrix, inventory, models)
    make = _Maker(matrix, kinds, capabilities, namer)
    references = {model: _reference(matrix, inventory, model, make) for model in models}
    cells: list[Cell] = []
    for row in crossed(matrix, inventory, models):
        if matrix.wants(**row.facts):
            encoder, reason = make.encoder(row)
            name = namer.row(encoder, row.detector)
            cells.append(_cell(name, encoder, reason, row, references[row.model]))
    _check_names(cells, matrix.source.file)
    return cells


class _Maker:
    """Makes the encoders of rows, each with the reason why it cannot be; empty when it can."""

    def __init__(
        self,
        matrix: Matrix,
        kinds: Mapping[str, Kind],
        capabilities: Mapping[str, ToolchainCapabilities],
        namer: _Namer,
    ) -> None:
        self._detector = matrix.detector_name
        self._kinds, self._capabilities, self._namer = kinds, capabilities, namer

    def encoder(self, row: Candidate) -> tuple[Encoder, str]:
        """A row's encoder, its detector in it."""
        encoder, reason = self._one(row.model, row, row.quantization)
        if not is_on_board(row.detector):
            return encoder, reason
        quantization = quantized(row.detector, row.quantization)
        detector, why = self._one(self._detector, row, quantization)
        if quantization.is_given:
            why = "a detector has no quantized file of its own; give it a quantization"
        if why:
            why = f"its detector: {why}"
        return replace(encoder, detector=detector), reason or why

    def _one(self, model: str, row: Candidate, quantization: Quantization) -> tuple[Encoder, str]:
        return _encoder(
            model, row.entry, quantization, row.pool, self._kinds, self._capabilities, self._namer
        )


def _cell(
    name: str, encoder: Encoder, reason: str, row: Candidate, reference: Encoder | None
) -> Cell:
    mixed = row.gallery == "float32" and encoder.quantization.dtype != "float32"
    if mixed and reference is None:
        reason = reason or (
            "mixed mode needs a float32 reference for the gallery, and no float32 row is possible"
        )
    return Cell(
        name=name + ("*" if mixed else ""),
        entry=row.entry.name,
        model=encoder.model,
        board=encoder.pool[0],
        kind=encoder.kind,
        gallery=reference if mixed and reference is not None else encoder,
        probe=encoder,
        mixed=mixed,
        reason=reason,
    )


def _check_names(cells: Iterable[Cell], where: str) -> None:
    seen: dict[str, Cell] = {}
    for cell in cells:
        other = seen.setdefault(cell.name, cell)
        if other is not cell:
            raise UserError(
                f"{where}: entries {other.entry!r} and {cell.entry!r} both make the row "
                f"{cell.name!r}",
                "narrow one entry's boards or quantization, or add an exclude rule",
            )
    if not seen:
        raise UserError(f"{where}: no cell is left after include and exclude", "relax these rules")


class _Namer:
    """Names encoders and rows as shortly as a plan allows."""

    def __init__(self, matrix: Matrix, inventory: Inventory, models: Collection[str]) -> None:
        self._several_models = len(models) > 1
        self._detector = matrix.detector_name
        self._schemes: dict[tuple[str, str], set[str]] = {}
        self._detectors: dict[str, set[str]] = {}
        for row in crossed(matrix, inventory, models):
            board, toolchain = row.pool[0].name, row.entry.toolchain
            self._detectors.setdefault(board, set()).add(label(row.detector))
            each = [(row.model, row.quantization)]
            if is_on_board(row.detector):
                each.append((self._detector, quantized(row.detector, row.quantization)))
            for model, quantization in each:
                schemes = self._schemes.setdefault((model, board), set())
                schemes.add(f"{toolchain} {scheme_name(quantization)}")

    def name(self, model: str, board: str, quantization: Quantization, toolchain: str) -> str:
        """`board`, with the model before it and the scheme after it where there are several."""
        schemes = self._schemes[model, board]
        parts = [model] if self._several_models or model == self._detector else []
        parts.append(board)
        if len(schemes) > 1:
            parts.append(scheme_name(quantization))
            if len({scheme.split()[0] for scheme in schemes}) > 1:
                parts.append(toolchain)
        return "/".join(parts)

    def row(self, encoder: Encoder, detector: Detecting) -> str:
        """The encoder's name, with the detector after it where a board has several."""
        if len(self._detectors[encoder.pool[0]]) == 1:
            return encoder.name
        return f"{encoder.name}/detector-{label(detector).replace(' ', '-')}"


def _pools(entry: Entry, inventory: Inventory) -> list[tuple[Board, ...]]:
    """One pool a row: boards chosen by name stand alone, others share a row with their kind.

    Boards of one pool must make the same features, so they run the same runtime set up alike.
    """
    boards = entry.boards.select(inventory)
    if entry.boards.name:
        return [(board,) for board in boards]
    groups: dict[tuple[str, ...], list[Board]] = {}
    for board in boards:
        # an emulated board never shares a row with a real one
        by, options = (board.executed_by, board.machine), board.runtime.model_dump_json()
        groups.setdefault((board.kind, *by, board.site, options), []).append(board)
    return [tuple(group) for group in groups.values()]


def _executing(board: Board, runtime: str, provider: str) -> str:
    """What of the runtime executes, where a reader of the row would expect something else."""
    known = runtimes().get(runtime)
    if known is None:
        return ""
    if not known.open_providers:
        return "" if provider in known.providers[:1] else provider
    short = provider.removesuffix("ExecutionProvider")
    return "" if board.executed_by != "board" or short == board.type == "CPU" else short


def _encoder(
    model: str,
    entry: Entry,
    quantization: Quantization,
    pool: tuple[Board, ...],
    kinds: Mapping[str, Kind],
    capabilities: Mapping[str, ToolchainCapabilities],
    namer: _Namer,
) -> tuple[Encoder, str]:
    board = pool[0]
    kind = kinds[board.kind]
    toolchain = board.toolchain_for(entry.toolchain)
    twin = board.runs_twin(toolchain)
    can = capabilities.get(capability_name(toolchain, twin))
    runtime = can.runtime if can else kind.runtime
    if board.executed_by == "simulator" and can is not None:
        runtime = can.simulator or runtime
    native = board.runtime_for(runtime).providers
    encoder = Encoder(
        model=model,
        quantization=quantization,
        toolchain=toolchain,
        runtime=runtime,
        kind=board.kind,
        executed_by="twin" if twin else board.executed_by,
        pool=tuple(member.name for member in pool),
        name=namer.name(model, board.name, quantization, toolchain),
        provider=_executing(board, runtime, native[0]) if native else "",
        target=kind.target if can is not None and can.targets else "",
        calibrates=can is not None and can.calibrates,
        simulator=can.simulator if can is not None else "",
        machine=board.machine,
    )
    is_own = toolchain in (kind.toolchain, "onnxruntime")
    if not is_own and any(other.toolchain == toolchain for other in kinds.values()):
        reason = f"{board.name} is a {kind.hardware}, which runs {kind.toolchain}, not {toolchain}"
        return encoder, reason
    return encoder, _impossible(quantization, board, kind, encoder, can)


def _impossible(
    quantization: Quantization,
    board: Board,
    kind: Kind,
    encoder: Encoder,
    can: ToolchainCapabilities | None,
) -> str:
    toolchain = encoder.toolchain
    if can is None and encoder.twin:
        return (
            f"the board {board.name} is emulated, and farm has no twin of {toolchain!r} to run "
            "there; `toolchain: onnxruntime` runs a plain QDQ file instead"
        )
    if can is None:
        return (
            f"{board.name} needs the toolchain {toolchain!r}, which this farm does not have; "
            "`toolchain: onnxruntime` runs an ONNX file on the board's CPU instead"
        )
    if encoder.simulated and not can.simulator:
        return (
            f"{board.name} is a simulator, and the toolchain {toolchain!r} has none; "
            "`transport: emulated` runs the twin instead"
        )
    if can.targets and encoder.target not in can.targets:
        wanted = encoder.target or f"{kind.hardware} (the kind {kind.name} has no `target:`)"
        return f"{toolchain} makes no file for {wanted}, only for {', '.join(can.targets)}"
    if quantization.is_given and can.no_given(encoder.model):
        return f"{toolchain} {can.no_given(encoder.model)}"
    if can.missing:
        return f"{board.name} needs the toolchain {toolchain!r}: {can.missing}"
    if quantization.is_given:
        return ""
    scheme = (quantization.dtype, quantization.granularity, quantization.symmetry)
    # onnxruntime on a board's CPU is not bound by its accelerator's rule.
    if toolchain == kind.toolchain and not kind.accepts(quantization):
        return (
            f"{kind.hardware} cannot run {scheme_words(scheme)}: "
            f"{kind.rule} takes only {kind.supported}"
        )
    if scheme not in can.schemes:
        return f"{toolchain} cannot make {scheme_words(scheme)}: {_declared(can.schemes)}"
    if quantization.has_helpers and can.calibrates:
        return (
            f"{toolchain} calibrates and quantizes by itself: accuracy helpers "
            "(equalize, bias_correction) do not reach it"
        )
    if quantization.keep_float and not can.keeps_float:
        return f"{toolchain}'s files have no float layers; leave keep_float out"
    if not quantization.is_float and quantization.calibrator not in can.calibrators:
        return (
            f"{toolchain} has no calibrator {quantization.calibrator!r}: it offers "
            f"{', '.join(sorted(can.calibrators))}"
        )
    return ""


def _declared(schemes: Iterable[tuple[str, str | None, str | None]]) -> str:
    return "it takes only " + " or ".join(sorted(scheme_words(scheme) for scheme in schemes))


def _reference(matrix: Matrix, inventory: Inventory, model: str, make: _Maker) -> Encoder | None:
    """The float32 encoder whose gallery features mixed mode uses."""
    entry = matrix.reference_entry
    if entry is None or (entry.model and model not in entry.model):
        return None
    for quantization, pool, detector in product(
        entry.quantization, _pools(entry, inventory), entry.detector
    ):
        encoder, reason = make.encoder(
            Candidate(model, entry, pool, quantization, "same", detector)
        )
        if encoder.is_reference and not reason:
            return encoder
    return None


def only(
    cells: list[Cell], names: tuple[str, ...], where: str, what: str = "--only "
) -> list[Cell]:
    """The cells that `--only` (or `what`) names: by cell, entry, board or kind.

    Raises:
        UserError: a name matches nothing; the nearest that would is given.
    """
    if not names:
        return cells
    chosen: list[Cell] = []
    for name in names:
        hits = [cell for cell in cells if name in (cell.name, cell.entry, cell.board, cell.kind)]
        if not hits:
            valid = sorted({n for c in cells for n in (c.name, c.entry, c.board)})
            near = difflib.get_close_matches(name, valid, 1)
            raise UserError(
                f"{what}{name}: no row, entry or board of {where} is called that",
                f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(valid)}",
            )
        chosen.extend(cell for cell in hits if cell not in chosen)
    return chosen
