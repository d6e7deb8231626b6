"""Kept runs rescored from their features: another FAR, fusion, confidence or gallery; no board.

What only needs the kept searches (another FAR, confidence) is instant; another fusion or gallery
searches again, in the store's memory-mapped features. The run itself is never touched.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from orchestrator.data.features import Features
from orchestrator.errors import UserError
from orchestrator.hashing import digest
from orchestrator.reporting.analysis.figures import searches_of
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.export.files import with_holm
from orchestrator.results import CellResult
from orchestrator.scoring import Searches
from orchestrator.stages import compare, image_rows, score
from orchestrator.store.artifacts import Held
from orchestrator.store.features import SUMMARY

Fusion = Literal["mean", "max"]
FACES = ("images", "align")
"""Stages that store the images of features."""
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Asked:
    """What is to be otherwise than in the run; None and empty leave it as it was.

    Attributes:
        far: false-alarm rates a search; the first is the table's.
        gallery: the row whose encoder's gallery features all rows are searched in.
        distractors: keep only so many of the gallery identities that nobody searches for.
        rows: only these.
    """

    far: tuple[float, ...] = ()
    fusion: Fusion | None = None
    confidence: float | None = None
    bootstrap: int | None = None
    seed: int | None = None
    gallery: str = ""
    distractors: int | None = None
    rows: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, what is as it was left out."""
        return {name: value for name, value in vars(self).items() if value not in (None, "", ())}

    @property
    def label(self) -> str:
        """A folder's name for results scored so."""
        words = [
            f"{name}-{'-'.join(map(_word, value)) if isinstance(value, tuple) else _word(value)}"
            for name, value in self.to_json().items()
        ]
        return "_".join(words) or "as-it-was"


def _word(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(c if c.isalnum() or c in ".-" else "-" for c in text)


@dataclass(frozen=True, eq=False)
class Rescored:
    """Rows with their new figures, and each row's searches."""

    results: tuple[CellResult, ...]
    searches: Mapping[str, Searches]


def rescore(
    run: Run, asked: Asked, gallery_run: Run | None = None, progress: Progress | None = None
) -> Rescored:
    """Rescore a run's rows.

    Args:
        run: whose probes are searched for.
        asked: what is to be otherwise.
        gallery_run: the run that `asked.gallery` names a row of; `run` itself when None.
        progress: called with (row, pairs done, pairs in all) while features are searched.

    Raises:
        UserError: a row that is not there, features that are not kept or do not fit.
        TransientError: kept features are damaged.
    """
    wanted = named_rows(run, asked.rows)
    stored = KeptFeatures(run)
    other = _gallery_row(gallery_run or run, asked.gallery) if asked.gallery else None
    galleries = KeptFeatures(gallery_run) if gallery_run else stored
    found: dict[str, tuple[Searches, Sequence[str], dict[str, Any]]] = {}
    done: dict[str, tuple[Searches, list[str]]] = {}
    references = {row.model: row for row in reversed(run.results) if row.dtype == "float32"}
    for row in run.results:
        if row not in wanted and row is not references.get(row.model):
            continue
        policy = policy_of(run, row, asked)
        before = searches_of(run, row)
        if (
            before is not None
            and other is None
            and asked.distractors is None
            and policy["fusion"] == before.fusion
        ):
            found[row.name] = before, row.warnings, policy
            continue
        gallery = galleries.held(other or row, "gallery")
        probe = stored.held(row, "probe")
        if other is not None:
            _same_space(row, other)
        name = f"{gallery.content} {probe.content} {policy['fusion']}"
        if name not in done:
            probes = stored.features(row, "probe")
            enrolled = galleries.features(other or row, "gallery")
            if asked.distractors is not None:
                enrolled = with_distractors(enrolled, probes.ids, asked.distractors)
            done[name] = score.search(enrolled, probes, policy["fusion"], _named(progress, row))
        found[row.name] = *done[name], policy
    rows = [
        _row(row, other, found, references.get(row.model), asked, galleries, stored)
        for row in wanted
    ]
    searches = {row.name: found[row.name][0] for row in wanted}
    return Rescored(tuple(with_holm(rows)), searches)


def named_rows(run: Run, names: Sequence[str]) -> list[CellResult]:
    """The rows of these names, all when there are none.

    Raises:
        UserError: a name that no finished row has, or a run without finished rows.
    """
    if not run.results:
        raise UserError(f"run {run.name} has no finished row", "`farm runs` lists what is kept")
    if run.results[0].task != "recognition":
        raise UserError(
            f"run {run.name} is of detectors: there is nobody to search for",
            "write `scoring: {false_positives: ...}` in the matrix and run it again; what is in "
            "the store is not made again",
        )
    for name in names:
        _known(run, name)
    return [row for row in run.results if not names or row.name in names]


def _known(run: Run, name: str) -> CellResult:
    row = run.row(name)
    if row is None:
        known = [other.name for other in run.results]
        near = difflib.get_close_matches(name, known, 1)
        raise UserError(
            f"run {run.name} has no finished row {name!r}",
            f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(known)}",
        )
    return row


