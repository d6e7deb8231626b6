"""A cell's entry in results.json, put together from what the store holds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.audit.sentences import shortened
from orchestrator.execution.detector_result import (
    HeldDetector,
    as_json,
    provenance,
    timed_together,
)
from orchestrator.hashing import digest
from orchestrator.planning.cells import Cell, Encoder
from orchestrator.planning.graph import CellTargets
from orchestrator.planning.tasks import TASKS
from orchestrator.planning.versions import mismatches
from orchestrator.preflight.planner import Plan, encoder_backend
from orchestrator.results import CellResult, Latency, Verdict
from orchestrator.specs.photos import AnyPhotos
from orchestrator.stages import accuracy_helpers
from orchestrator.store.artifacts import Held

UNTIMED: dict[str, Any] = {"timing_valid": False, "reasons": [], "notes": []}
SIMULATED = UNTIMED | {
    "verdict": Verdict.SIMULATED,
    "reason": "a simulator says nothing of a board's time",
}
EMULATED = UNTIMED | {
    "verdict": Verdict.EMULATED,
    "reason": "this host computed it: its time would not be the board's",
}


@dataclass(frozen=True)
class _CellHeld:
    """What the store holds of one cell's steps; None where the cell has no such step.

    Features are None too when only what was made of them is left, parity where nothing was run.
    """

    artifact: Held
    parity: Held | None
    score: Held
    measure: Held | None
    compare: Held | None
    gallery: Held | None
    probe: Held | None
    split: Held | None = None
    detector: HeldDetector | None = None


def predicted(plan: Plan, cell: Cell) -> CellResult:
    """The row that twins predict on this host; it was neither timed nor compared with a board.

    Raises:
        RuntimeError: the store lacks its figures.
    """
    targets = plan.graph.targets[cell.name]
    score, artifact = held(plan, targets.score), held(plan, targets.artifact)
    compare = held(plan, targets.compare) if targets.compare else None
    if score is None or artifact is None:
        raise RuntimeError(f"{cell.name}: scored, but not in the store")
    split = held(plan, targets.split) if targets.split else None
    detector = _detector(plan, cell, targets)
    if cell.probe.detector is not None and detector is None:
        raise RuntimeError(f"{cell.name}: scored, but its detector is not in the store")
    found = _CellHeld(artifact, None, score, None, compare, None, None, split, detector)
    return _row(plan, cell, found)


def cell_result(plan: Plan, cell: Cell) -> CellResult | None:
    """The row's figures, or None while one of its steps is missing."""
    targets = plan.graph.targets[cell.name]
    found = _held_of(plan, cell, targets)
    return None if found is None else _row(plan, cell, found)


def _row(plan: Plan, cell: Cell, found: _CellHeld) -> CellResult:
    targets = plan.graph.targets[cell.name]
    board = plan.boards[cell.board]
    untimed = SIMULATED if cell.probe.simulated else EMULATED
    timed = found.measure.manifest["facts"] if found.measure else untimed
    detector = found.detector
    worth = timed
    if detector is not None:
        own = detector.measure.manifest["facts"] if detector.measure else untimed
        worth = timed_together(timed, own)
    valid = worth["timing_valid"]
    latency = {key: timed.get(key) for key in Latency.model_fields} if found.measure else None
    figures = found.score.manifest["facts"]
    quantization = cell.probe.quantization
    return CellResult.model_validate(
        {
            "name": cell.name,
            "hardware": plan.hardware(cell),
            "provider": board.provider,
            "type": board.type,
            "backend": _backend(cell, found.artifact),
            "board": cell.board,
            "kind": cell.kind,
            "executed_by": cell.probe.executed_by,
            "emulated": board.emulated,
            "machine": board.machine,
            **plan.axes(cell),
            "calibrator": quantization.calibrator if quantization.is_calibrated else None,
            "mixed": cell.mixed,
            "model": cell.model,
            "test_set": _test_set(plan, cell, figures),
            # A limit above all that are there leaves nobody out.
            "partial": plan.request.limit is not None and _size(figures) >= plan.request.limit,
            "latency": latency if valid else None,
            "latency_host": None if valid else latency,
            "task": plan.models[cell.model].task,
            **_figures(found.score),
            "detector": as_json(detector, timing_valid=valid) if detector else None,
            "not_acquired": _not_acquired(plan, figures),
            "difference": found.compare.manifest["facts"] if found.compare else None,
            "split": found.split.manifest["facts"] if found.split else None,
            "failed_images": figures["failed"],
            "verdict": worth["verdict"],
            "verdict_reason": worth["reason"],
            "verdict_reasons": worth["reasons"],
            "artifact_sha256": found.artifact.manifest["facts"]["sha256"],
            "artifact_bytes": found.artifact.manifest["facts"]["bytes"],
            "warnings": _warnings(plan, cell, found, worth["notes"]),
            "helpers": _helpers(plan, targets.artifact),
            "provenance": _provenance(plan, cell, found),
        }
    )


