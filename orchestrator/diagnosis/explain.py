"""Why a row lost accuracy: its layers against float32, and what keeping one of them float gives.

Everything runs on this host, on the twin of what a real board would run. The layers are compared
on some of the probe images; the effect is measured, not estimated: the model is quantized again
with that layer in float32 and scored on the bounded test set of the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.calibration import LayerLoss, LayerReport
from orchestrator.calibration import explain as explain_layers
from orchestrator.data.features import Features
from orchestrator.errors import UserError
from orchestrator.events import Event, StepProgress, StepStarted
from orchestrator.execution.local_backend import encode, run_here
from orchestrator.execution.results_builder import held
from orchestrator.planning.cells import Cell, Encoder
from orchestrator.preflight.planner import Plan
from orchestrator.stages import (
    accuracy_helpers,
    compare,
    convert,
    deployable,
    image_rows,
    quantize,
    score,
)

Emit = Callable[[Event], None]
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Effect:
    """Rank-1 on a bounded test set, searched within each model's own gallery.

    Attributes:
        layer: the node that was kept in float32.
        float32, quantized, kept: Rank-1 of the float model, of the quantized one, and of the
            quantized one with the layer in float32.
        gained, lost: mated probes that only the kept one, or only the quantized one, ranks first.
        p: of the exact McNemar test on these.
        gallery, mated: the size of the test set.
    """

    layer: str
    float32: float
    quantized: float
    kept: float
    gained: int
    lost: int
    p: float
    gallery: int
    mated: int


@dataclass(frozen=True)
class Explanation:
    """What `farm explain` shows.

    Attributes:
        cell: the row's name.
        executed_by: `twin`, or `emulated` where onnxruntime's own QDQ file is looked at.
        scheme: how the model is quantized.
        named: the layer that the effect is about: the first bad one, else the worst.
        is_bad: whether its error is far worse than the others'.
        effect: None where it was not asked for.
    """

    cell: str
    executed_by: str
    scheme: str
    report: LayerReport
    named: LayerLoss
    is_bad: bool
    effect: Effect | None

    @property
    def matters(self) -> bool | None:
        """Whether keeping the layer in float32 raises Rank-1 significantly; None: not measured."""
        if self.effect is None:
            return None
        return self.effect.p < SIGNIFICANT and self.effect.gained > self.effect.lost


def explain_cell(
    plan: Plan, cell: Cell, layer_images: int, with_effect: bool, emit: Emit
) -> Explanation:
    """Explain a row.

    Args:
        plan: from `host_plan`, with the limit that bounds the effect's test set.
        cell: one of its rows.
        layer_images: how many probe images the layers are compared on.
        with_effect: also measure the effect on Rank-1.
        emit: told of steps and progress.

    Raises:
        UserError: the row is float32 or impossible.
        FarmError: something could not be made.
    """
    if cell.reason:
        raise UserError(f"{cell.name} is impossible: {cell.reason}")
    if plan.models[cell.model].task != "recognition":
        raise UserError(
            f"{cell.name} is a detector's row: its layers cannot be explained yet",
            "`farm compare` shows what a scheme changes",
        )
    if cell.probe.quantization.is_float:
        raise UserError(
            f"{cell.name} is float32: it has no quantization to explain",
            "name a quantized row; `farm plan` lists them",
        )
    if cell.probe.quantization.is_given:
        raise UserError(
            f"{cell.name} runs the model's own quantized file: farm made none of its scales and "
            "has none to explain",
            "add a row that farm quantizes, such as `quantization: int8 per-channel symmetric`",
        )
    work = _Work(plan, cell.probe, emit)
    targets = plan.graph.targets[cell.name]
    sources = plan.graph.steps[targets.score].inputs
    run_here(plan, (targets.artifact, sources["probe_images"], sources["gallery_images"]), emit)
    work.load(targets.artifact, sources)
    report = work.layers(layer_images)
    named = report.first_bad or report.worst
    effect = work.effect(named.name) if with_effect else None
    return Explanation(
        cell=cell.name,
        executed_by=cell.probe.executed_by,
        scheme=cell.probe.quantization.label,
        report=report,
        named=named,
        is_bad=report.first_bad is not None,
        effect=effect,
    )


class _Work:
    """What is needed for one encoder."""

    def __init__(self, plan: Plan, encoder: Encoder, emit: Emit) -> None:
        self._plan, self._encoder, self._emit = plan, encoder, emit
        self._model = plan.models[encoder.model]
        self._scheme = encoder.quantization.model_dump(mode="json")

    def load(self, artifact: str, sources: dict[str, str]) -> None:
        """Take what the plan's steps made out of the store."""
        steps = self._plan.graph.steps
        quantized = steps[artifact].inputs["quantized"]
        self._table = self._file(steps[quantized].inputs["table"], quantize.TABLE)
        self._quantized = self._file(quantized, quantize.FILE)
        # What `suggested` came to.
        self._kept_float = self._held(quantized).manifest["provenance"]["scheme"]["keep_float"]
        self._calibration = None
        if "images" in steps[quantized].inputs:
            pictures = self._held(steps[quantized].inputs["images"])
            self._calibration = np.load(pictures.verify(image_rows.FILE), mmap_mode="r")
        self._artifact = self._file(artifact, deployable.FILE)
        self._images: dict[str, Path] = {}
        self._ids: dict[str, list[str]] = {}
        self._lost: dict[str, list[int]] = {}
        for role in ("gallery", "probe"):
            pictures = self._held(sources[f"{role}_images"])
            self._images[role] = pictures.verify(image_rows.FILE)
            self._ids[role] = image_rows.read_rows(pictures.read(image_rows.ROWS))
            self._lost[role] = image_rows.lost_rows(pictures)

    def layers(self, count: int) -> LayerReport:
        """Each layer against float32 on `count` probe images."""
        data = np.load(self._images["probe"], mmap_mode="r")[:count]
        self._emit(StepStarted(step="layers against float32", stage="explain"))

        def batches() -> Any:
            for i in range(len(data)):
                yield quantize.inputs_of(data[i : i + 1], self._model.input_meta)

        return explain_layers(
            accuracy_helpers.source_of(self._model.path.read_bytes(), self._scheme),
            self._quantized,
            batches,
            progress=lambda done: self._progress(done, len(data)),
        )

    def effect(self, layer: str) -> Effect:
        """Quantize again with `layer` in float32, and score."""
        encoder, model = self._encoder, self._model.path.read_bytes()
        scheme = self._scheme | {"keep_float": sorted({*self._kept_float, layer})}
        in_float = quantize.quantize(
            model,
            self._table,
            scheme,
            encoder.toolchain,
            encoder.twin,
            images=self._calibration,
            preprocessing=self._model.input_meta,
        )
        converted = convert.convert(in_float.files[quantize.FILE], encoder.toolchain, encoder.twin)
        real = convert.convert_model(model, quantize.FLOAT32, "onnxruntime")
        found = {
            name: self._searches(name, data)
            for name, data in (
                ("float32", real.files[deployable.FILE]),
                ("quantized", self._artifact),
                (f"{layer} in float32", converted.files[deployable.FILE]),
            )
        }
        policy = self._plan.matrix.scoring.model_dump(mode="json") | {"bootstrap": 100}
        rank1 = [score.figures(searches, policy) for searches in found.values()]
        _, quantized, healed = found.values()
        change = compare.difference(quantized, healed, policy)
        values = [figures["rank1"]["value"] for figures in rank1]
        return Effect(
            layer=layer,
            float32=values[0],
            quantized=values[1],
            kept=values[2],
            gained=change["only_cell"],
            lost=change["only_reference"],
            p=change["p"],
            gallery=rank1[0]["gallery"],
            mated=rank1[0]["mated"],
        )

    def _searches(self, name: str, artifact: bytes) -> Any:
        sides = []
        for role in ("gallery", "probe"):
            self._emit(StepStarted(step=f"{role} features: {name}", stage="explain"))
            rows = self._encode(artifact, self._images[role])
            failed = np.isin(np.arange(len(rows)), self._lost[role])
            sides.append(Features(rows, failed, self._ids[role]))
        searches, _ = score.search(sides[0], sides[1], self._plan.matrix.scoring.fusion)
        return searches

    def _encode(self, artifact: bytes, pictures: Path) -> NDArray[np.float32]:
        return encode(artifact, pictures, self._model.input.model_dump(mode="json"), self._progress)

    def _progress(self, done: int, total: int) -> None:
        self._emit(StepProgress(step="explain", done=done, total=total, unit="images"))

    def _file(self, step_id: str, name: str) -> bytes:
        return bytes(self._held(step_id).read(name))

    def _held(self, step_id: str) -> Any:
        found = held(self._plan, step_id)
        if found is None:
            raise RuntimeError(f"{step_id}: carried out, but not in the store")
        return found
