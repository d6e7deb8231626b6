"""The schemas that editors get accept what farm accepts, and point at what it refuses."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from orchestrator.specs.schema import FILES, schema_of
from orchestrator.specs.yamlfile import read_yaml

ROOT = Path(__file__).resolve().parents[2]
PROJECT = [
    ("inventory", "device_inventory.yaml"),
    ("matrix", "matrix.yaml"),
    *(("model", str(p.relative_to(ROOT))) for p in sorted(ROOT.glob("models/*.yaml"))),
    *(("kind", str(p.relative_to(ROOT))) for p in sorted(ROOT.glob("orchestrator/kinds/*.yaml"))),
    *(("matrix", str(p.relative_to(ROOT))) for p in sorted(ROOT.glob("examples/*/matrix.yaml"))),
]


@cache
def validator(name: str) -> jsonschema.Draft202012Validator:
    schema = schema_of(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def problems(name: str, data: Any) -> list[str]:
    return [e.message for e in validator(name).iter_errors(data)]


@pytest.mark.parametrize("name", FILES)
def test_every_schema_is_one(name: str) -> None:
    assert problems(name, {"nonsense": 1})


@pytest.mark.parametrize(("name", "file"), PROJECT)
def test_the_projects_own_files_fit(name: str, file: str) -> None:
    data, _ = read_yaml(ROOT / file)
    assert problems(name, data) == []


def board(**changes: Any) -> dict[str, Any]:
    return {"boards": [{"name": "a", "kind": "rv1126", "transport": "emulated", **changes}]}


@pytest.mark.parametrize(
    "changes",
    [
        {"transport": "local"},
        {"transport": {"local": None}},
        {"transport": {"type": "emulated"}},
        {"transport": {"ssh": {"host": "x"}}},
        {"transport": {"type": "ssh", "host": "x", "port": 2222}},
        {"runtime": "onnxruntime"},
        {"runtime": {"faithful": True}},
        {"tags": ["a"], "hardware": "X"},
    ],
)
def test_short_and_long_forms_of_a_board_fit(changes: dict[str, Any]) -> None:
    assert problems("inventory", board(**changes)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"transport": "ssh"},
        {"transport": "telnet"},
        {"transport": {"ssh": {"host": "x", "password": "y"}}},
        {"transport": {"ssh": "x"}},
        {"transport": {"ssh": {"host": "x"}, "local": None}},
        {"kind": "rv1127"},
        {"runtime": "caffe"},
        {"name": "../x"},
        {"password": "x"},
    ],
)
def test_mistakes_in_a_board_are_seen(changes: dict[str, Any]) -> None:
    assert problems("inventory", board(**changes))


def matrix(**changes: Any) -> dict[str, Any]:
    entry = {"name": "e", "boards": "a", "quantization": "int8 per-channel symmetric"}
    return {"models": "m", "test_set": {"folder": "faces"}, "entries": [{**entry, **changes}]}


@pytest.mark.parametrize(
    "changes",
    [
        {"boards": ["a", "b"]},
        {"boards": {"kind": "rv1126"}},
        {"boards": {"tag": ["x"]}},
        {"quantization": ["float32", {"dtype": "float32"}]},
        {"gallery": "float32"},
        {"gallery": ["same", "float32"]},
    ],
)
def test_forms_of_an_entry_fit(changes: dict[str, Any]) -> None:
    assert problems("matrix", matrix(**changes)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"quantization": "int8 per-chanel"},
        {"quantization": 8},
        {"gallery": "float16"},
        {"board": "x"},
        {"name": ""},
    ],
)
def test_mistakes_in_an_entry_are_seen(changes: dict[str, Any]) -> None:
    assert problems("matrix", matrix(**changes))
