"""From cells to steps: quantize → convert → deploy → measure → extract → score, each made once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from orchestrator.planning.cells import Cell, Encoder
from orchestrator.planning.facts import (
    BoardFacts,
    computes_at_a_time,
    identity_of,
    runtime_identity,
    runtime_options,
)
from orchestrator.planning.graph import CellTargets, DetectorTargets, Graph, ImageSet, Step
from orchestrator.planning.step_names import (
    after_detector,
    artifact_name,
    extraction,
    measurement,
)
from orchestrator.planning.tasks import TASKS, TaskFacts
from orchestrator.specs.inventory import Board
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.matrix import Matrix
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.photos import ALIGNING, AnyPhotos

CALIBRATION = "calibration"
HELPERS = "accuracy helpers"
GIVEN = "as-given"
TABLE_CALIBRATORS = frozenset({"minmax", "percentile", "entropy"})


def build(
    cells: list[Cell],
    matrix: Matrix,
    models: Mapping[str, ModelSpec],
    boards: Mapping[str, Board],
    image_sets: Mapping[tuple[str, str], ImageSet],
    facts: Mapping[str, BoardFacts],
    versions: Mapping[str, str],
    bound: Mapping[str, str] | None = None,
) -> Graph:
    """The graph of all possible cells.

    Args:
        cells: from `cells.expand`; those with a reason are left out.
        matrix, models, boards: validated specs, models and boards by name.
        image_sets: (model, role) to its images.
        facts: board name to what is known of it; missing boards have keys only after probing.
        versions: version of each toolchain and twin by `cells.capability_name`, of our
            calibration under `CALIBRATION`, of the accuracy helpers under `HELPERS`.
    """
    builder = _Builder(matrix, models, boards, image_sets, facts, versions, bound or {})
    targets = {cell.name: builder.cell(cell) for cell in cells if not cell.reason}
    targets = builder.with_comparisons(cells, targets)
    entries = {entry.name: entry.priority for entry in matrix.entries}
    priority = {cell.name: entries[cell.entry] for cell in cells}
    for step in builder.steps.values():
        step.priority = max(priority[name] for name in step.cells)
    return Graph(builder.steps, targets)


class _Builder:
    def __init__(
        self,
        matrix: Matrix,
        models: Mapping[str, ModelSpec],
        boards: Mapping[str, Board],
        image_sets: Mapping[tuple[str, str], ImageSet],
        facts: Mapping[str, BoardFacts],
        versions: Mapping[str, str],
        bound: Mapping[str, str],
    ) -> None:
        self._bound = bound
        self.steps: dict[str, Step] = {}
        self._noted: set[tuple[str, str]] = set()
        self._matrix, self._models, self._boards = matrix, models, boards
        self._sets, self._facts, self._versions = image_sets, facts, versions

    def _add(self, step: Step, cell: str) -> str:
        held = self.steps.setdefault(step.id, step)
        if self._note(held, cell):
            for source in (*held.inputs.values(), *held.after):
                self._touch(source, cell)
        return held.id

    def _note(self, step: Step, cell: str) -> bool:
        """Note that a cell needs a step; whether that was new."""
        if (step.id, cell) in self._noted:
            return False
        self._noted.add((step.id, cell))
        step.cells.append(cell)
        return True

    def _touch(self, step_id: str, cell: str) -> None:
        step = self.steps[step_id]
        if self._note(step, cell):
            for source in (*step.inputs.values(), *step.after):
                self._touch(source, cell)

    def _again(self, step_id: str, cell: str) -> bool:
        """Note that a cell needs a step that is there, so that its inputs are not worked out again;
        False where it is not there yet."""
        if step_id not in self.steps:
            return False
        self._touch(step_id, cell)
        return True

    def cell(self, cell: Cell) -> CellTargets:
        """Steps of one cell."""
        name, task = cell.name, self._task
        encoders = dict.fromkeys(task.roles, cell.probe)
        if "gallery" in encoders:
            encoders["gallery"] = cell.gallery
        features = {role: self._extract(each, role, name) for role, each in encoders.items()}
        probe = features[task.timed]
        return CellTargets(
            score=self._score(name, encoders, name),
            measure=self._measure(cell.probe, name) if self._is_timed(cell.probe) else None,
            gallery=features.get("gallery", probe),
            probe=probe,
            artifact=self._artifact(cell.probe, name),
            parity=self._parity(cell.probe, probe, name),
            detector=self._detector_targets(cell.probe.detector, name),
        )

    def _score(self, name: str, encoders: Mapping[str, Encoder], cell: str) -> str:
        """The figures of features that encoders make of the roles' images."""
        task = self._task
        probe = encoders[task.timed]
        images = {f"{role}_images": self._fed(each, role, cell) for role, each in encoders.items()}
        features = {role: self._extract(each, role, cell) for role, each in encoders.items()}
        return self._add(
            Step(
                id=f"{task.score}/{name}",
                stage=task.score,
                inputs=features | images,
                params={
                    "scoring": self._scoring,
                    "executed_by": [each.executed_by for each in encoders.values()],
                    **self._decoding(probe.model),
                },
                executed_by=probe.executed_by,
                units=sum(self._sets[probe.model, role].count for role in task.roles),
            ),
            cell,
        )

    def _detector_targets(self, detector: Encoder | None, cell: str) -> DetectorTargets | None:
        if detector is None:
            return None
        probe = self._extract(detector, "probe", cell)
        return DetectorTargets(
            measure=self._measure(detector, cell) if self._is_timed(detector) else None,
            gallery=self._extract(detector, "gallery", cell),
            probe=probe,
            gallery_faces=self._align(detector, "gallery", cell),
            probe_faces=self._align(detector, "probe", cell),
            artifact=self._artifact(detector, cell),
            parity=self._parity(detector, probe, cell),
        )

    @property
    def _task(self) -> TaskFacts:
        """What the rows are for; a detector before a recognizer has the recognizer's images."""
        return TASKS[self._matrix.task]

    @cached_property
    def _scoring(self) -> dict[str, Any]:
        return self._matrix.scoring.model_dump(mode="json", include=set(self._task.scoring))

    def _decoding(self, model: str) -> dict[str, Any]:
        """How a detector's outputs become boxes; nothing of a recognition model."""
        spec = self._models[model]
        return {"detector": spec.detector_meta} if spec.detection is not None else {}

    def with_comparisons(
        self, cells: list[Cell], targets: dict[str, CellTargets]
    ) -> dict[str, CellTargets]:
        """Add each cell's paired comparison with the float32 reference of its model."""
        done: dict[str, CellTargets] = {}
        references: dict[str, Cell] = {}
        for cell in cells:
            if cell.name in targets and cell.probe.is_reference:
                references.setdefault(cell.model, cell)
        for cell in cells:
            target = targets.get(cell.name)
            if target is None:
                continue
            base = references.get(cell.model)
            if base is not None and base is not cell:
                target = replace(
                    target,
                    compare=self._compare(cell, targets[base.name].score, target.score),
                    split=self._split(cell, base, targets),
                )
            done[cell.name] = target
        return done

    def _compare(self, cell: Cell, reference: str, score: str) -> str:
        task = self._task
        inputs = {"reference": reference, "cell": score}
        if task.annotated:
            inputs[f"{task.timed}_images"] = self._images(cell.model, task.timed, cell.name)
        return self._add(
            Step(
                id=f"{task.compare}/{cell.name}",
                stage=task.compare,
                inputs=inputs,
                params={
                    "scoring": self._scoring,
                    "executed_by": cell.probe.executed_by,
                },
                executed_by=cell.probe.executed_by,
            ),
            cell.name,
        )

    def _split(self, cell: Cell, base: Cell, targets: Mapping[str, CellTargets]) -> str | None:
        """What a row loses by its detector alone and by its recognizer alone."""
        if cell.probe.detector is None:
            return None
        alone = {
            "detector": replace(base.probe, detector=cell.probe.detector),
            "recognizer": replace(cell.probe, detector=base.probe.detector),
        }
        scores = {
            part: self._score(
                f"{cell.name}/{part}-alone",
                {"gallery": cell.gallery if cell.mixed else encoder, "probe": encoder},
                cell.name,
            )
            for part, encoder in alone.items()
        }
        return self._add(
            Step(
                id=f"split/{cell.name}",
                stage="split",
                inputs={"reference": targets[base.name].score} | scores,
                params={
                    "scoring": self._scoring,
                    "executed_by": cell.probe.executed_by,
                },
                executed_by=cell.probe.executed_by,
            ),
            cell.name,
        )

    def _fed(self, encoder: Encoder, role: str, cell: str) -> str:
        """The images that an encoder turns into features."""
        if encoder.detector is None:
            return self._images(encoder.model, role, cell)
        return self._align(encoder.detector, role, cell)

    def _align(self, detector: Encoder, role: str, cell: str) -> str:
        """The faces that a detector's raw outputs find in the photos of a role."""
        photos = self._matrix.test_set
        if not isinstance(photos, AnyPhotos):
            raise TypeError("faces are aligned in a test set of photos")
        return self._add(
            Step(
                id=f"align/{detector.name}/{role}",
                stage="align",
                inputs={
                    "features": self._extract(detector, role, cell),
                    "photos": self._images(detector.model, role, cell),
                },
                params={
                    "photos": self._sets[detector.model, role].fingerprint,
                    "min_score": photos.min_score,
                    "aligning": ALIGNING,
                    **self._decoding(detector.model),
                },
                executed_by=detector.executed_by,
                units=self._sets[detector.model, role].count,
                extra={"model": detector.model, "role": role},
            ),
            cell,
        )

    def _images(self, model: str, role: str, cell: str) -> str:
        name = f"images/{role}" + ("" if len(self._models) == 1 else f"/{model}")
        if self._again(name, cell):
            return name
        images = self._sets[model, role]
        return self._add(
            Step(
                id=name,
                stage="images",
                params={"role": role, "fingerprint": images.fingerprint},
                units=images.count,
                extra={"model": model},
            ),
            cell,
        )

    def _prefix(self, encoder: Encoder) -> str:
        return f"{encoder.model}/" if len(self._models) > 1 else ""

    def _artifact(self, encoder: Encoder, cell: str) -> str:
        """The deployable file, which boards share as long as it is made in the same way."""
        name = self._prefix(encoder) + artifact_name(encoder)
        if self._again(f"convert/{name}", cell):
            return f"convert/{name}"
        model = self._models[encoder.model]
        quantization = encoder.quantization
        scheme = quantization.model_dump(mode="json")
        base: dict[str, Any] = {
            "model": model.sha256,
            "toolchain": encoder.toolchain,
            "twin": encoder.twin,
        }
        version = self._versions.get(encoder.maker, "")
        inputs: dict[str, str] = {}
        if encoder.target:
            base |= {
                "target": encoder.target,
                "simulate": encoder.simulated,
                "preprocessing": model.input_meta,
            }
        if quantization.is_given:
            # Another file, whose scales are its own: nothing is calibrated.
            base |= {"model": model.quantized and model.quantized.sha256}
            version = f"{version}, {self._versions.get(GIVEN, '')}"
        elif not quantization.is_float and encoder.calibrates:
            inputs["images"] = self._images(encoder.model, "calibration", cell)
        elif not quantization.is_float:
            preprocessing = model.input_meta
            calibrate = self._add(
                Step(
                    id=f"calibrate/{self._prefix(encoder)}{quantization.calibrator}"
                    + ("-equalized" if quantization.equalize else ""),
                    stage="calibrate",
                    inputs={"images": self._images(encoder.model, "calibration", cell)},
                    params={
                        "model": model.sha256,
                        "preprocessing": preprocessing,
                        "calibrator": quantization.calibrator,
                        "equalize": quantization.equalize,
                        # Not the toolchain's: all of them use this one table.
                        "version": self._versions.get(CALIBRATION, ""),
                    },
                    units=self._sets[encoder.model, "calibration"].count,
                    extra={"model": encoder.model},
                ),
                cell,
            )
            # The accuracy helpers look at calibration images.
            images = {"images": self._images(encoder.model, "calibration", cell)}
            seen = {"preprocessing": preprocessing, "helpers": self._versions.get(HELPERS, "")}
            inputs["quantized"] = self._add(
                Step(
                    id=f"quantize/{name}",
                    stage="quantize",
                    inputs={"table": calibrate} | (images if quantization.has_helpers else {}),
                    params=base
                    | {"version": version, "scheme": scheme}
                    | (seen if quantization.has_helpers else {}),
                    extra={"model": encoder.model},
                ),
                cell,
            )
        return self._add(
            Step(
                id=f"convert/{name}",
                stage="convert",
                inputs=inputs,
                params=base | {"version": version, "scheme": scheme},
                extra={"model": encoder.model, "given": quantization.is_given},
            ),
            cell,
        )

    def _on_board(self, encoder: Encoder, step: str) -> tuple[Board, dict[str, Any]]:
        """The board bound to a step, and what of it and of the encoder goes into features' keys."""
        name = self._bound.get(step, encoder.pool[0])
        board = self._boards[name if name in encoder.pool else encoder.pool[0]]
        model = self._models[encoder.model]
        return board, {
            "executed_by": encoder.executed_by,
            "kind": encoder.kind,
            "runtime": runtime_identity(board, encoder.runtime, self._facts),
            "options": runtime_options(board, encoder.runtime),
            "preprocessing": model.input_meta,
            # Never shared with this host's, even before anything is known of the board.
            **({"emulated_machine": encoder.machine} if encoder.machine else {}),
        }

    def _deploy(self, encoder: Encoder, board: Board, cell: str) -> str:
        # The first board keeps the plain name, whoever joins the pool while a run goes on.
        where = "" if board.name == encoder.pool[0] else f"/{board.name}"
        name = f"deploy/{encoder.name}{where}"
        if self._again(name, cell):
            return name
        return self._add(
            Step(
                id=name,
                stage="deploy",
                inputs={"artifact": self._artifact(encoder, cell)},
                params={"board": identity_of(board), "executed_by": encoder.executed_by},
                pool=encoder.pool,
                board=board.name,
                executed_by=encoder.executed_by,
                extra={"model": encoder.model, "runtime": encoder.runtime},
            ),
            cell,
        )

    def _is_timed(self, encoder: Encoder) -> bool:
        """A simulator has no time; an emulated board has this host's, of use to few."""
        if encoder.executed_by == "board":
            return True
        return self._matrix.measurement.emulated and not encoder.simulated

    def _measure(self, encoder: Encoder, cell: str) -> str:
        name = measurement(encoder)
        if self._again(name, cell):
            return name
        board, params = self._on_board(encoder, name)
        policy = self._matrix.measurement
        if encoder.executed_by != "board":
            # Its times say nothing of the board, and what cools or is clocked is this host.
            policy = policy.model_copy(
                update={"clocks": "untouched", "cool_below_c": None, "rounds": 1}
            )
        elif board.clocks is not None:
            policy = policy.model_copy(update={"clocks": board.clocks})
        return self._add(
            Step(
                id=name,
                stage="measure",
                inputs={
                    "artifact": self._artifact(encoder, cell),
                    # A time does not depend on what the images show, so a recognizer's detector
                    # need not have run.
                    "images": self._images(encoder.model, self._task.timed, cell),
                },
                after=(self._deploy(encoder, board, cell),),
                params=params
                | {
                    "board": identity_of(board),
                    "policy": policy.model_dump(mode="json", exclude={"emulated"}),
                },
                pool=encoder.pool,
                board=board.name,
                executed_by=encoder.executed_by,
                units=policy.min_count,
                extra={
                    "model": encoder.model,
                    "runtime": encoder.runtime,
                    "sensors": load_kinds()[board.kind].sensors.model_dump(mode="json"),
                },
            ),
            cell,
        )

    def _parity(self, encoder: Encoder, probe: str, cell: str) -> str:
        """What was executed against float32, prepared and quantized on this host."""
        name = f"parity/{encoder.name}{after_detector(encoder)}"
        if self._again(name, cell):
            return name
        model = self._models[encoder.model]
        images = self._fed(encoder, self._task.timed, cell)
        inputs = {"images": images, "features": probe}
        here = encoder.runtime == "onnxruntime"
        # What calibrates by itself has a twin too, from our table.
        substitute = replace(encoder, executed_by="twin", target="", calibrates=False)
        twin = encoder if here else substitute
        quantization = encoder.quantization
        known = twin.maker in self._versions and quantization.calibrator in TABLE_CALIBRATORS
        if not quantization.is_float and known:
            inputs["quantized"] = self._artifact(twin, cell)
        if encoder.executed_by == "board" and encoder.simulator:
            inputs["simulator"] = self._artifact(replace(encoder, executed_by="simulator"), cell)
        return self._add(
            Step(
                id=name,
                stage="parity",
                inputs=inputs,
                params={
                    "model": model.sha256,
                    "preprocessing": model.input_meta,
                    "executed_by": encoder.executed_by,
                    "same_file": here,
                    "version": self._versions.get(CALIBRATION, ""),
                    # An emulator's sums are not this host's.
                    **({"emulator": True} if encoder.emulator else {}),
                    **({"machine": encoder.machine} if encoder.machine else {}),
                },
                executed_by=encoder.executed_by,
                extra={"model": encoder.model},
            ),
            cell,
        )

    def _extract(self, encoder: Encoder, role: str, cell: str) -> str:
        name = extraction(encoder, role)
        if self._again(name, cell):
            return name
        board, params = self._on_board(encoder, name)
        images = self._fed(encoder, role, cell)
        return self._add(
            Step(
                id=name,
                stage="extract",
                inputs={
                    "artifact": self._artifact(encoder, cell),
                    "images": images,
                },
                after=(self._deploy(encoder, board, cell),),
                params=params,
                pool=encoder.pool,
                board=board.name,
                executed_by=encoder.executed_by,
                units=self._sets[encoder.model, role].count,
                extra={
                    "model": encoder.model,
                    "runtime": encoder.runtime,
                    "all_processors": computes_at_a_time(board, encoder.runtime),
                },
            ),
            cell,
        )
