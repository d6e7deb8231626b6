"""Collecting: kept runs lose nothing, the longest unused goes first."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.main import main
from orchestrator.events import CellFinished, EventLog, StepFinished
from orchestrator.store.artifacts import Store
from orchestrator.store.collecting import BEGUN_S, Item, items, models, removable, using

NOW = 1e9


@st.composite
def held(draw: st.DrawFn) -> list[Item]:
    count = draw(st.integers(0, 12))
    return [
        Item(
            draw(st.sampled_from(["images", "extract", "score"])),
            f"k{i}",
            Path(f"k{i}"),
            draw(st.integers(0, 100)),
            NOW - draw(st.floats(0, 2 * BEGUN_S)),
            f"c{i}",
            draw(st.booleans()),
        )
        for i in range(count)
    ]


@given(held(), st.sets(st.sampled_from([f"{c}{i}" for c in "kc" for i in range(12)])), st.data())
def test_nothing_needed_goes_and_no_more_than_must(
    everything: list[Item], needed: set[str], data: st.DataObject
) -> None:
    most = data.draw(st.integers(0, 600))
    chosen = removable(everything, needed, most_bytes=most, now=NOW)
    assert not [i for i in chosen if i.key in needed or i.content in needed]
    assert not [i for i in chosen if i.begun and NOW - i.used_at < BEGUN_S]
    left = sum(i.bytes for i in everything) - sum(i.bytes for i in chosen)
    if chosen:
        assert left + chosen[-1].bytes > most
    free = [i for i in everything if i not in chosen and i.key not in needed]
    free = [i for i in free if i.content not in needed and not i.begun]
    if free and left > most:
        pytest.fail("something that nobody needs was kept over the size")
    # Of what may go, nothing newer went before something older.
    for kept in free:
        assert all(gone.used_at <= kept.used_at for gone in chosen if not gone.begun)


def test_gc_keeps_what_runs_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store(tmp_path / ".farm" / "store")
    for key in ("kept", "other"):
        (store.part("images", f"{key}-images") / "images.npy").write_bytes(key.encode() * 50_000)
        images = store.commit("images", f"{key}-images", provenance={"of": key}, facts={})
        (store.part("extract", key) / "journal.jsonl").write_text(
            "00000000 " + json.dumps({"header": {"images": images.content}}) + "\n"
        )
        store.commit("extract", key, {"x": key.encode() * 100_000}, provenance={})
    (store.part("extract", "begun") / "features.npy").write_bytes(bytes(100_000))
    run = tmp_path / "runs" / "20260101-000000-aaaa"
    run.mkdir(parents=True)
    log = EventLog(run / "events.jsonl")
    log.append(StepFinished(step="extract/b/probe", stage="extract", key="kept"))
    log.close()
    before = {item.key for item in items(store.root)}
    with using(store.root):
        assert main(["gc", "--max-size", "1"]) == 2
    assert "a run is using" in capsys.readouterr().err
    assert main(["gc", "--max-size", "1", "--dry-run"]) == 1
    assert {item.key for item in items(store.root)} == before
    assert main(["gc", "--max-size", "1G"]) == 0
    assert {item.key for item in items(store.root)} == before
    assert main(["gc", "--max-size", "1"]) == 1
    said = capsys.readouterr().out
    assert "kept runs need it" in said
    left = {item.key for item in items(store.root)}
    assert {"kept", "kept-images", "begun"} <= left
    assert not {"other", "other-images"} & left


def model(folder: Path, name: str, *, age_s: float, records: int = 1) -> None:
    """A normal form and its records, last used so long ago."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.onnx", *(folder / f"{name}-{i}.json" for i in range(records))]
    for path in files:
        text = json.dumps({"normal": name, "changes": ["Softmax removed"]})
        path.write_text(text if path.suffix == ".json" else name * 10_000)
        os.utime(path, (time.time() - age_s,) * 2)


def test_gc_removes_models_that_no_run_names_and_nobody_used_for_a_week(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / ".farm" / "models"
    model(folder, "in-a-run", age_s=9 * BEGUN_S)
    model(folder, "planned", age_s=BEGUN_S / 2)
    model(folder, "old", age_s=3 * BEGUN_S, records=2)
    model(folder, "older", age_s=4 * BEGUN_S)
    (folder / ".x.part").write_bytes(bytes(5000))
    os.utime(folder / ".x.part", (0, 0))
    run = tmp_path / "runs" / "20260101-000000-aaaa"
    run.mkdir(parents=True)
    log = EventLog(run / "events.jsonl")
    row = {"name": "r", "provenance": {"keys": {}, "model_sha256": "in-a-run"}}
    log.append(CellFinished(cell="r", executed_by="emulated", result=row))
    log.close()
    before = sorted(folder.iterdir())
    assert main(["gc", "--max-size", "1", "--dry-run"]) == 1
    said = capsys.readouterr().out
    assert [line.split()[:2] for line in said.splitlines()[:3]] == [
        ["models", "x"],
        ["models", "older"],
        ["models", "old"],
    ]
    assert "3 of 5 items" in said
    assert "would be removed" in said
    assert sorted(folder.iterdir()) == before
    assert main(["gc", "--max-size", "1G"]) == 0
    assert sorted(folder.iterdir()) == before
    capsys.readouterr()
    assert main(["gc", "--max-size", "1", "--json"]) == 1
    removed = json.loads(capsys.readouterr().out)["removed"]
    assert removed == ["models/x", "models/older", "models/old"]
    assert {path.stem.partition("-0")[0] for path in folder.iterdir()} == {"in-a-run", "planned"}
    assert {item.key for item in models(folder)} == {"in-a-run", "planned"}


def test_to_look_is_no_use(tmp_path: Path) -> None:
    """`farm gc --dry-run` reads every manifest, and changes nothing of the order."""
    store = Store(tmp_path)
    store.commit("score", "a", {"x": b"1"}, provenance={})
    for path in (tmp_path / "score" / "a").iterdir():
        os.utime(path, (1e9 + 5, 1e9))
    assert [item.used_at for item in (*items(tmp_path), *items(tmp_path))] == [1e9 + 5] * 2
