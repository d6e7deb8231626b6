"""A manifest's model as the steps of a plan use it: in the normal form, proved, looked at.

What was found is kept in the state folder, by the hash of everything it rests on, so that the next
plan neither parses nor computes the model again. The normal form itself lies there by its own hash.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.deprecation import deprecate, with_old_names
from orchestrator.errors import UserError
from orchestrator.hashing import digest, sha256_bytes, sha256_file
from orchestrator.installed import installed
from orchestrator.intake import RECIPE
from orchestrator.planning.tasks import TASKS
from orchestrator.preflight.detector import outputs_of, refuse_undecodable
from orchestrator.preflight.known_files import KnownFiles
from orchestrator.preflight.unsupported import limits, reasons
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.yamlfile import Problem, fail, nearest
from orchestrator.store.places import check_writable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.images import Rows
    from orchestrator.intake.normalizing import Normal
    from orchestrator.intake.reading import Original

IMAGES = 8
REPAIRED = deprecate("mended", "repaired", remove_in="0.3")
"""So many images are computed before anything is quantized."""

FOLDER = "models"
DAY_S = 86400.0
_remembered: dict[str, dict[str, Any]] = {}


@dataclass(frozen=True)
class TakenIn:
    """A model of a plan.

    Attributes:
        spec: as every step uses it: `file`, `sha256` and `input` of the normal form.
        original_sha256: of the user's file; `fingerprint` of it with the weights beside it.
        changes: what was done to it; nothing for a model that is in the normal form already.
        warnings: what makes its features doubtful.
        cosine: the lowest between both on `images` images.
        repaired: onnxruntime cannot compute the file itself, so the cosine is to the file with the
            first of the changes.
        impossible: why a toolchain cannot make anything of it, as `makeable.reasons` says it.
    """

    spec: ModelSpec
    original_sha256: str
    fingerprint: str
    changes: tuple[str, ...]
    warnings: tuple[str, ...]
    cosine: float
    images: int
    repaired: bool
    impossible: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For a row's provenance and for programs."""
        fields = asdict(self)
        del fields["spec"], fields["impossible"]
        fields |= {"changes": list(self.changes), "warnings": list(self.warnings)}
        return with_old_names(fields, REPAIRED)


def hold_against_file(spec: ModelSpec, known: KnownFiles) -> None:
    """See that a manifest and its file speak of the same model, before images are looked at.

    Args:
        spec: the manifest.
        known: files that were found to agree before; this one is added.

    Raises:
        UserError: naming the manifest's line.
    """
    if known.sha256(spec):
        return
    # Late, as all that a model that was proved before needs none of.
    from orchestrator.intake.checking import refuse_quantized
    from orchestrator.intake.reading import read

    try:
        original = read(spec.path)
        refuse_quantized(original.proto, f"the model {spec.path}")
    except UserError as error:
        fail([_at(spec, "file", error.message)], error.hint)
        raise
    fail(_contradictions(spec, original))
    if not original.beside:
        known.add(spec, original.sha256)


def take_in(spec: ModelSpec, rows: Mapping[tuple[str, str], Rows], state: Path) -> TakenIn:
    """Bring a manifest's model into the normal form, or find that this was done.

    Args:
        spec: the manifest.
        rows: (model, role) to images, those of the calibration or of the probes among them.
        state: farm's own folder.

    Raises:
        UserError: naming the manifest's line; nothing was kept.
    """
    # A detector before a recognizer has the recognizer's probes.
    roles = ("calibration", TASKS[spec.task].timed, "probe")
    images = next(rows[spec.name, role] for role in roles if (spec.name, role) in rows)
    folder = state / FOLDER
    key, record = "", None
    sha256 = fingerprint = KnownFiles(state).sha256(spec)
    if fingerprint:
        key = _key(spec, fingerprint, images)
        record = _recorded(folder, key)
    if record is None:
        original = _read(spec)
        sha256, fingerprint = original.sha256, original.fingerprint
        key = _key(spec, fingerprint, images)
        record = _recorded(folder, key) or _proved(spec, original, images, folder, key)
    _touch(folder / f"{key}.json")
    _remembered[key] = record
    return TakenIn(
        spec=_normal_spec(spec, record, folder),
        original_sha256=sha256,
        fingerprint=fingerprint,
        changes=tuple(record["changes"]),
        warnings=tuple(record["warnings"]),
        cosine=record["cosine"],
        images=record["images"],
        repaired=record[REPAIRED.new if REPAIRED.new in record else REPAIRED.old],
        impossible=record["impossible"],
    )


