"""Cut galleries merge to the bit; the cross table; other people's formats."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from orchestrator.scoring import (
    EncoderFeatures,
    ScoringError,
    TrialSet,
    cross,
    cut_gallery,
    mates,
    merge_shards,
    pool_templates,
    read_features_npy,
    read_template_media,
    search,
    search_shard,
    write_safetensors,
    write_scores_csv,
)
from tests.scoring.test_search import faces


def options(board):
    return {
        "failed_gallery": board["gallery_failed"],
        "failed_probes": board["probe_failed"],
        "fusion": board["fusion"],
    }


@pytest.mark.parametrize("fusion", ["mean", "max"])
@pytest.mark.parametrize("shards", [1, 3, 7, 500])
def test_shards_merge_to_the_whole(fusion, shards):
    rng = np.random.default_rng(2)
    board = faces() | {"fusion": fusion, "gallery_ids": rng.permutation(np.arange(300) // 3)}
    board["gallery_failed"][board["gallery_ids"] == 5] = True
    trials = TrialSet(board["gallery_ids"], board["probe_ids"])
    whole = search(board["gallery"], board["probes"], trials, **options(board))
    known = mates(board["gallery"], board["probes"], trials, **options(board))
    assert np.array_equal(known, whole.mate, equal_nan=True)
    cuts = cut_gallery(trials, shards)
    assert sorted(np.concatenate(cuts)) == list(range(300))
    parts = [
        search_shard(
            board["gallery"][rows],
            board["probes"],
            trials,
            rows,
            failed_gallery=board["gallery_failed"][rows],
            failed_probes=board["probe_failed"],
            fusion=fusion,
            known_mate=known,
        )
        for rows in cuts
    ]
    merged = merge_shards(trials, parts)
    for name, value in vars(whole).items():
        if isinstance(value, np.ndarray):
            equal = np.array_equal(getattr(merged, name), value, equal_nan=value.dtype.kind == "f")
            assert equal, name
        else:
            assert getattr(merged, name) == value, name


def test_shards_without_mate_scores_have_no_ranks():
    board = faces()
    trials = TrialSet(board["gallery_ids"], board["probe_ids"])
    parts = [
        search_shard(board["gallery"][rows], board["probes"], trials, rows)
        for rows in cut_gallery(trials, 3)
    ]
    whole = search(board["gallery"], board["probes"], trials, ranks=False)
    merged = merge_shards(trials, parts)
    assert merged.rank is None
    assert np.array_equal(merged.mate, whole.mate, equal_nan=True)
    assert np.array_equal(merged.impostor, whole.impostor)


def test_shards_refuse_what_needs_the_whole_gallery():
    board = faces()
    trials = TrialSet(board["gallery_ids"], board["probe_ids"])
    rows = np.arange(10)
    with pytest.raises(ScoringError, match="ranks: a shard does not know"):
        search_shard(board["gallery"][rows], board["probes"], trials, rows, ranks=True)
    with pytest.raises(ScoringError, match="all images of all shards failed"):
        merge_shards(trials, [None])
    with pytest.raises(ScoringError, match="at least 1 shard"):
        cut_gallery(trials, 0)


def test_the_cross_table_pairs_every_encoder_of_a_space():
    board = faces()
    trials = TrialSet(board["gallery_ids"], board["probe_ids"])
    coarse = {side: np.round(board[side]) + 0.25 for side in ("gallery", "probes")}
    encoders = {
        "float32": EncoderFeatures("a", board["gallery"], board["probes"]),
        "board": EncoderFeatures(
            "a", coarse["gallery"], coarse["probes"], failed_probes=board["probe_failed"]
        ),
        "other model": EncoderFeatures("b", board["gallery"][:, :8], board["probes"][:, :8]),
    }
    table = cross(encoders, trials)
    assert set(table) == {
        ("float32", "float32"),
        ("float32", "board"),
        ("board", "float32"),
        ("board", "board"),
        ("other model", "other model"),
    }
    mixed = search(board["gallery"], coarse["probes"], trials, failed_probes=board["probe_failed"])
    assert np.array_equal(table["float32", "board"].impostor, mixed.impostor, equal_nan=True)
    assert table["board", "board"].failed.any()
    assert not table["board", "float32"].failed.any()


def test_scores_as_csv_give_the_float32_back(tmp_path):
    board = faces()
    trials = TrialSet(board["gallery_ids"], board["probe_ids"])
    found = search(board["gallery"], board["probes"], trials, **options(board))
    write_scores_csv(tmp_path / "scores.csv", found, trials)
    with open(tmp_path / "scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["identity"]) for row in rows] == board["probe_ids"].tolist()
    for name in ("mate", "impostor"):
        back = np.array([np.float32(row[name] or "nan") for row in rows])
        assert np.array_equal(back, getattr(found, name), equal_nan=True)
    assert [int(row["rank"]) for row in rows] == found.rank.tolist()


def test_safetensors_layout(tmp_path):
    arrays = {
        "gallery": np.arange(12, dtype=np.float32).reshape(4, 3),
        "codes": np.arange(5, dtype=np.int64),
    }
    write_safetensors(tmp_path / "x.safetensors", arrays, {"model": "abc"})
    data = (tmp_path / "x.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    head = json.loads(data[8 : 8 + length])
    assert head.pop("__metadata__") == {"model": "abc"}
    kinds = {"F32": np.float32, "I64": np.int64}
    for name, entry in head.items():
        low, high = entry["data_offsets"]
        raw = data[8 + length + low : 8 + length + high]
        back = np.frombuffer(raw, kinds[entry["dtype"]]).reshape(entry["shape"])
        assert np.array_equal(back, arrays[name])
    assert high == len(data) - 8 - length
    with pytest.raises(ScoringError, match="complex128, which is not exported"):
        write_safetensors(tmp_path / "y", {"z": np.zeros(2, complex)})


def test_features_made_elsewhere(tmp_path):
    features = np.eye(3, dtype=np.float32)
    np.save(tmp_path / "f.npy", features)
    (tmp_path / "list.txt").write_text("a/1.png ann\nb/2.png bob\n\nc/3.png cat\n")
    got, ids, failed = read_features_npy(tmp_path / "f.npy", tmp_path / "list.txt")
    assert np.array_equal(got, features)
    assert not failed.any()
    assert ids.tolist() == ["ann", "bob", "cat"]
    (tmp_path / "list.txt").write_text("ann\n")
    with pytest.raises(ScoringError, match="1 identities for the 3 feature rows"):
        read_features_npy(tmp_path / "f.npy", tmp_path / "list.txt")
    np.save(tmp_path / "f.npy", features.astype(np.int8))
    with pytest.raises(ScoringError, match="float32 of shape"):
        read_features_npy(tmp_path / "f.npy", tmp_path / "list.txt")
    (tmp_path / "f.npy").write_bytes(b"no")
    with pytest.raises(ScoringError, match=r"not a \.npy file"):
        read_features_npy(tmp_path / "f.npy", tmp_path / "list.txt")


def test_template_lists_are_pooled_by_medium_first(tmp_path):
    (tmp_path / "meta.txt").write_text("1.jpg 7 1\n2.jpg 7 1\n3.jpg 7 2\n4.jpg 5 1\n")
    names, templates, media = read_template_media(tmp_path / "meta.txt")
    assert names == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"]
    features = np.array([[2, 0], [0, 5], [0, 1], [3, 4]], np.float32)
    pooled, ids = pool_templates(features, templates, media)
    assert ids.tolist() == [5, 7]
    assert np.allclose(pooled, [[0.6, 0.8], [0.5, 1.5]])
    (tmp_path / "meta.txt").write_text("1.jpg 7 1\n2.jpg seven 1\n")
    with pytest.raises(ScoringError, match=r"meta\.txt:2: 'image template media' expected"):
        read_template_media(tmp_path / "meta.txt")
