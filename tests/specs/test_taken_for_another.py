"""A file that was meant elsewhere, and tabs, are one plain error."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.specs.inventory import load_inventory
from orchestrator.specs.matrix import load_matrix

ROOT = Path(__file__).resolve().parents[2]


def test_an_inventory_given_as_the_matrix_is_called_one() -> None:
    with pytest.raises(UserError) as raised:
        load_matrix(ROOT / "device_inventory.yaml")
    first, *rest = str(raised.value).splitlines()
    assert "this looks like an inventory, not a matrix" in first
    assert rest == ["  name the matrix first: farm run matrix.yaml --inventory " + BOARDS]


BOARDS = "device_inventory.yaml"


def test_a_matrix_given_as_the_inventory_is_called_one() -> None:
    with pytest.raises(UserError) as raised:
        load_inventory(ROOT / "matrix.yaml")
    assert "this looks like a matrix, not an inventory" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 2


def test_a_tab_is_named_in_plain_words(tmp_path: Path) -> None:
    path = tmp_path / "matrix.yaml"
    path.write_text("models: synthface-ir\nentries:\n\t- name: a\n")
    with pytest.raises(UserError) as raised:
        load_matrix(path)
    assert str(raised.value).splitlines() == [
        f"{path}:3: a tab; YAML is indented by spaces only",
        "  put spaces in its place",
    ]
