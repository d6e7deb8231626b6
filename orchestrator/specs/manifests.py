"""The manifests of the models that a matrix names."""

from __future__ import annotations

from pathlib import Path

from orchestrator.specs.matrix import Matrix, is_path
from orchestrator.specs.model import ModelSpec, load_model
from orchestrator.specs.photos import AnyPhotos
from orchestrator.specs.yamlfile import PathKey, Problem, fail, nearest


def load_models(matrix: Matrix, verify: bool = True) -> dict[str, ModelSpec]:
    """The manifests of a matrix's models, by name, in its order.

    A name is looked for as `<name>.yaml` in the folder `models` beside the matrix, then among
    the models that came with farm; a path is relative to the matrix.

    Raises:
        UserError: a manifest is not found (the places searched are named) or is wrong.
    """
    models: dict[str, ModelSpec] = {}
    problems: list[Problem] = []
    for i, reference in enumerate(matrix.models):
        manifest = _manifest(matrix, reference)
        if isinstance(manifest, str):
            problems.append(matrix.source.problem(("models", i), manifest))
            continue
        model = load_model(manifest, verify)
        name = matrix.model_name(reference)
        if model.name != name:
            problems.append(_misnamed(manifest, name, model))
        models[name] = model
    fail(problems)
    return models


def load_detector(matrix: Matrix, verify: bool = True) -> ModelSpec | None:
    """The manifest of the detector that aligns a matrix's photos; None where there is none.

    Args:
        verify: whether the file that it names is read and its hash compared.

    Raises:
        UserError: it is not found, is wrong, or is not a detector's.
    """
    if not isinstance(matrix.test_set, AnyPhotos):
        return None
    place: PathKey = ("test_set", matrix.test_set.source, "detector")
    manifest = _manifest(matrix, matrix.test_set.detector)
    if isinstance(manifest, str):
        fail([matrix.source.problem(place, manifest)])
        raise AssertionError
    found = load_model(manifest, verify)
    if found.task != "detection":
        text = f"the model {found.name!r} is for {found.task} (`task:` in {found.source.file})"
        fail([matrix.source.problem(place, text)])
    if found.name != matrix.detector_name:
        fail([_misnamed(manifest, matrix.detector_name, found)])
    return found


def _misnamed(manifest: Path, name: str, model: ModelSpec) -> Problem:
    text = f"the manifest {manifest.name} must carry the name {name!r}, not {model.name!r}"
    return model.source.problem(("name",), text)


def _manifest(matrix: Matrix, reference: str) -> Path | str:
    """The file of a manifest, or why there is none."""
    shipped = Path(__file__).resolve().parent.parent
    places = [matrix.folder / "models", shipped / "models"]
    if (shipped.parent / "pyproject.toml").is_file():  # a checkout, not an installation
        places.append(shipped.parent / "models")
    if is_path(reference):
        found = [matrix.folder / Path(reference).expanduser()]
    else:
        found = [place / f"{reference}.yaml" for place in places]
    manifest = next((path for path in found if path.is_file()), None)
    if manifest is not None:
        return manifest
    known = {path.stem for place in places for path in place.glob("*.yaml")}
    searched = ", ".join(dict.fromkeys(str(path) for path in found))
    word = "" if is_path(reference) else nearest(reference, known)
    return f"no model {reference!r}: there is no {searched}{word}"
