"""Models whose manifest has a file that is quantized already: looked at before anything starts.

Is it one, does it fit the float32 model, does it compute finite features, and how near are they to
float32's on calibration images? Each toolchain that is to deploy it tries to take it. What was
found is kept in farm's state, since computing it takes seconds.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import FarmError, UserError
from orchestrator.graphs.recipes import PREPARE, QDQ
from orchestrator.hashing import digest
from orchestrator.planning.cells import capability_name
from orchestrator.preflight.capabilities import DeclaredCapabilities
from orchestrator.preflight.model import take_in
from orchestrator.specs.inventory import Inventory
from orchestrator.specs.matrix import Matrix
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.scenes import ScenesCalibration
from orchestrator.specs.testset import FolderSet, RenderedCalibration
from orchestrator.specs.yamlfile import Problem, fail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMAGES = 16
# Below it the file computes another model. Sound ones keep 0.97 and more; another model's features
# have nothing to do with these.
LOWEST = 0.5


@dataclass(frozen=True)
class Given:
    """What was found of a quantized file.

    Attributes:
        dtype, granularity, symmetry: as its nodes say; `as given` where they say several things.
        words: the same for a person, with how much of it is quantized.
        cosine, lowest: mean and least cosine to the float32 model's features, over `images`.
        reasons: by `capability_name`, why that toolchain cannot take the file; empty where it
            can.
    """

    dtype: str
    granularity: str
    symmetry: str
    words: str
    cosine: float
    lowest: float
    images: int
    reasons: Mapping[str, str]

    def line(self, model: ModelSpec) -> str:
        """For a person, below the plan."""
        file = model.quantized.file if model.quantized else "?"
        return (
            f"{model.name} as given ({file}): {self.words}; mean cosine to float32 "
            f"{self.cosine:.4f}, lowest {self.lowest:.4f}, on {self.images} images"
        )


def examine(
    matrix: Matrix,
    inventory: Inventory,
    models: Mapping[str, ModelSpec],
    capabilities: Mapping[str, DeclaredCapabilities],
    state: Path,
) -> tuple[dict[str, Given], dict[str, DeclaredCapabilities]]:
    """Look at the quantized file of every model that an entry deploys `as-given`.

    Args:
        matrix, inventory, models: validated specs whose references have been checked.
        capabilities: by `cells.capability_name`.
        state: farm's own folder.

    Returns:
        what was found, by model, and the capabilities with their reasons.

    Raises:
        UserError: a model has no such file, or one that is not quantized, does not fit the float32
            model or computes another one; with the line of the matrix or manifest.
    """
    makers: dict[str, set[str]] = {}
    for model, maker in _asked(matrix, inventory, models):
        makers.setdefault(model, set()).add(maker)
    found = {
        model: _looked_at(models[model], matrix, capabilities, sorted(names), state)
        for model, names in makers.items()
    }
    updated = {
        name: replace(
            can,
            qdq_reasons={model: given.reasons.get(name, "") for model, given in found.items()},
        )
        for name, can in capabilities.items()
    }
    return found, updated if found else dict(capabilities)


def _asked(
    matrix: Matrix, inventory: Inventory, models: Mapping[str, ModelSpec]
) -> Iterator[tuple[str, str]]:
    """(model, `capability_name`) of every row that deploys a given file."""
    problems: list[Problem] = []
    for i, entry in enumerate(matrix.entries):
        if not any(quantization.is_given for quantization in entry.quantization):
            continue
        for name in entry.model or models:
            if models[name].quantized is None:
                text = (
                    f"the model {name!r} has no quantized file to deploy as given; "
                    f"{models[name].source.file} needs `quantized: {{file: ..., sha256: ...}}`, or "
                    "this entry `model:` with the models that have one"
                )
                problems.append(matrix.source.problem(("entries", i, "quantization"), text))
                continue
            for board in entry.boards.select(inventory):
                toolchain = board.toolchain_for(entry.toolchain)
                yield name, capability_name(toolchain, board.runs_twin(toolchain))
    fail(problems)


def _looked_at(
    model: ModelSpec,
    matrix: Matrix,
    capabilities: Mapping[str, DeclaredCapabilities],
    makers: Collection[str],
    state: Path,
) -> Given:
    from orchestrator import images

    checker = images.Checker(state)
    rows: images.Rows
    if isinstance(matrix.calibration, RenderedCalibration) and isinstance(
        matrix.test_set, FolderSet
    ):
        # No own calibration images were given, and rendered faces are not what this model is for.
        rows = images.probe_rows(matrix.test_set, size=model.input.size, checker=checker)
    elif isinstance(matrix.calibration, ScenesCalibration):
        raise TypeError("a detector has no quantized file of its own")  # refused by its manifest
    else:
        rows = images.calibration_rows(matrix.calibration, size=model.input.size, checker=checker)
    # The float32 model as every step uses it.
    model = take_in(model, {(model.name, "calibration"): rows}, state).spec
    assert model.quantized is not None
    asked = [name for name in makers if name in capabilities and not capabilities[name].refuses_qdq]
    key = digest(
        {
            "model": model.sha256,
            "quantized": model.quantized.sha256,
            "preprocessing": model.input_meta,
            "images": [rows.fingerprint(), IMAGES],
            "recipes": [QDQ, PREPARE],
            "makers": {name: capabilities[name].version for name in asked},
        }
    )
    record = state / "given" / f"{key}.json"
    try:
        return Given(**json.loads(record.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        pass
    from orchestrator.graphs import qdq

    try:
        data = qdq.normal(model.quantized_path.read_bytes())
        about = qdq.facts(data)
    except UserError as error:
        fail([_problem(model, f"{error.message}; {error.hint}" if error.hint else error.message)])
        raise
    _check_shapes(model, data)
    pictures = rows.images(0, min(IMAGES, len(rows)))
    cosines = _cosines(model, data, pictures)
    given = Given(
        dtype=about.dtype,
        granularity=about.granularity,
        symmetry=about.symmetry,
        words=about.words,
        cosine=round(float(cosines.mean()), 6),
        lowest=round(float(cosines.min()), 6),
        images=len(pictures),
        reasons={name: _tried(name, model.quantized_path.read_bytes()) for name in asked},
    )
    if given.cosine < LOWEST:
        text = (
            f"{model.quantized.file} is another model than {model.file}: the mean cosine of their "
            f"features is {given.cosine:.3f} on {given.images} images, expected "
            f"{LOWEST} or more"
        )
        fail([_problem(model, text)])
    record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = record.with_suffix(".part")
    part.write_text(json.dumps(asdict(given), indent=1), "utf-8")
    part.replace(record)
    return given


def _problem(model: ModelSpec, text: str) -> Problem:
    return model.source.problem(("quantized", "file"), text)


def _check_shapes(model: ModelSpec, data: bytes) -> None:
    """Raise UserError unless the file takes and gives what the float32 model does."""
    from orchestrator.toolchains.describe import describe_model

    assert model.quantized is not None
    one, other = describe_model(model.path), describe_model(data)
    problems = []
    if tuple(one.input.shape[1:]) != tuple(other.input.shape[1:]):
        problems.append(f"takes {other.input}, the float32 model {one.input}")
    if other.input.dtype != "float32" or other.outputs[0].dtype != "float32":
        problems.append(
            f"has a {other.input.dtype} input and a {other.outputs[0].dtype} output, expected "
            "float32: quantize inside"
        )
    if len(other.outputs) > 1:
        names = ", ".join(repr(output.name) for output in other.outputs)
        problems.append(f"has {len(other.outputs)} outputs ({names}), expected the feature alone")
    if other.embedding_size not in (None, model.embedding_size):
        problems.append(
            f"makes {other.embedding_size} numbers a face, the float32 model {model.embedding_size}"
        )
    fail(_problem(model, f"{model.quantized.file} {text}") for text in problems)


def _cosines(model: ModelSpec, data: bytes, pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of each picture, the cosine between the features of both files.

    Raises:
        UserError: features of the quantized file are not finite, or all zero.
    """
    import numpy as np

    from orchestrator.stages.quantize import inputs_of

    inputs = inputs_of(pictures, model.input_meta)
    exact = _features(model, model.path.read_bytes(), inputs, model.file)
    found = _features(model, data, inputs, model.quantized.file if model.quantized else "")
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(found, axis=1)
    wrong = ~np.isfinite(found).all(axis=1) | ~(np.linalg.norm(found, axis=1) > 0)
    if found.shape != exact.shape or wrong.any():
        assert model.quantized is not None
        text = (
            f"{model.quantized.file} gives NaN, infinity or only zeros for {int(wrong.sum())} of "
            f"{len(pictures)} images"
            if found.shape == exact.shape
            else f"{model.quantized.file} gives features of {found.shape[1]} numbers, the float32 "
            f"model {exact.shape[1]}"
        )
        fail([_problem(model, text)])
    cosines: NDArray[np.float64] = (exact * found).sum(axis=1) / np.maximum(lengths, 1e-300)
    return cosines


def _features(
    model: ModelSpec, data: bytes, inputs: NDArray[np.float32], file: str
) -> NDArray[np.float64]:
    """float64 (n, numbers), of the first output.

    Raises:
        UserError: onnxruntime cannot load or run the file.
    """
    import numpy as np

    from orchestrator.intake.running import outputs_of, session_of

    try:
        session = session_of(data, file)
        name = session.get_inputs()[0].name
        rows = [outputs_of(session, {name: image[None]}, file)[0].reshape(-1) for image in inputs]
    except UserError as error:
        fail([_problem(model, error.message)], error.hint)
        raise
    return np.stack(rows).astype(np.float64)


def _tried(maker: str, model: bytes) -> str:
    """Why a toolchain cannot take the file; empty when it can, as far as farm's own part goes."""
    from orchestrator import toolchains
    from orchestrator.toolchains.base import Scheme

    name, _, twin = maker.partition(" ")
    chain: Any = toolchains.twin_toolchain(name) if twin else toolchains.toolchain(name)
    try:
        artifact = chain.quantize(model, None, Scheme("as-given"))
        if not chain.capabilities.targets:
            chain.convert(artifact.data)
    except FarmError as error:
        return error.message
    return ""
