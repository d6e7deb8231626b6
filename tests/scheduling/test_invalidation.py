"""Finished steps are done again when the store has lost what they made, and only then."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from orchestrator.planning.graph import Graph, Step
from orchestrator.planning.resolving import resolve
from orchestrator.scheduling.core.invalidation import undone
from orchestrator.store.artifacts import CorruptArtifact, Store


def step(name: str, stage: str, **inputs: str) -> Step:
    return Step(id=name, stage=stage, inputs=inputs, params={})


CHAIN = [
    step("images", "images"),
    step("convert", "convert"),
    step("deploy", "deploy", artifact="convert"),
    step("extract", "extract", images="images", artifact="convert"),
]
GRAPH = Graph({each.id: each for each in CHAIN}, {})
ALL = {each.id for each in CHAIN}


def lost(*gone: str) -> set[str]:
    """Steps to be done again when the store holds everything but some stages."""

    def lookup(stage: str, key: str) -> str | None:
        return None if stage in gone else f"content of {stage}"

    return undone(GRAPH, resolve(GRAPH, lookup), ALL)


def test_nothing_is_done_again_while_all_is_held() -> None:
    assert lost() == set()


def test_what_hangs_on_a_lost_result_waits_for_it() -> None:
    assert lost("extract") == {"extract"}
    assert lost("images") == {"images", "extract"}
    assert lost("convert") == {"convert", "deploy", "extract"}


def test_only_what_was_made_counts_and_only_what_is_still_planned() -> None:
    resolution = resolve(GRAPH, lambda stage, key: None)
    assert undone(GRAPH, resolution, {"images", "of a board that was taken out"}) == {"images"}


def test_a_damaged_result_goes_and_one_made_again_meanwhile_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files: dict[str, Any] = {"f": b"abc", "g": b"def"}
    held = store.commit("x", "k" * 64, files, provenance={})
    store.drop_damaged(held.folder)
    assert store.lookup("x", held.key) is not None
    held.file("g").write_bytes(b"deg")
    store.drop_damaged(held.folder)
    assert store.lookup("x", held.key) is None
    assert list(held.folder.parent.iterdir()) == []
    store.drop_damaged(held.folder)
    assert store.commit("x", held.key, files, provenance={}).content == held.content


def test_where_the_damage_lies_is_known_in_another_process(tmp_path: Path) -> None:
    held = Store(tmp_path).commit("x", "k" * 64, {"f": b"abc"}, provenance={})
    error = pickle.loads(pickle.dumps(held.damaged("f", "flipped")))
    assert isinstance(error, CorruptArtifact)
    assert error.folder == held.folder