def _read(spec: ModelSpec) -> Original:
    from orchestrator.intake.reading import read

    try:
        return read(spec.path)
    except UserError as error:
        fail([spec.source.problem(("file",), error.message)], error.hint)
        raise


def _key(spec: ModelSpec, fingerprint: str, images: Rows) -> str:
    """Of all that what is recorded of a model rests on."""
    return digest(
        {
            "recipe": RECIPE,
            "model": fingerprint,
            "input": spec.input_meta,
            "output": spec.output,
            "embedding_size": spec.embedding_size,
            **({"detection": spec.detection.model_dump(mode="json")} if spec.detection else {}),
            "images": [images.fingerprint(), len(images), IMAGES],
            "limits": limits(),
            "versions": [installed("onnx"), installed("onnxruntime")],
        }
    )


def _touch(record: Path) -> None:
    """Note, to the day, that a record is used: `farm gc` removes the longest unused first."""
    with contextlib.suppress(OSError):
        if time.time() - record.stat().st_mtime > DAY_S:
            os.utime(record)


def _normal_spec(spec: ModelSpec, record: Mapping[str, Any], folder: Path) -> ModelSpec:
    if spec.detection is not None:
        spec = spec.with_outputs(record["outputs"])
    if not record["changes"]:
        return spec
    file = (folder / f"{record['normal']}.onnx").resolve()
    wants = spec.input.model_copy(update={"layout": "NCHW"})
    changes = {"file": str(file), "sha256": record["normal"], "input": wants}
    return spec.model_copy(update=changes)


def _fresh(spec: ModelSpec, original: Original, images: Any) -> tuple[dict[str, Any], bytes]:
    # Late: a model that was proved before needs none of it.
    from orchestrator.intake.checking import refuse_quantized
    from orchestrator.intake.looking import look
    from orchestrator.intake.normalizing import normalize
    from orchestrator.intake.proving import prepared, prove
    from orchestrator.stages.quantize import inputs_of

    try:
        refuse_quantized(original.proto, f"the model {spec.path}")
    except UserError as error:
        fail([_at(spec, "file", error.message)], error.hint)
        raise
    fail(_contradictions(spec, original))
    try:
        normal = normalize(
            original,
            size=spec.input.size,
            output=spec.output,
            layout_said=spec.input.layout,
            detector=None if spec.detection is None else outputs_of(spec),
        )
        fail(_of_bytes(spec, normal))
        meta = spec.input_meta | {"layout": "NCHW"}
        proof = prove(original, normal, inputs_of(sampled(images), meta))
    except UserError as error:
        place = "output" if "output" in error.hint and "outputs" in error.message else "file"
        if spec.detection is not None:
            place = "detection"
        fail([_at(spec, place, error.message)], error.hint)
        raise
    dims = proof.features.shape[1]
    if spec.detection is None and dims != spec.embedding_size:
        text = f"{spec.file} makes {dims} numbers a face, not {spec.embedding_size}"
        fail([spec.source.problem(("embedding_size",), text)])
    _check_boxes(spec, normal, proof.features)
    looked = look(proof.features, detector=spec.detection is not None)
    if looked.fatal:
        fail(
            [_at(spec, "file", f"{spec.file}: {looked.fatal}")],
            "Look at mean, std and colour of this manifest (`farm init --model` compares them) and "
            "at how the model was exported.",
        )
    try:
        ready = prepared(normal)
    except UserError as error:
        fail([_at(spec, "file", error.message)], error.hint)
        raise
    record = {
        "changes": list(normal.changes),
        "warnings": [*looked.warnings, *_twice(spec, normal)],
        "cosine": proof.cosine,
        "images": proof.images,
        "repaired": normal.computable is not None,
        "impossible": reasons(ready),
        "normal": sha256_bytes(normal.data),
        **({"outputs": normal.detector} if spec.detection else {}),
    }
    return record, normal.data


def _check_boxes(spec: ModelSpec, normal: Normal, features: NDArray[np.float32]) -> None:
    """See that a detector's outputs become boxes; a recognition model has none."""
    if spec.detection is None:
        return
    try:
        refuse_undecodable(spec.with_outputs(normal.detector), features)
    except UserError as error:
        fail([_at(spec, "detection", error.message)], error.hint)
        raise


