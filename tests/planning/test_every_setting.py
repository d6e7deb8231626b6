"""Every key of the three YAML files has an effect, or is refused with its line and why.

The keys are those of the models that read the files: a new key without a case fails here.
"""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UserError
from orchestrator.specs import Inventory, Matrix, ModelSpec
from orchestrator.specs.base import Spec

from .settings_cases import CASES
from .settings_project import ROOT, M, base, planned, put

pytestmark = pytest.mark.usefixtures("few_images")


def keys_of(*roots: type[Spec]) -> Iterator[str]:
    """`Class.key` of all that the files may have below these classes."""
    pending, seen = list(roots), set()
    while pending:
        cls = pending.pop()
        if cls in seen:
            continue
        seen.add(cls)
        for name, info in cls.model_fields.items():
            yield f"{cls.__name__}.{name}"
            pending += specs_in(info.annotation)


def specs_in(annotation: Any) -> list[type[Spec]]:
    if isinstance(annotation, types.GenericAlias) or typing.get_args(annotation):
        return [found for part in typing.get_args(annotation) for found in specs_in(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, Spec) else []


def test_every_key_has_a_case() -> None:
    keys = set(keys_of(Matrix, Inventory, ModelSpec))
    assert len(keys) > 100
    missing = sorted(keys - set(CASES))
    assert not missing, f"say in CASES what {missing} change, and in docs/reference/settings.md"
    assert not set(CASES) - keys


def test_every_key_is_documented() -> None:
    text = (ROOT / "docs/reference/settings.md").read_text()
    missing = {
        key for key in keys_of(Matrix, Inventory, ModelSpec) if f"`{key.split('.')[1]}`" not in text
    }
    assert not {key for key in missing if not key.endswith((".source", ".type"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


PLANNED: dict[str, dict[str, Any]] = {}


def before(folder: Path, files: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(files, sort_keys=True)
    if text not in PLANNED:
        PLANNED[text] = planned(folder, files)
    return PLANNED[text]


@pytest.mark.parametrize("key", CASES)
def test_changing_a_setting_changes_what_it_says(folder: Path, key: str) -> None:
    case = CASES[key]
    if case.change is None:
        path, name = case.shown_by.split("::")
        assert f"def {name}(" in (ROOT / path).read_text()
        return
    files = base()
    for change in case.first:
        put(files, change)
    if case.refused_before:
        with pytest.raises(UserError, match=case.refused_before):
            planned(folder, files)
        put(files, case.change)
        assert planned(folder, files)[case.what]
        return
    old = before(folder, files)
    put(files, case.change)
    if case.says:
        with pytest.raises(UserError) as caught:
            planned(folder, files)
        assert case.says in caught.value.message
        assert f"{case.change[0]}:" in caught.value.message or f"{M}:" in caught.value.message
        return
    new = planned(folder, files)
    assert new[case.what] != old[case.what]
