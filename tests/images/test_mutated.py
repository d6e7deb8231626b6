"""A damaged file is read or refused: no traceback, and nothing is dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.images import Checker
from orchestrator.images.fileset import read_people
from tests.images.mutated import KINDS, mutated, outcome


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    wanted = {}
    for number, (kind, _, data) in enumerate(mutated(80)):
        path = tmp_path / kind / f"{number}.img"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        wanted[path] = outcome(data)
    made = read_people(tmp_path, Checker())
    assert {item.path for item in made.files} == {p for p, how in wanted.items() if how == "read"}
    refused = {Path(text.partition(": ")[0]) for text in made.unreadable}
    assert refused == {path for path, how in wanted.items() if how == "refused"}
    assert {path.parent.name for path in wanted} == set(KINDS)
    assert 20 < len(refused) < 80, "both must happen, or the test shows nothing"