def _gallery_row(run: Run, name: str) -> CellResult:
    row = _known(run, name)
    if row.mixed:
        maker = row.provenance.get("gallery", {}).get("encoder", "another encoder")
        raise UserError(
            f"row {name!r} of run {run.name} is mixed mode: its gallery was made by {maker}",
            "name a row whose encoder made its own gallery",
        )
    return row


def _named(progress: Progress | None, row: CellResult) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress(row.name, done, total)


def policy_of(run: Run, row: CellResult, asked: Asked) -> dict[str, Any]:
    """The scoring policy that a row had, with what is asked for in its place."""
    before = row.provenance.get("score", {})
    searches = searches_of(run, row)
    rates = [tar.far_target for tar in row.tar_all or [row.tar]]
    return {
        "far": [*dict.fromkeys([*asked.far, *rates])] if asked.far else rates,
        "table_far": asked.far[0] if asked.far else row.tar.far_target,
        "fusion": asked.fusion or (searches.fusion if searches else "mean"),
        "confidence": asked.confidence or before.get("confidence", 0.95),
        "bootstrap": asked.bootstrap or before.get("bootstrap", 1000),
        "seed": before.get("seed", 0) if asked.seed is None else asked.seed,
    }


def with_distractors(gallery: Features, searched: Iterable[str], count: int) -> Features:
    """A gallery with only its first `count` identities that nobody searches for.

    Raises:
        UserError: it has fewer.
    """
    mated = set(searched)
    names = list(dict.fromkeys(name for name in gallery.ids if name not in mated))
    if len(names) < count:
        raise UserError(
            f"{count:,} distractors are asked for, the gallery has {len(names):,}",
            "render more (`distractors:` of the test set), or name another gallery",
        )
    left_out = set(names[count:])
    keep = np.array([name not in left_out for name in gallery.ids])
    return Features(
        gallery.rows[keep],
        gallery.failed[keep],
        [name for name in gallery.ids if name not in left_out],
    )


def space_of(row: CellResult) -> str:
    """Name of the embedding space: features of two spaces cannot be compared."""
    come = row.provenance
    return digest({name: come.get(name) for name in ("model_sha256", "preprocessing")})


def _same_space(row: CellResult, gallery: CellResult) -> None:
    if space_of(row) != space_of(gallery):
        raise UserError(
            f"row {row.name!r} ({row.model}) cannot be searched for in the gallery of "
            f"{gallery.name!r} ({gallery.model}): another model file or preprocessing",
            "features of two models cannot be compared; leave such rows out with --row",
        )


