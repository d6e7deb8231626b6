"""What to measure: `matrix.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from orchestrator.columns import column_names
from orchestrator.plugins import built_in_toolchains
from orchestrator.results import Task
from orchestrator.specs.base import SLUG, FileSpec, Many, OneOf, OneOrMany, Spec, load, wrong
from orchestrator.specs.detecting import HERE, Detecting, is_on_board, quantized
from orchestrator.specs.inventory import Board, Clocks, Inventory
from orchestrator.specs.meaning import Code, Means, Word
from orchestrator.specs.photos import AnyPhotos, PhotosSet
from orchestrator.specs.quantization import Quantization
from orchestrator.specs.scenes import ScenesCalibration, ScenesSet
from orchestrator.specs.sets import (
    CalibrationSpec,
    DetectorCalibration,
    TestSet,
    task_of,
    usual_calibration,
)
from orchestrator.specs.testset import RenderedCalibration, RenderedSet
from orchestrator.specs.yamlfile import PathKey, nearest

Gallery = Literal["same", "float32"]
Toolchain = Annotated[str, Code(lambda: ("auto", *built_in_toolchains()))]


class MeasurementPolicy(Spec):
    """How latency is measured; docs/explanation/measuring.md explains each part.

    Timing ends at both minima, at the latest at `max_duration_s`, and is done in `blocks` with
    pauses of `pause_s` between them. With `rounds` above 1, encoders of one board take turns, and
    each has its share in each of them. With `cool_below_c` the board is waited for, by its
    temperature, at the longest `cool_deadline_s`. `clocks: pinned` is the user's leave to hold a
    board's clocks meanwhile; a board's own `clocks:` in the inventory outweighs it.
    `emulated: true` also times emulated boards: what that gives is this host's time.
    """

    warm_up_count: int = Field(20, ge=0)
    min_duration_s: float = Field(3.0, ge=0, allow_inf_nan=False)
    min_count: int = Field(200, ge=1)
    max_duration_s: float = Field(60.0, gt=0, allow_inf_nan=False)
    blocks: int = Field(5, ge=1, le=1000)
    pause_s: float = Field(0.2, ge=0, le=60, allow_inf_nan=False)
    rounds: int = Field(1, ge=1, le=100)
    cool_below_c: float | None = Field(None, gt=0, le=150)
    cool_deadline_s: float = Field(300.0, gt=0, le=3600)
    clocks: Clocks = "untouched"
    emulated: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> MeasurementPolicy:
        if self.max_duration_s < self.min_duration_s:
            raise wrong("max_duration_s is less than min_duration_s", key="max_duration_s")
        return self


Rate = Annotated[float, Field(gt=0, le=1)]


class ScoringPolicy(Spec):
    """How 1:N identification, or detection, is scored.

    `far` are the false-alarm rates a search; `table_far` is the one that the table shows.
    `fusion` joins several gallery images of one identity. `false_positives`, of detection, are the
    numbers of them an image at which recall is given; the table shows the first.
    """

    far: OneOrMany[Rate] = (1e-1, 1e-2, 1e-3, 1e-4)
    table_far: Rate = 1e-3
    confidence: float = Field(0.95, gt=0, lt=1)
    bootstrap: int = Field(1000, ge=100, le=100_000)  # fewer make no interval
    seed: int = Field(0, ge=0, lt=2**31)
    fusion: Literal["mean", "max"] = "mean"
    false_positives: OneOrMany[Annotated[float, Field(gt=0, le=1000)]] = (0.1, 1.0)

    @model_validator(mode="after")
    def _shown(self) -> ScoringPolicy:
        if self.table_far not in self.far:
            raise wrong(f"{self.table_far:g} is not among far", key="table_far")
        return self


Column = Annotated[str, OneOf(column_names)]


class TablePolicy(Spec):
    """Columns beside the published ones.

    `difference` from float32 in points with its interval, `size` of the artifact, peak `memory` of
    the process that ran it, `energy` of one inference where a rail is measured, of a detector
    `landmarks` (their error) and `decoding` (its time on this host), `model` (which stands there
    anyway when there are several), `row`: its name (the same where rows look alike).
    """

    columns: OneOrMany[Column] = ()


class BoardSelector(Spec):
    """Boards by name, kind, tag or site; of several axes, all must fit.

    A plain word in a file is a name.
    """

    name: OneOrMany[Word] = ()
    kind: OneOrMany[Word] = ()
    tag: OneOrMany[Word] = ()
    site: OneOrMany[Word] = ()

    @model_validator(mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, (str, list, tuple)) else value

    @model_validator(mode="after")
    def _some(self) -> BoardSelector:
        if not (self.name or self.kind or self.tag or self.site):
            raise wrong("expected a board's name, or kind:, tag: or site:")
        return self

    def fits(self, board: Board) -> bool:
        """Whether this picks `board`."""
        return (
            (not self.name or board.name in self.name)
            and (not self.kind or board.kind in self.kind)
            and (not self.tag or not set(self.tag).isdisjoint(board.tags))
            and (not self.site or board.site in self.site)
        )

    def select(self, inventory: Inventory) -> tuple[Board, ...]:
        """The boards that this picks, in the inventory's order."""
        boards = inventory.named(self.name) if self.name else inventory.boards
        return tuple(board for board in boards if self.fits(board))


