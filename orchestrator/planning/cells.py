"""From the matrix to cells: which encoder makes the gallery, which the probes, and what cannot be.

A cell is one row of the table: a pair of encoders over one test set. Mixed mode is nothing special:
its gallery encoder is the float32 reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from orchestrator.errors import UserError
from orchestrator.events import ExecutedBy
from orchestrator.specs.inventory import Board, Inventory
from orchestrator.specs.kinds import Kind
from orchestrator.specs.matrix import Entry, Matrix, Quantization


class Offer(Protocol):
    """What a toolchain declares: read here as data, never called."""

    @property
    def runtime(self) -> str:
        """The runtime on the board that its artifacts need."""

    @property
    def schemes(self) -> frozenset[tuple[str, str | None, str | None]]:
        """(dtype, granularity, symmetry) it can emit."""

    @property
    def calibrators(self) -> frozenset[str]:
        """Calibrators it can use."""


@dataclass(frozen=True)
class Encoder:
    """What turns images into features: a model, made by a toolchain, executed somewhere."""

    model: str
    quantization: Quantization
    toolchain: str
    runtime: str
    kind: str
    executed_by: ExecutedBy
    pool: tuple[str, ...]

    @property
    def id(self) -> str:
        """Its name in step names; unique in a plan."""
        where = self.pool[0] if len(self.pool) == 1 else self.kind
        return f"{self.model}/{where}/{scheme_name(self.quantization)}"


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


def scheme_name(quantization: Quantization) -> str:
    """`float32`, or like `uint8-per-tensor-asymmetric`, its calibrator and float layers added."""
    if quantization.dtype == "float32":
        return "float32"
    parts = [quantization.dtype, str(quantization.granularity), str(quantization.symmetry)]
    if quantization.calibrator != "minmax":
        parts.append(str(quantization.calibrator))
    if quantization.keep_float:
        parts.append(f"{len(quantization.keep_float)}-float")
    return "-".join(parts)


def scheme_words(scheme: tuple[str, str | None, str | None]) -> str:
    """A scheme as a person says it: `uint8 per-tensor asymmetric`."""
    return " ".join(part for part in scheme if part)


def expand(
    matrix: Matrix,
    inventory: Inventory,
    kinds: Mapping[str, Kind],
    offers: Mapping[str, Offer],
    *,
    where: str = "matrix.yaml",
) -> list[Cell]:
    """All cells of a matrix, in its order, impossible ones included.

    Args:
        matrix, inventory, kinds: validated specs whose references have been checked.
        offers: toolchain name to what it declares.
        where: the matrix file's name, for errors.

    Raises:
        UserError: two cells would have one name, or nothing is left to do.
    """
    cells: list[Cell] = []
    for model in matrix.models:
        reference = _reference(matrix, inventory, kinds, offers, model, where)
        for entry in matrix.entries:
            if entry.models and model not in entry.models:
                continue
            for pool in _pools(entry, inventory):
                for quantization in entry.quantizations:
                    encoder, reason = _encoder(model, entry, quantization, pool, kinds, offers)
                    for gallery in entry.galleries:
                        cell = _cell(encoder, reason, entry, gallery, reference, pool, matrix)
                        if not any(rule.matches(_facets(cell)) for rule in matrix.exclude):
                            cells.append(cell)
    _check_names(cells, where)
    return cells


def _cell(
    encoder: Encoder,
    reason: str,
    entry: Entry,
    gallery: str,
    reference: Encoder | None,
    pool: tuple[Board, ...],
    matrix: Matrix,
) -> Cell:
    mixed = gallery == "float32" and encoder.quantization.dtype != "float32"
    if mixed and reference is None:
        reason = reason or (
            "mixed mode needs a float32 reference for the gallery, and no entry is float32"
        )
    name = f"{encoder.pool[0]}/{scheme_name(encoder.quantization)}" + ("*" if mixed else "")
    if len(matrix.models) > 1:
        name = f"{encoder.model}:{name}"
    return Cell(
        name=name,
        entry=entry.name,
        model=encoder.model,
        board=pool[0].name,
        kind=encoder.kind,
        gallery=reference if mixed and reference is not None else encoder,
        probe=encoder,
        mixed=mixed,
        reason=reason,
    )


def _facets(cell: Cell) -> dict[str, str]:
    return {
        "entry": cell.entry,
        "board": cell.board,
        "kind": cell.kind,
        "model": cell.model,
        "gallery": "float32" if cell.mixed else "same",
        "quantization": scheme_name(cell.probe.quantization),
        "dtype": cell.probe.quantization.dtype,
    }


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
        raise UserError(f"{where}: no cell is left after the exclude rules", "relax `exclude`")


def _pools(entry: Entry, inventory: Inventory) -> list[tuple[Board, ...]]:
    """One pool a row: boards chosen by name stand alone, boards chosen by kind share a row."""
    chosen: list[tuple[Board, ...]] = []
    selector = entry.boards
    by_name = {board.name: board for board in inventory.boards}
    for name in selector.name:
        chosen.append((by_name[name],))
    groups: dict[tuple[str, str, str], list[Board]] = {}
    for board in inventory.boards:
        if board.kind in selector.kind or set(board.tags) & set(selector.tag):
            # an emulated board never shares a row with a real one
            groups.setdefault((board.kind, board.executed_by, board.site), []).append(board)
    taken = {pool[0].name for pool in chosen}
    for boards in groups.values():
        if boards[0].name not in taken:
            chosen.append(tuple(boards))
    return chosen


def _encoder(
    model: str,
    entry: Entry,
    quantization: Quantization,
    pool: tuple[Board, ...],
    kinds: Mapping[str, Kind],
    offers: Mapping[str, Offer],
) -> tuple[Encoder, str]:
    board = pool[0]
    kind = kinds[board.kind]
    toolchain = entry.toolchain
    if toolchain == "auto":
        toolchain = "onnxruntime" if board.executed_by == "emulated" else kind.toolchain
    offer = offers.get(toolchain)
    encoder = Encoder(
        model=model,
        quantization=quantization,
        toolchain=toolchain,
        runtime=offer.runtime if offer else kind.runtime,
        kind=board.kind,
        executed_by=board.executed_by,
        pool=tuple(member.name for member in pool),
    )
    return encoder, _impossible(quantization, board, kind, toolchain, offer)


def _impossible(
    quantization: Quantization, board: Board, kind: Kind, toolchain: str, offer: Offer | None
) -> str:
    if offer is None:
        return (
            f"{board.name} needs the toolchain {toolchain!r}, which this farm does not have; "
            "`toolchain: onnxruntime` runs an ONNX file on the board's CPU instead"
        )
    if board.executed_by == "emulated" and toolchain != "onnxruntime":
        return (
            f"{board.name} is emulated and runs onnxruntime only, not {toolchain}; "
            "leave `toolchain` out, or use a real board"
        )
    scheme = (quantization.dtype, quantization.granularity, quantization.symmetry)
    if quantization.dtype == "float32":
        scheme = ("float32", None, None)
    if scheme not in offer.schemes:
        return f"{toolchain} cannot make {scheme_words(scheme)}: {_offered(offer.schemes)}"
    # A real board that runs onnxruntime on its CPU is not bound by its accelerator's rule.
    if toolchain == kind.toolchain or board.executed_by == "emulated":
        accepted = kind.accepted
        if scheme not in accepted:
            return f"{kind.hardware} cannot run {scheme_words(scheme)}: {_offered(accepted)}"
    if quantization.dtype != "float32" and quantization.calibrator not in offer.calibrators:
        return (
            f"{toolchain} has no calibrator {quantization.calibrator!r}: it offers "
            f"{', '.join(sorted(offer.calibrators))}"
        )
    return ""


def _offered(schemes: Iterable[tuple[str, str | None, str | None]]) -> str:
    return "it takes only " + " or ".join(sorted(scheme_words(scheme) for scheme in schemes))


def _reference(
    matrix: Matrix,
    inventory: Inventory,
    kinds: Mapping[str, Kind],
    offers: Mapping[str, Offer],
    model: str,
    where: str,
) -> Encoder | None:
    """The float32 encoder whose gallery features mixed mode uses: the named entry's, or the first."""
    for entry in matrix.entries:
        if matrix.reference and entry.name != matrix.reference:
            continue
        if entry.models and model not in entry.models:
            continue
        for quantization in entry.quantizations:
            if quantization.dtype == "float32":
                pool = _pools(entry, inventory)[0]
                encoder, reason = _encoder(model, entry, quantization, pool, kinds, offers)
                if not reason:
                    return replace(encoder)
    if matrix.reference:
        raise UserError(
            f"{where}: reference {matrix.reference!r} has no possible float32 row",
            "name an entry whose quantization is float32",
        )
    return None
