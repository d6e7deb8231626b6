"""Settings without an effect: what a file says and this plan never asks for.

Whoever writes a setting expects it to count. One that says no more than what holds without it is
true, and may stand; any other that changes nothing is refused, with its line and why. An inventory
serves many matrices: of its boards only those are looked at that have a row here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.planning.cells import Candidate, Cell
from orchestrator.planning.tasks import TASKS
from orchestrator.specs.base import Spec
from orchestrator.specs.inventory import Board, Inventory
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.matrix import Matrix
from orchestrator.specs.photos import RenderedPhotosSet
from orchestrator.specs.runtimes import board_runtimes, runtime
from orchestrator.specs.testset import RenderedSet
from orchestrator.specs.transports import (
    LocalTransportSpec,
    SimulatorTransportSpec,
    SshTransportSpec,
)
from orchestrator.specs.yamlfile import PathKey, Problem

Found = Iterator[tuple[PathKey, str]]

_ONLY_ON_A_BOARD = ("rounds", "cool_below_c", "clocks")


def idle(
    matrix: Matrix,
    inventory: Inventory,
    cells: Sequence[Cell],
    candidates: Sequence[Candidate],
    one_image_each: bool | None = None,
) -> list[Problem]:
    """Every setting that changes nothing, and every two that contradict each other.

    Args:
        matrix, inventory: as they were read.
        cells: all rows of the matrix, impossible ones included.
        candidates: the rows before `include` and `exclude`.
        one_image_each: whether each enrolled identity has one image; None when that is unknown.
    """
    said: list[tuple[PathKey, str]] = [
        *_shared(matrix, inventory, cells),
        *_measurement(matrix, inventory, cells),
        *_scoring(matrix, one_image_each),
        *_entries(matrix, inventory),
        *_rules(matrix, candidates),
    ]
    problems = [matrix.source.problem(place, text) for place, text in said]
    rows = _rows_of(cells)
    for i, board in enumerate(inventory.boards):
        place: PathKey = ("boards", i)
        for rest, text in _board(inventory, place, board, rows.get(board.name, ()), matrix):
            problems.append(inventory.source.problem((*place, *rest), f"{board.name}: {text}"))
    return problems


def _rows_of(cells: Sequence[Cell]) -> Mapping[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        for name in cell.probe.pool:
            found.setdefault(name, []).append(cell)
    return found


def _changed(spec: Spec, key: str) -> bool:
    """Whether a key says something else than what holds without it."""
    field = type(spec).model_fields[key]
    usual = field.get_default(call_default_factory=True, validated_data=dict(spec))
    return bool(getattr(spec, key) != usual)


def _shared(matrix: Matrix, inventory: Inventory, cells: Sequence[Cell]) -> Found:
    if all(cell.probe.quantization.is_float for cell in cells) and _changed(matrix, "calibration"):
        yield ("calibration",), "no row is quantized, so nothing is calibrated; leave it out"
    detectors = [cell.probe.detector for cell in cells]
    if matrix.detector_calibration is not None and all(
        detector is None or detector.quantization.is_float for detector in detectors
    ):
        text = "no board runs a quantized detector, so nothing is calibrated by it; leave it out"
        yield ("detector_calibration",), text
    leaks = getattr(matrix.calibration, "allow_leaks", False)
    if leaks and isinstance(matrix.test_set, RenderedSet):
        yield (
            ("calibration",),
            "the test set is rendered, so nobody's image is in it; leave allow_leaks out",
        )
    boards = [inventory.board(name) for cell in cells for name in cell.probe.pool]
    here = (LocalTransportSpec, SimulatorTransportSpec)
    if matrix.keep_images and all(board and isinstance(board.transport, here) for board in boards):
        text = "every row runs on this host itself, which keeps no images; leave it out"
        yield ("keep_images",), text
    if matrix.reference is not None and not any(cell.mixed for cell in cells):
        first = matrix.model_copy(update={"reference": None}).reference_entry
        if first is not matrix.reference_entry:
            text = (
                "it names who makes the float32 galleries of mixed rows, and no row is mixed; "
                "leave it out, or give an entry `gallery: float32`"
            )
            yield ("reference",), text


def _measurement(matrix: Matrix, inventory: Inventory, cells: Sequence[Cell]) -> Found:
    policy = matrix.measurement
    keys = [key for key in type(policy).model_fields if _changed(policy, key)]
    real = [cell for cell in cells if cell.probe.executed_by == "board"]
    emulated = [
        cell for cell in cells if cell.probe.executed_by != "board" and not cell.probe.simulated
    ]
    if not real and not (policy.emulated and emulated):
        why = (
            "emulated boards are timed only with `emulated: true`"
            if emulated
            else "a simulator says nothing of time"
        )
        for key in keys:
            if key != "emulated":
                yield ("measurement", key), f"no row is timed: {why}"
        return
    for key in _ONLY_ON_A_BOARD if not real else ():
        if key in keys:
            text = (
                "no row is measured on a board, and emulated boards are timed without it (what "
                "would cool, or be held, is this host); leave it out"
            )
            yield ("measurement", key), text
    if "cool_deadline_s" in keys and policy.cool_below_c is None:
        yield ("measurement", "cool_deadline_s"), "nothing is waited for without cool_below_c"
    if "pause_s" in keys and policy.blocks == 1:
        yield ("measurement", "pause_s"), "with one block there is no pause between blocks"
    own = [inventory.board(name) for cell in real for name in cell.probe.pool]
    if real and "clocks" in keys and all(board and board.clocks is not None for board in own):
        text = "each board with a row says its own `clocks:` in the inventory, which outweighs this"
        yield ("measurement", "clocks"), text


def _scoring(matrix: Matrix, one_image_each: bool | None) -> Found:
    policy = matrix.scoring
    for key in type(policy).model_fields:
        if key not in TASKS[matrix.task].scoring and _changed(policy, key):
            yield ("scoring", key), f"{matrix.task} is scored without it; leave it out"
    if matrix.task != "recognition":
        return
    single = one_image_each or isinstance(matrix.test_set, RenderedSet | RenderedPhotosSet)
    if single and _changed(policy, "fusion"):
        text = "each enrolled identity has one image, so nothing is fused; leave it out"
        yield ("scoring", "fusion"), text


def _entries(matrix: Matrix, inventory: Inventory) -> Found:
    priorities = {entry.priority for entry in matrix.entries}
    for i, entry in enumerate(matrix.entries):
        place: PathKey = ("entries", i)
        if entry.priority and len(priorities) == 1:
            text = (
                "it is the only entry, so nothing comes after it; leave it out"
                if len(matrix.entries) == 1
                else f"every entry has {entry.priority}, so none comes first; leave it out"
            )
            yield (*place, "priority"), text
        if "float32" in entry.gallery and any(q.dtype == "float32" for q in entry.quantization):
            text = (
                "mixed mode is a quantized probe searched in a float32 gallery, and this entry "
                "has a float32 row, whose gallery is its own; give that an entry of its own"
            )
            yield (*place, "gallery"), text
        chosen = entry.boards.select(inventory)
        if not chosen:
            continue  # said already: references.py
        for axis, words in (
            ("name", [{board.name} for board in chosen]),
            ("kind", [{board.kind} for board in chosen]),
            ("tag", [set(board.tags) for board in chosen]),
            ("site", [{board.site} for board in chosen]),
        ):
            known = set().union(*words)
            for j, word in enumerate(getattr(entry.boards, axis)):
                if word not in known:
                    text = f"no board of {inventory.source.file} is picked by {axis} {word!r} here"
                    yield (*place, "boards", axis, j), f"{text}; leave it out or add the board"


def _rules(matrix: Matrix, candidates: Sequence[Candidate]) -> Found:
    for name, rules in (("include", matrix.include), ("exclude", matrix.exclude)):
        left = [
            candidate
            for candidate in candidates
            if name == "include"
            or not matrix.include
            or any(rule.fits(**candidate.facts) for rule in matrix.include)
        ]
        for i, rule in enumerate(rules):
            if not any(rule.fits(**candidate.facts) for candidate in left):
                text = f"this rule fits no row, so it {name}s none; fix it or leave it out"
                yield (name, i), text


def _board(
    inventory: Inventory, place: PathKey, board: Board, rows: Sequence[Cell], matrix: Matrix
) -> Found:
    def written(*rest: str) -> bool:
        return (*place, *rest) in inventory.source.lines

    yield from _recovery(board)
    if not rows:
        return
    transport = board.transport
    if isinstance(transport, SimulatorTransportSpec):
        own = "a simulator runs in the environment that `farm toolchain install` made"
        for key in ("python", "workdir"):
            if written(key):
                yield (key,), f"{own}, so its `{key}:` does not count; leave it out"
    usual = not _changed(board, "workdir")
    if isinstance(transport, LocalTransportSpec) and usual and written("workdir"):
        text = (
            "farm's files of this host lie in its state folder, not in ~/.farm; leave workdir "
            "out, or name another folder"
        )
        yield ("workdir",), text
    if board.clocks == "pinned" and board.executed_by != "board":
        text = f"clocks of this host are not held for what is {board.executed_by}; leave it out"
        yield ("clocks",), text
    if written("runtime"):
        yield from _runtime(board, rows, matrix, written("runtime", "faithful"))


def _recovery(board: Board) -> Found:
    policy = board.recovery
    if _changed(policy, "off_s") and not any("{action}" in word for word in policy.power):
        text = "only a `power:` with {action} in it is switched off and on again after off_s"
        yield ("recovery", "off_s"), text
    if _changed(policy, "boots_in_s") and policy.reboot is None and not policy.power:
        text = "nothing boots it: `reboot:` or `power:` says how the board is brought back"
        yield ("recovery", "boots_in_s"), text
    if any("{host}" in word for word in policy.power) and not isinstance(
        board.transport, SshTransportSpec
    ):
        yield ("recovery", "power"), "{host} is empty: only a board over SSH has one"


def _runtime(board: Board, rows: Sequence[Cell], matrix: Matrix, faithful: bool) -> Found:
    options, kind = board.runtime, load_kinds()[board.kind]
    name = options.name
    runs = {cell.probe.runtime for cell in rows}
    if board.emulated and name != "onnxruntime":
        text = (
            f"an emulated board runs its vendor's twin in onnxruntime, not {name}; leave the "
            "name out, or give the place of a real board"
        )
        yield ("runtime", "name"), text
        return
    if isinstance(board.transport, SimulatorTransportSpec):
        if name != (runtime(kind.runtime).simulator or name):
            yield ("runtime", "name"), f"a simulator runs the vendor's own program, not {name}"
            return
    elif board.executed_by == "board" and name not in (kind.runtime, "onnxruntime"):
        others = sorted(k.name for k in load_kinds().values() if k.runtime == name)
        text = (
            f"a board of the kind {board.kind} ({kind.hardware}) runs "
            f"{' or '.join(sorted({kind.runtime, 'onnxruntime'}))}, not {name}; of the kinds, "
            f"{', '.join(others) or 'none'} runs that"
        )
        yield ("runtime", "name"), text
        return
    elif board.executed_by == "board" and name != board.usual_runtime and name not in runs:
        names = sorted({cell.entry for cell in rows})
        lines = [i for i, entry in enumerate(matrix.entries) if entry.name in names]
        where = f"{matrix.source.file}:{matrix.source.line(('entries', lines[0], 'toolchain'))}"
        text = (
            f"its runtime is {name}, and its rows run {' and '.join(sorted(runs))}, since {where} "
            "says `toolchain:`; leave out one of them"
        )
        yield ("runtime", "name"), text
        return
    if options.library is not None and not runtime(name).library_path:
        *others, last = (each for each in board_runtimes() if runtime(each).library_path)
        known = f"{', '.join(others)} and {last}"
        text = f"{name} loads no library by its path; `library` is for {known}"
        yield ("runtime", "library"), text
    if faithful and options.faithful and name != "onnxruntime":
        text = f"only onnxruntime can keep quantize/dequantize pairs unfused, not {name}"
        yield ("runtime", "faithful"), text
    if _changed(options, "threads") and not any(runtime(each).threads for each in runs):
        text = f"{' and '.join(sorted(runs))} takes no number of threads; leave it out"
        yield ("runtime", "threads"), text