class Entry(Spec):
    """Rows of the table: boards × quantizations × galleries × models.

    `gallery: float32` is mixed mode: enrolled with the float32 reference, searched with the board.
    `toolchain: auto` is the vendor's own, of which an emulated board runs the twin, and
    onnxruntime on this host. `detector`, of a test set of photos, says where and how the faces are
    found: `this-host`, `same` (on the board, quantized as the recognizer), or a quantization.
    """

    name: Word = Field(pattern=SLUG, max_length=63)
    boards: BoardSelector
    quantization: OneOrMany[Quantization] = Field(min_length=1)
    toolchain: Toolchain = "auto"
    gallery: OneOrMany[Gallery] = Field(("same",), min_length=1)
    detector: OneOrMany[Detecting] = Field((HERE,), min_length=1)
    model: OneOrMany[Word] = ()
    priority: int = Field(0, ge=-100, le=100)


class Rule(Spec):
    """A partial description of cells; what is left out fits all.

    `quantization` is a list of words (`int8`, `per-channel`, ...) that must all be in the cell's.
    """

    entry: OneOrMany[Word] = ()
    board: OneOrMany[Word] = ()
    kind: OneOrMany[Word] = ()
    toolchain: OneOrMany[Word] = ()
    quantization: Word | None = None
    gallery: OneOrMany[Gallery] = ()
    model: OneOrMany[Word] = ()

    @field_validator("quantization")
    @classmethod
    def _words(cls, value: str | None) -> str | None:
        valid = (
            *("float32", "float16", "int8", "uint8", "per-channel", "per-tensor"),
            *("symmetric", "asymmetric", "minmax", "percentile", "entropy", "mmse"),
            *("equalize", "bias-correction", "as-given"),
        )
        for word in (value or "").split():
            if word not in valid:
                raise wrong(f"{word!r} is not a quantization option{nearest(word, valid)}")
        return value

    @model_validator(mode="after")
    def _some(self) -> Rule:
        if self == Rule.model_construct():
            raise wrong("an empty rule would fit every cell")
        return self

    def fits(
        self,
        *,
        entry: str,
        board: Board,
        toolchain: str,
        quantization: Quantization,
        gallery: Gallery,
        model: str,
    ) -> bool:
        """Whether a cell is one that this rule means."""
        q = quantization
        has: set[str | None] = {q.dtype, q.granularity, q.symmetry}
        has |= {q.calibrator} if q.is_calibrated else set()
        has |= {"equalize"} if q.equalize else set()
        has |= {"bias-correction"} if q.bias_correction else set()
        pairs = (
            (self.entry, entry),
            (self.board, board.name),
            (self.kind, board.kind),
            (self.toolchain, toolchain),
            (self.gallery, gallery),
            (self.model, model),
        )
        wanted = set((self.quantization or "").split())
        return wanted <= has and all(not valid or value in valid for valid, value in pairs)