def _size(figures: Mapping[str, Any]) -> int:
    """What a limit bounds: enrolled identities, or pictures."""
    return int(figures["gallery"] if "gallery" in figures else figures["images"])


def _figures(score: Held) -> dict[str, Any]:
    facts, about = score.manifest["facts"], score.manifest["provenance"]
    if "ap" in facts:
        order = facts["order"]
        sorted_ = {
            "ap": _ordered(facts["ap"], order["subsets"]),
            "ap_by_height": _ordered(facts["ap_by_height"], order["heights"]),
            "recall": _ordered(facts["recall"], order["false_positives"]),
        }
        return {"detection": {**facts, **sorted_, **about}}
    return {name: facts[name] for name in ("rank1", "tar", "tar_all")}


def _ordered(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: values[name] for name in names}


def _not_acquired(plan: Plan, figures: Mapping[str, Any]) -> Mapping[str, int] | None:
    """Photos without a face, by role; None where the test set is not of photos."""
    photos = isinstance(plan.matrix.test_set, AnyPhotos)
    return figures.get("not_acquired") if photos else None


def _held_of(plan: Plan, cell: Cell, targets: CellTargets) -> _CellHeld | None:
    score = held(plan, targets.score)
    measure = held(plan, targets.measure) if targets.measure else None
    artifact = held(plan, targets.artifact)
    parity = held(plan, targets.parity)
    compare = held(plan, targets.compare) if targets.compare else None
    if score is None or artifact is None or parity is None:
        return None
    if targets.measure and measure is None:
        return None
    if targets.compare and compare is None:
        return None
    split = held(plan, targets.split) if targets.split else None
    if targets.split and split is None:
        return None
    detector = _detector(plan, cell, targets)
    if targets.detector is not None and (
        detector is None
        or detector.parity is None
        or (targets.detector.measure and not detector.measure)
    ):
        return None
    gallery, probe = held(plan, targets.gallery), held(plan, targets.probe)
    return _CellHeld(artifact, parity, score, measure, compare, gallery, probe, split, detector)


def _detector(plan: Plan, cell: Cell, targets: CellTargets) -> HeldDetector | None:
    """What the store holds of a row's detector; None without one, or without its file."""
    steps, encoder = targets.detector, cell.probe.detector
    artifact = held(plan, steps.artifact) if steps is not None else None
    if steps is None or encoder is None or artifact is None:
        return None
    return HeldDetector(
        encoder=encoder,
        artifact=artifact,
        parity=held(plan, steps.parity),
        measure=held(plan, steps.measure) if steps.measure else None,
        probe=held(plan, steps.probe),
    )


def _warnings(plan: Plan, cell: Cell, found: _CellHeld, notes: Sequence[str]) -> list[str]:
    intake = plan.intake.get(cell.model)
    return [
        *found.score.manifest["facts"]["warnings"],
        *notes,
        *_mismatches(cell.probe, found.artifact, found.probe, found.measure),
        *(found.parity.manifest["facts"]["warnings"] if found.parity else ()),
        *(intake.warnings if intake else ()),
        *(f"detector: {text}" for text in _detector_warnings(plan, found.detector)),
    ]


def _detector_warnings(plan: Plan, found: HeldDetector | None) -> list[str]:
    if found is None:
        return []
    intake = plan.intake.get(found.encoder.model)
    return [
        *_mismatches(found.encoder, found.artifact, found.probe, found.measure),
        *(found.parity.manifest["facts"]["warnings"] if found.parity else ()),
        *(intake.warnings if intake else ()),
    ]


def _provenance(plan: Plan, cell: Cell, found: _CellHeld) -> dict[str, Any]:
    """By what each of the row's steps was made, and the keys under which the store holds them."""
    model, intake = plan.models[cell.model], plan.intake.get(cell.model)
    is_given = cell.probe.quantization.is_given
    return {
        "model_sha256": model.sha256,
        "model": model.about,
        "preprocessing": model.input.model_dump(mode="json"),
        **({"intake": intake.to_dict()} if intake and intake.changes else {}),
        "artifact": found.artifact.manifest["provenance"],
        **({"given": asdict(plan.given[cell.model])} if is_given else {}),
        **({} if model.task == "detection" else {"gallery": _gallery(cell, found)}),
        "probe": found.probe.manifest["provenance"] if found.probe else {},
        "parity": found.parity.manifest["facts"] if found.parity else {},
        "measure": found.measure.manifest["provenance"] if found.measure else {},
        "score": found.score.manifest["provenance"],
        **_of_detector(plan, cell, found),
        "keys": _keys(plan, cell),
    }