@dataclass
class KeptFeatures:
    """A run's features as the store keeps them; each is read and checked once."""

    run: Run
    _read: dict[str, Features] = field(default_factory=dict)
    _ids: dict[str, list[str]] = field(default_factory=dict)

    def held(self, row: CellResult, role: str) -> Held:
        """The store's entry of a row's gallery or probe features.

        Raises:
            UserError: the store does not have it (any more).
        """
        key = row.provenance.get("keys", {}).get(role)
        held = self.run.store.lookup("extract", key) if self.run.store and key else None
        if held is None:
            raise self._gone(row, f"the {role} features")
        return held

    def features(self, row: CellResult, role: str) -> Features:
        """A row's gallery or probe features with identities."""
        held = self.held(row, role)
        name = f"{held.content} {self._images(held)}"
        if name not in self._read:
            pictures = self._pictures(row, role)
            ids, lost = self.ids(row, role), image_rows.lost_rows(pictures)
            self._read[name] = score.stored_features(held.folder, ids, lost)
        return self._read[name]

    def ids(self, row: CellResult, role: str) -> list[str]:
        """Identities of a row's gallery or probe images."""
        content = self.images(row, role)
        if content not in self._ids:
            pictures = self._pictures(row, role)
            self._ids[content] = image_rows.read_rows(pictures.read(image_rows.ROWS))
        return self._ids[content]

    def _pictures(self, row: CellResult, role: str) -> Held:
        content = self.images(row, role)
        store = self.run.store
        # Faces that a board's detector found are of another stage.
        found = [store.by_content(stage, content) for stage in FACES] if store else []
        pictures = next((each for each in found if each is not None), None)
        if pictures is None:
            raise self._gone(row, f"the list of the {role} images")
        return pictures

    def images(self, row: CellResult, role: str) -> str:
        """Content hash of the images that a row's features were made from."""
        return self._images(self.held(row, role))

    def _images(self, held: Held) -> str:
        summary = json.loads((held.folder / SUMMARY).read_bytes())
        return str(summary["header"]["images"])

    def _gone(self, row: CellResult, what: str) -> UserError:
        where = self.run.store.root if self.run.store else "a store that is not on this computer"
        return UserError(
            f"row {row.name!r} of run {self.run.name}: {what} are not in {where}",
            "`farm run` with the same matrix makes them again",
        )


def _row(
    row: CellResult,
    other: CellResult | None,
    found: Mapping[str, tuple[Searches, Sequence[str], dict[str, Any]]],
    reference: CellResult | None,
    asked: Asked,
    galleries: KeptFeatures,
    stored: KeptFeatures,
) -> CellResult:
    searches, warnings, policy = found[row.name]
    facts = score.figures(searches, policy, warnings)
    change: dict[str, Any] = {
        "rank1": facts["rank1"],
        "tar": facts["tar"],
        "tar_all": facts["tar_all"],
        "failed_images": facts["failed"],
        "warnings": facts["warnings"],
        "difference": None,
        "split": None,  # it was of the figures before
    }
    if reference is not None and reference.name != row.name:
        change["difference"] = compare.difference(found[reference.name][0], searches, policy)
    come = dict(row.provenance)
    come["score"] = {
        **come.get("score", {}),
        **{name: policy[name] for name in ("confidence", "bootstrap", "seed", "fusion")},
        "rescored": asked.to_json(),
    }
    come["keys"] = {k: v for k, v in come.get("keys", {}).items() if k not in ("score", "compare")}
    test = row.test_set.model_dump() | {
        name: facts[name] for name in ("gallery", "probes", "mated", "unknown")
    }
    if other is not None or asked.distractors is not None:
        source = other or row
        test["hash"] = digest(
            {
                "gallery": galleries.images(source, "gallery"),
                "probe": stored.images(row, "probe"),
                **({} if asked.distractors is None else {"distractors": asked.distractors}),
            }
        )
    if other is not None:
        key = galleries.held(other, "gallery").key
        mixed = _encoder(other) != _encoder(row)
        change |= {"mixed": mixed, "hardware": row.hardware.rstrip("*") + "*" * mixed}
        come["gallery"] = other.provenance.get("gallery", {}) | {"run": galleries.run.name}
        come["keys"] = come["keys"] | {"gallery": key}
    change |= {"test_set": test, "provenance": come}
    return CellResult.model_validate(row.model_dump(mode="json") | change)


def _encoder(row: CellResult) -> tuple[Any, ...]:
    """What made the probes, as far as two rows may share it."""
    keys = row.provenance.get("keys", {})
    return row.model, row.executed_by, row.kind, keys.get("artifact")