class Matrix(FileSpec):
    """Everything that a run measures.

    A cell of an entry is run when some rule of `include` fits it (all when there is none) and
    none of `exclude`. `reference` names the entry whose first float32 board makes the float32
    galleries; the first entry with float32 when left out.

    `detector_calibration` are the pictures that calibrate a detector on boards, of a test set of
    photos: `scenes:` or a `folder:` of photos; rendered photos have scenes like theirs.

    `keep_images` lets the boards keep the test set's images, so that they cross the link once for
    all encoders of a board and for later runs; until a run without it works there, or
    `farm boards wipe`.
    """

    models: OneOrMany[Annotated[str, Means.MANIFEST]] = Field(min_length=1)
    test_set: TestSet
    calibration: CalibrationSpec = Field(default_factory=usual_calibration)
    detector_calibration: DetectorCalibration | None = None
    keep_images: bool = False
    measurement: MeasurementPolicy = MeasurementPolicy()
    scoring: ScoringPolicy = ScoringPolicy()
    table: TablePolicy = TablePolicy()
    entries: Many[Entry] = Field(min_length=1)
    include: Many[Rule] = ()
    exclude: Many[Rule] = ()
    reference: Word | None = None

    @property
    def detector_name(self) -> str:
        """The model that finds the faces of a test set of photos; empty of others."""
        photos = self.test_set
        return self.model_name(photos.detector) if isinstance(photos, AnyPhotos) else ""

    @property
    def detector_reference(self) -> str:
        """The detector of a test set of photos as the matrix gives it; empty of others."""
        photos = self.test_set
        return photos.detector if isinstance(photos, AnyPhotos) else ""

    @property
    def task(self) -> Task:
        """What the models are for: the test set's task."""
        return task_of(self.test_set)

    def wants(
        self,
        *,
        entry: str,
        board: Board,
        toolchain: str,
        quantization: Quantization,
        gallery: Gallery,
        model: str,
    ) -> bool:
        """Whether include and exclude let a cell through."""

        def fits(rule: Rule) -> bool:
            return rule.fits(
                entry=entry,
                board=board,
                toolchain=toolchain,
                quantization=quantization,
                gallery=gallery,
                model=model,
            )

        return (not self.include or any(map(fits, self.include))) and not any(
            map(fits, self.exclude)
        )

    @property
    def reference_entry(self) -> Entry | None:
        """The entry that makes the float32 galleries, or None when no entry runs float32."""
        for entry in self.entries:
            if self.reference in (None, entry.name) and any(
                q.dtype == "float32" for q in entry.quantization
            ):
                return entry
        return None

    def model_name(self, reference: str) -> str:
        """The name of a model that `models` gives by name or by path."""
        return Path(reference).stem if is_path(reference) else reference

    def problems(self) -> Iterator[tuple[PathKey, str]]:
        """What parts of the matrix say about each other and must not."""
        names: dict[str, int] = {}
        for i, entry in enumerate(self.entries):
            first = names.setdefault(entry.name.lower(), i)
            if first != i:
                line = self.source.line(("entries", first, "name"))
                yield (
                    ("entries", i, "name"),
                    f"the entry {entry.name!r} is defined twice (first on line {line})",
                )
        yield from self._unknown_names()
        if self.task == "detection":
            yield from self._of_recognition()
        elif self.reference_entry is None:
            for i, entry in enumerate(self.entries):
                if "float32" in entry.gallery:
                    yield (
                        ("entries", i, "gallery"),
                        "a float32 gallery needs an entry that runs float32; there is none",
                    )
        yield from self._shared_faces()
        yield from self._detectors()

    def _detectors(self) -> Iterator[tuple[PathKey, str]]:
        """Where a detector works that there is not, or that nothing calibrates."""
        photos = self.test_set
        asked = [
            (("entries", i, "detector"), entry, choice)
            for i, entry in enumerate(self.entries)
            for choice in entry.detector
            if is_on_board(choice)
        ]
        if not isinstance(photos, AnyPhotos):
            for place, _, _ in asked:
                text = "a detector finds faces in photos; this test set is of aligned faces"
                if self.task == "detection":
                    text = "the entry's own model is the detector; leave it out"
                yield place, f"{text} (`test_set: {photos.source}`)"
            if self.detector_calibration is not None:
                text = "no detector works before a recognizer here; leave it out"
                yield ("detector_calibration",), text
            return
        if self.detector_name in map(self.model_name, self.models):
            yield ("models",), f"{self.detector_name!r} is the test set's detector, too"
        calibrated = [
            place
            for place, entry, choice in asked
            if any(not quantized(choice, q).is_float for q in entry.quantization)
        ]
        own = self.detector_calibration
        if calibrated and own is None and isinstance(photos, PhotosSet):
            text = (
                "a quantized detector is calibrated with photos; name them: "
                "detector_calibration: {folder: DIR}"
            )
            yield calibrated[0], text
        if own is not None and getattr(own, "path", 0) == getattr(photos, "path", 1):
            text = "calibrates on the test set's own photos; give it others"
            yield ("detector_calibration",), text

    def _unknown_names(self) -> Iterator[tuple[PathKey, str]]:
        entries = [entry.name for entry in self.entries]
        models = [self.model_name(name) for name in self.models]
        for i, name in enumerate(models):
            if name in models[:i]:
                yield ("models", i), f"the model {name!r} is defined twice"
        if self.reference is not None:
            if self.reference not in entries:
                yield (
                    ("reference",),
                    f"unknown entry {self.reference!r}{nearest(self.reference, entries)}",
                )
            elif self.reference_entry is None:
                yield ("reference",), f"the entry {self.reference!r} does not run float32"
        users: list[tuple[PathKey, Entry | Rule]] = [
            (("entries", i), entry) for i, entry in enumerate(self.entries)
        ]
        users += [(("include", i), rule) for i, rule in enumerate(self.include)]
        users += [(("exclude", i), rule) for i, rule in enumerate(self.exclude)]
        for place, user in users:
            for j, name in enumerate(user.model):
                if name not in models:
                    yield (
                        (*place, "model", j),
                        f"unknown model {name!r}{nearest(name, models)}",
                    )
            for j, name in enumerate(user.entry if isinstance(user, Rule) else ()):
                if name not in entries:
                    yield (
                        (*place, "entry", j),
                        f"unknown entry {name!r}{nearest(name, entries)}",
                    )

    def _of_recognition(self) -> Iterator[tuple[PathKey, str]]:
        """What only recognition has, in a matrix of detectors."""
        for i, entry in enumerate(self.entries):
            if entry.gallery != ("same",):
                yield ("entries", i, "gallery"), "a detector enrols nobody; leave the gallery out"
        if isinstance(self.calibration, RenderedCalibration):
            yield (
                ("calibration",),
                "aligned faces do not calibrate a detector; use `scenes:` or a `folder:` of photos",
            )

    def _shared_faces(self) -> Iterator[tuple[PathKey, str]]:
        own, other = self.test_set, self.calibration
        if isinstance(own, RenderedSet) and isinstance(other, RenderedCalibration):
            return  # number ranges of their own: testset.py
        if isinstance(own, ScenesSet) and isinstance(other, ScenesCalibration):
            return
        if self.task == "recognition" and isinstance(other, ScenesCalibration):
            yield ("calibration",), "scenes calibrate detectors; this test set is of aligned faces"
            return
        if self.task == "detection":
            if getattr(own, "images", 0) == getattr(other, "path", 1):
                yield ("calibration",), "calibrates on the test set's own photos; give it others"
            return
        if own.source == other.source and getattr(own, "path", 0) == getattr(other, "path", 1):
            yield ("calibration",), "calibrates on the test set's own faces; give it others"


INVENTORY_INSTEAD = (
    "boards",
    "this looks like an inventory, not a matrix",
    "name the matrix first: farm run matrix.yaml --inventory device_inventory.yaml",
)


def load_matrix(path: Path | str) -> Matrix:
    """Read and check a matrix by itself; `check_references` checks it against the rest.

    Raises:
        UserError: `file:line: what is wrong; did you mean 'x'?`, a line for each problem.
    """
    return load(Matrix, path, instead=INVENTORY_INSTEAD)


def is_path(reference: str) -> bool:
    """Whether a model is named by its manifest's path."""
    return reference.endswith((".yaml", ".yml")) or "/" in reference