def _of_detector(plan: Plan, cell: Cell, found: _CellHeld) -> dict[str, Any]:
    targets = plan.graph.targets[cell.name].detector
    if found.detector is None or targets is None:
        return {}
    return {"detector": provenance(plan, found.detector, targets)}


def _gallery(cell: Cell, found: _CellHeld) -> dict[str, Any]:
    return {
        "executed_by": cell.gallery.executed_by,
        "encoder": cell.gallery.name,
        **(found.gallery.manifest["provenance"] if found.gallery else {}),
    }


def _keys(plan: Plan, cell: Cell) -> dict[str, str]:
    """Under which keys the store holds the row's steps; a detector's by their stages."""
    targets = vars(plan.graph.targets[cell.name])
    steps = {name: step for name, step in targets.items() if isinstance(step, str)}
    if plan.models[cell.model].task == "detection":
        steps.pop("gallery")
        task = TASKS["detection"]
        names = {"score": task.score, "compare": task.compare, "probe": "features"}
        steps = {names.get(name, name): step for name, step in steps.items()}
        steps["images"] = plan.graph.steps[steps[task.score]].inputs["test_images"]
    keys = plan.resolution.keys
    return {name: keys[step] for name, step in steps.items() if step in keys}


def _backend(cell: Cell, artifact: Held) -> str:
    """The Backend column; a simulator's with the version of the toolkit that it is of."""
    words = encoder_backend(cell.probe)
    if not cell.probe.simulated:
        return words
    return f"{words} ({str(artifact.manifest['provenance']['version']).split(',')[0]})"


def held(plan: Plan, step_id: str) -> Held | None:
    """What the store holds of a step."""
    key = plan.resolution.keys.get(step_id)
    if key is None or not plan.resolution.cached(step_id):
        return None
    return plan.store.lookup(plan.graph.steps[step_id].stage, key)


def _mismatches(
    encoder: Encoder, artifact: Held, probe: Held | None, measure: Held | None
) -> tuple[str, ...]:
    """Versions of what made the file and of what ran it that do not fit each other."""
    if encoder.executed_by not in ("board", "emulated"):
        return ()
    toolkit = str(artifact.manifest["provenance"].get("version") or "")
    words: list[str] = []
    for ran in (probe, measure):
        about = ran.manifest["provenance"] if ran else {}
        identity = (about.get("board_facts") or {}).get("identity") or {}
        words += mismatches(encoder.runtime, about.get("opened") or {}, identity, toolkit)
    return tuple(dict.fromkeys(words))


def _helpers(plan: Plan, artifact: str) -> str:
    source = plan.graph.steps[artifact].inputs.get("quantized")
    quantized = held(plan, source) if source else None
    gains = quantized.manifest["facts"].get("helpers", []) if quantized else []
    if not gains:
        return ""
    return f"mean cosine to float32 on calibration images: {accuracy_helpers.words(gains)}"


def _test_set(plan: Plan, cell: Cell, figures: dict[str, Any]) -> dict[str, Any]:
    steps = plan.graph.steps[plan.graph.targets[cell.name].score].inputs
    roles = TASKS[plan.models[cell.model].task].roles
    counts = ("gallery", "probes", "mated", "unknown", "images")
    return {
        "hash": digest({role: _content(plan, cell, role, steps) for role in roles}),
        **{name: figures[name] for name in counts if name in figures},
        "faces": _ordered(figures.get("faces", {}), figures.get("order", {}).get("subsets", ())),
        "difficulty": getattr(plan.matrix.test_set, "difficulty", None),
        "notes": plan.notes(cell.model),
        "audit": [shortened(finding).model_dump(mode="json") for finding in plan.audit],
    }


def _content(plan: Plan, cell: Cell, role: str, steps: Mapping[str, str]) -> str:
    """Of the role's images; of photos, whatever detector takes the faces, of the photos."""
    if isinstance(plan.matrix.test_set, AnyPhotos):
        from orchestrator.aligning.photo_rows import HostAlignedRows

        rows = plan.rows[cell.model, role]
        if isinstance(rows, HostAlignedRows):
            return rows.photos.fingerprint()
    return plan.resolution.contents[steps[f"{role}_images"]]
