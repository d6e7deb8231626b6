"""The recipes of the default models name files that exist, and the numbers of the manifests."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from orchestrator.images.face import shape_faces
from orchestrator.specs.manifests import load_model
from orchestrator.specs.testset import FIRST_CALIBRATION_ID, FIRST_TRAINING_ID

ROOT = Path(__file__).parents[1]
TRAINING = ROOT / "training"
RECOGNIZERS = ("synthface-ir", "synthface-mfn")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch):
    """Imports a file of training/recognizer as its scripts do."""
    monkeypatch.syspath_prepend(str(TRAINING / "recognizer"))

    def module(name: str) -> ModuleType:
        for known in ("data", "recipes", "structure"):
            monkeypatch.delitem(importlib.sys.modules, known, raising=False)
        return importlib.import_module(name)

    return module


@pytest.mark.parametrize("folder", ["detector", "recognizer"])
def test_a_readme_names_files_that_exist(folder: str) -> None:
    text = (TRAINING / folder / "README.md").read_text()
    scripts = re.findall(rf"training/{folder}/\w+\.py", text)
    assert {f"training/{folder}/{s}.py" for s in ("data", "train", "export", "evaluate")} <= set(
        scripts
    )
    models = set(re.findall(r"models/[\w-]+\.onnx", text))
    beside = re.findall(r"`(\w+\.(?:py|txt))`", text)
    assert models
    missing = [name for name in {*scripts, *models} if not (ROOT / name).is_file()]
    missing += [name for name in beside if not (TRAINING / folder / name).is_file()]
    assert not missing


@pytest.mark.parametrize("name", RECOGNIZERS)
def test_a_recipe_has_the_numbers_of_the_manifest(recipe, name: str) -> None:
    recipes = recipe("recipes")
    numbers = recipes.RECIPES[name]
    said = load_model(ROOT / "models" / f"{name}.yaml")
    faces, identities, first, seed, difficulty = re.search(
        r"on ([\d,]+) rendered faces \(([\d,]+) identities numbered from ([\d,]+), seed (\d+), "
        r"difficulty ([\d.]+)\)",
        said.provenance,
    ).groups()
    assert [int(n.replace(",", "")) for n in (faces, identities, first, seed)] == [
        numbers.faces,
        numbers.identities,
        recipes.FIRST_IDENTITY,
        recipes.SEED,
    ]
    assert float(difficulty) == recipes.DIFFICULTY
    assert recipes.FIRST_IDENTITY >= FIRST_TRAINING_ID
    assert recipes.FIRST_IDENTITY + numbers.identities <= FIRST_CALIBRATION_ID
    assert (said.input.name, said.output) == (numbers.input, numbers.output)
    assert said.embedding_size == numbers.embedding_size
    assert set(said.input.mean) == {recipes.MEAN}
    assert set(said.input.std) == {numbers.std}


@pytest.mark.parametrize("name", RECOGNIZERS)
def test_the_shipped_file_looks_as_its_recipe_says(recipe, name: str) -> None:
    numbers, file = recipe("recipes").RECIPES[name], recipe("structure")
    model = onnx.load(ROOT / "models" / f"{name}.onnx")
    lines = file.structure(model)
    side, size = recipe("recipes").SIZE, numbers.embedding_size
    assert f"input {numbers.input} 1 ['N', 3, {side}, {side}]" in lines
    assert f"output {numbers.output} 1 ['N', {size}]" in lines
    assert {f"ir {numbers.ir_version}", "opset '' 13", f"graph {numbers.graph}"} <= set(lines)
    assert file.differences(model, model) == []
    other = onnx.load(ROOT / "models" / f"{name}.onnx")
    other.graph.node[0].name = "renamed"
    assert len(file.differences(model, other)) == 2


def test_traits_are_what_the_renderer_draws(recipe) -> None:
    ids = FIRST_TRAINING_ID + np.arange(400)
    found = recipe("data").traits(ids)
    assert found.shape == (400, 104)
    assert np.allclose(found.mean(0), 0, atol=1e-5)
    assert np.allclose(found.std(0), 1, atol=1e-4)
    drawn = shape_faces(ids, np.zeros_like(ids), 0, 1.0)
    # 38: glasses, 39: long hair; two numbers of the face that a face itself has.
    assert np.array_equal(found[:, 39] > 0, drawn.long_hair)
    assert np.corrcoef(found[:, 21], drawn.jaw)[0, 1] > 0.999