def sampled(rows: Any) -> NDArray[np.uint8]:
    """A few images, spread over the set: uint8 (n, height, width, 3)."""
    import numpy as np

    places = np.unique(np.linspace(0, len(rows) - 1, min(IMAGES, len(rows))).astype(int))
    return np.concatenate([rows.images(int(i), int(i) + 1) for i in places])


def _at(spec: ModelSpec, place: str, text: str) -> Problem:
    # What already names a line of a manifest is handed on as it is.
    known = text.startswith(f"{spec.source.file}:")
    return spec.source.problem((place,), text.split(": ", 1)[1] if known else text)


def _contradictions(spec: ModelSpec, original: Original) -> list[Problem]:
    """Where the manifest says something else of the input than the file."""
    from orchestrator.intake.inputs import image_input

    try:
        image = image_input(original.proto, spec.input.layout)
    except UserError as error:
        return [spec.source.problem(("file",), f"{spec.file}: {error.message}; {error.hint}")]
    problems = []
    if image.name != spec.input.name:
        text = f"{spec.file} has the input {image.name!r}, not {spec.input.name!r}"
        problems.append(spec.source.problem(("input", "name"), text))
    stated = (image.height, image.width)
    differ = any(f is not None and f != w for f, w in zip(stated, spec.input.size, strict=True))
    if differ or image.layout != spec.input.layout:
        text = (
            f"{spec.file} takes {_shape(image.layout, stated)} after the batch, but this manifest "
            f"describes {_shape(spec.input.layout, spec.input.size)} ({spec.input.layout})"
        )
        problems.append(spec.source.problem(("input", "height"), text))
    names = [output.name for output in original.proto.graph.output]
    if spec.output is not None and spec.output not in names:
        text = f"{spec.file} has no output {spec.output!r}{nearest(spec.output, names)}"
        problems.append(spec.source.problem(("output",), text))
    return problems


def _of_bytes(spec: ModelSpec, normal: Normal) -> list[Problem]:
    """A model that takes bytes gets them as they are."""
    if normal.dtype != "uint8" or (set(spec.input.mean), set(spec.input.std)) == ({0.0}, {1.0}):
        return []
    text = f"{spec.file} takes uint8 pixels as they are: mean must be 0 and std 1"
    return [spec.source.problem(("input", "mean"), text)]


def _twice(spec: ModelSpec, normal: Normal) -> list[str]:
    """A manifest that normalizes what the graph normalizes again."""
    import numpy as np

    if normal.inside is None:
        return []
    mean, std = normal.inside.fed
    if np.allclose(spec.input.mean, mean, atol=1.0) and np.allclose(spec.input.std, std, rtol=0.02):
        return []
    return [
        f"the graph itself normalizes pixels, {normal.inside}, and mean and std of the manifest "
        f"come before it: mean {mean[0]:g} and std {std[0]:g} are expected there"
    ]


def _shape(layout: str, size: tuple[int | None, int | None]) -> str:
    height, width = ("?" if side is None else str(side) for side in size)
    return f"3 x {height} x {width}" if layout == "NCHW" else f"{height} x {width} x 3"


def _recorded(folder: Path, key: str) -> dict[str, Any] | None:
    """What is recorded under a key, if the normal form that it speaks of is there, undamaged."""
    try:
        found: dict[str, Any] = _remembered.get(key) or json.loads(
            (folder / f"{key}.json").read_text()
        )
        if found["changes"] and sha256_file(folder / f"{found['normal']}.onnx") != found["normal"]:
            return None
    except (OSError, ValueError):
        return None
    return found


def _proved(
    spec: ModelSpec, original: Original, images: Rows, folder: Path, key: str
) -> dict[str, Any]:
    """Bring a model into the normal form and record it."""
    record, data = _fresh(spec, original, images)
    if record["changes"]:
        _write(folder / f"{record['normal']}.onnx", data)
    _write(folder / f"{key}.json", json.dumps(record, indent=1).encode())
    return record


def _write(path: Path, data: bytes) -> None:
    import tempfile

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError as error:
        check_writable(path.parents[1], "--state")  # says what to type where it is the folder's
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
