"""Collecting: kept runs lose nothing, the longest unused goes first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.main import main
from orchestrator.events import EventLog, StepFinished
from orchestrator.store.artifacts import Store
from orchestrator.store.collecting import BEGUN_S, Item, items, removable, using

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
