"""The search equals a plain reference to the bit, however the work is cut up and ordered."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.scoring import ScoringError, TrialSet, identify, search, tar_at
from tests.scoring import reference


@st.composite
def boards(draw):
    """Small boards with many ties: integer features, repeated identities, failures, unknowns."""
    dim = draw(st.integers(2, 5))
    gallery = draw(st.integers(2, 14))
    probes = draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    names = draw(st.integers(1, 10))
    board = {
        "gallery": rng.integers(0, 4, (gallery, dim)).astype(np.float32),
        "probes": rng.integers(0, 4, (probes, dim)).astype(np.float32),
        "gallery_ids": rng.integers(0, names, gallery),
        "probe_ids": rng.integers(0, names + 2, probes),
        "gallery_failed": rng.random(gallery) < draw(st.sampled_from([0, 0.2])),
        "probe_failed": rng.random(probes) < draw(st.sampled_from([0, 0.2])),
        "fusion": draw(st.sampled_from(["mean", "max"])),
    }
    for side in ("gallery", "probes"):
        zero = ~board[side].any(axis=1)
        board[side][zero, 0] = 1
    board["gallery_failed"][0] = False
    return board


def run(board, **options):
    trials = TrialSet(board["gallery_ids"], board["probe_ids"])
    return search(
        board["gallery"],
        board["probes"],
        trials,
        fusion=board["fusion"],
        failed_gallery=board["gallery_failed"],
        failed_probes=board["probe_failed"],
        **options,
    )


def same(left, right):
    for name in ("mate", "impostor", "mated", "failed", "identity", "rank"):
        assert np.array_equal(
            getattr(left, name), getattr(right, name), equal_nan=name in ("mate", "impostor")
        ), name


@settings(max_examples=80, deadline=None)
@given(boards(), st.integers(1, 7), st.integers(1, 7), st.integers(1, 3))
def test_equals_the_plain_reference(board, tile, block, workers):
    found = run(board, tile=tile, block=block, workers=workers, tar_pairs_far=(0.0, 0.1, 0.5))
    plain = reference.searches(**board)
    for row, (mate, impostor, rank, _) in enumerate(plain):
        assert np.isnan(found.mate[row]) if mate is None else found.mate[row] == mate
        assert (
            np.isnan(found.impostor[row]) if impostor is None else found.impostor[row] == impostor
        )
        assert found.rank[row] == rank
    mated = np.isin(board["probe_ids"], board["gallery_ids"])
    assert np.array_equal(found.mated, mated)
    if mated.any():
        for far in (0.0, 0.1, 0.3, 0.5, 1.0):
            for kind, trial in (("search", mated | True), ("unknown", ~mated)):
                expected = reference.tar(plain, mated, far, trial & ~board["probe_failed"])
                got = tar_at(found, far, kind)
                assert (got.k, got.false_accepts, got.value) == expected


@settings(max_examples=40, deadline=None)
@given(boards(), st.integers(1, 7), st.integers(1, 7), st.integers(1, 3))
def test_the_integer_pass_equals_the_single_precision_one(board, tile, block, workers):
    same(
        run(board),
        run(board, method="int8", tile=tile, block=block, workers=workers),
    )


@settings(max_examples=40, deadline=None)
@given(boards(), st.integers(1, 9))
def test_all_pairs_thresholds_keep_their_budget(board, tile):
    """Threshold and count against the full sort, allowing for the product's last bits."""
    fars = (0.0, 0.05, 0.2, 0.6)
    found = run(board, tile=tile, block=3, tar_pairs_far=fars)
    every = np.sort([s for *_, others in reference.searches(**board) for s in others])[::-1]
    for far, pair in zip(fars, found.pairs, strict=True):
        k = int(np.floor(far * every.size + 1e-9))
        assert (pair.trials, pair.k) == (every.size, k)
        assert pair.false_accepts <= max(k, 0) or k >= every.size
        if k < every.size:
            assert pair.threshold == pytest.approx(every[k], abs=2e-6)


def faces(gallery=300, probes=250, dim=32, noise=1.1, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((gallery + 60, dim))
    ids = np.r_[rng.integers(0, gallery, probes - 50), gallery + rng.integers(0, 60, 50)]
    return {
        "gallery": (centres[:gallery] + 0.1 * rng.standard_normal((gallery, dim))).astype("f4"),
        "probes": (centres[ids] + noise * rng.standard_normal((probes, dim))).astype("f4"),
        "gallery_ids": np.arange(gallery),
        "probe_ids": ids,
        "gallery_failed": rng.random(gallery) < 0.02,
        "probe_failed": rng.random(probes) < 0.02,
        "fusion": "mean",
    }


@pytest.mark.parametrize("fusion", ["mean", "max"])
@pytest.mark.parametrize("method", ["float32", "int8"])
@pytest.mark.parametrize(
    ("tile", "block", "workers"), [(2048, 512, 2), (7, 13, 1), (64, 33, 3), (1, 512, 2)]
)
def test_cutting_the_work_up_does_not_move_a_bit(fusion, method, tile, block, workers):
    board = faces() | {"fusion": fusion, "gallery_ids": np.arange(300) // 2}
    same(run(board), run(board, method=method, tile=tile, block=block, workers=workers))


def test_more_probes_than_are_held_at_a_time(monkeypatch):
    board = faces()
    expected = run(board, tar_pairs_far=(0.01,))
    monkeypatch.setattr("orchestrator.scoring.searching.RESIDENT", 37)
    calls = []
    found = run(board, tar_pairs_far=(0.01,), progress=lambda *done: calls.append(done))
    same(expected, found)
    assert found.pairs[0].false_accepts == expected.pairs[0].false_accepts
    total = int((~board["probe_failed"]).sum() * (~board["gallery_failed"]).sum())
    assert calls[-1] == (total, total)
    assert calls == sorted(calls)


@pytest.mark.parametrize("fusion", ["mean", "max"])
def test_the_order_of_gallery_and_probes_does_not_matter(fusion):
    board = faces() | {"fusion": fusion, "gallery_ids": np.arange(300) // 3}
    before = run(board)
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(300), rng.permutation(250)
    moved = {
        "gallery": board["gallery"][rows],
        "gallery_ids": board["gallery_ids"][rows],
        "gallery_failed": board["gallery_failed"][rows],
        "probes": board["probes"][columns],
        "probe_ids": board["probe_ids"][columns],
        "probe_failed": board["probe_failed"][columns],
        "fusion": fusion,
    }
    after = run(moved)
    for name in ("mate", "impostor", "rank"):
        left, right = getattr(before, name)[columns], getattr(after, name)
        assert np.array_equal(left, right, equal_nan=name != "rank")
    figures, again = identify(before, bootstrap=100), identify(after, bootstrap=100)
    assert figures.rank1 == again.rank1
    assert [t.value for t in figures.tar.values()] == [t.value for t in again.tar.values()]


@pytest.mark.parametrize(("tile", "block"), [(128, 64), (37, 19), (1000, 3)])
@pytest.mark.parametrize("workers", [1, 2])
def test_integer_valued_rows_equal_the_full_sort_to_the_bit(tile, block, workers):
    """Rows of +-1 have norm sqrt(64) = 8 exactly, so every float32 sum is exact and ties abound."""
    rng = np.random.default_rng(3)
    gallery = rng.choice([-1, 1], (400, 64)).astype(np.float32)
    probes = rng.choice([-1, 1], (300, 64)).astype(np.float32)
    ids = np.arange(400)
    probe_ids = np.r_[np.arange(200), np.arange(1000, 1100)]
    probes[:200] = np.where(rng.random((200, 64)) < 0.3, probes[:200], gallery[:200])
    fars = (1e-3, 1e-2, 0.1)
    found = search(
        gallery,
        probes,
        TrialSet(ids, probe_ids),
        tile=tile,
        block=block,
        workers=workers,
        tar_pairs_far=fars,
    )
    full = (probes @ gallery.T) / 64
    mate = full[np.arange(200), np.arange(200)].copy()
    full[np.arange(200), np.arange(200)] = -np.inf
    assert np.array_equal(found.mate[:200], mate)
    assert np.array_equal(found.impostor, full.max(axis=1))
    assert np.array_equal(found.rank[:200], 1 + (full[:200] >= mate[:, None]).sum(axis=1))
    every = np.sort(full[np.isfinite(full)])[::-1]
    for far, pair in zip(fars, found.pairs, strict=True):
        k = int(far * every.size + 1e-9)
        assert pair.threshold == np.nextafter(every[k], np.float32(np.inf))
        assert pair.false_accepts == int((every > every[k]).sum())
        assert pair.false_accepts < k  # the budget's edge lies within ties


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("method", ["float32", "int8"])
def test_a_board_that_returns_one_vector_identifies_nobody(workers, method):
    dead = np.full((500, 16), 0.37, np.float32)
    ids = np.arange(500)
    found = search(dead, dead, TrialSet(ids, ids), workers=workers, tile=64, method=method)
    figures = identify(found, bootstrap=100)
    assert figures.rank1.value == 0
    assert all(tar.value == 0 for tar in figures.tar.values())
    assert set(found.rank) == {500}
    assert np.array_equal(found.mate, found.impostor)


def test_failed_images_are_misses():
    board = faces(noise=0.05)
    board["gallery_failed"][:] = False
    board["probe_failed"][:] = False
    assert identify(run(board), bootstrap=100).rank1.value == 1.0
    victim = int(board["probe_ids"][0])
    board["gallery_failed"][victim] = True
    board["probe_failed"][10:20] = True
    board["gallery"][victim] = np.nan  # never looked at
    board["probes"][10:20] = 0
    found = run(board)
    lost = (board["probe_ids"] == victim) | board["probe_failed"]
    assert np.array_equal(np.isnan(found.mate), lost | ~found.mated)
    assert np.isnan(found.impostor[10:20]).all()
    figures = identify(found, bootstrap=100)
    assert figures.rank1.value == 1 - lost[found.mated].mean()
    assert figures.mated == int(found.mated.sum()) == 200
    assert figures.failed == 10
    assert figures.gallery_failed == 1
    assert figures.tar[0.1].trials == 240


def test_distractors_and_unknown_probes():
    gallery = np.eye(4, dtype=np.float32)
    probes = np.eye(4, dtype=np.float32)[[0, 3]]
    found = search(gallery, probes, TrialSet(np.array([1, 2, 3, 4]), np.array([1, 9])))
    assert found.mated.tolist() == [True, False]
    assert found.impostor.tolist() == [0.0, 1.0]


def test_fusions_differ_as_defined():
    gallery = np.array([[1, 0, 0], [0, 1, 0], [0.8, 0, 0.6]], np.float32)
    probe = np.array([[1, 0, 0]], np.float32)
    trials = TrialSet(np.array([7, 7, 8]), np.array([7]))
    mean = search(gallery, probe, trials, fusion="mean")
    best = search(gallery, probe, trials, fusion="max")
    assert mean.mate[0] == np.float32(np.sqrt(0.5))
    assert not mean.hit[0]
    assert best.mate[0] == 1
    assert best.hit[0]
    assert mean.impostor[0] == best.impostor[0] == np.float32(0.8)


def test_a_gallery_of_one_has_no_impostor():
    one = np.ones((1, 4), np.float32)
    found = search(one, one, TrialSet(np.array([1]), np.array([1])))
    assert found.impostor[0] == -np.inf
    assert identify(found, bootstrap=100).rank1.value == 1


def test_scale_of_the_features_does_not_matter():
    board = faces()
    scaled = board | {"gallery": board["gallery"] * 4, "probes": board["probes"] * np.float32(0.5)}
    same(run(board), run(scaled))


GOOD = np.eye(3, dtype=np.float32)
IDS = np.array(["ann", "bob", "cat"])


def broken(row, value):
    features = GOOD.copy()
    features[row] = value
    return features


@pytest.mark.parametrize(
    ("gallery", "probes", "options", "message"),
    [
        (GOOD.astype("f8"), GOOD, {}, "gallery: features must be float32, got float64"),
        (GOOD, GOOD[:, :2], {}, "3 dimensions, probe features 2: two different models"),
        (GOOD[:2], GOOD, {}, "gallery: 2 feature rows for 3 identities"),
        (GOOD, broken(1, np.nan), {}, r"probes: feature row 1 \(identity bob\) holds NaN or Inf"),
        (broken(2, np.inf), GOOD, {}, r"gallery: feature row 2 \(identity cat\) holds NaN or Inf"),
        (broken(0, 0), GOOD, {}, r"gallery: feature row 0 \(identity ann\) is zero"),
        (GOOD, GOOD, {"fusion": "median"}, "fusion 'median'"),
        (GOOD, GOOD, {"failed_gallery": np.ones(3, bool)}, "gallery: all 3 images failed"),
        (GOOD, GOOD, {"failed_probes": np.ones(2, bool)}, "probes: the mask of failed rows"),
        (GOOD, GOOD, {"tar_pairs_far": (1.5,)}, "between 0 and 1"),
        (GOOD, GOOD, {"method": "int4"}, "method 'int4'"),
        (GOOD, GOOD, {"method": "int8", "tar_pairs_far": (0.1,)}, "rules pairs out unscored"),
    ],
)
def test_unusable_input_is_named(gallery, probes, options, message):
    with pytest.raises(ScoringError, match=message):
        search(gallery, probes, TrialSet(IDS, IDS), **options)


def test_an_error_in_a_worker_names_the_row_of_a_late_tile():
    features = np.ones((300, 4), np.float32)
    features[222, 1] = np.nan
    ids = np.arange(300)
    with pytest.raises(ScoringError, match=r"gallery: feature row 222 \(identity 222\)"):
        search(features, np.ones((5, 4), np.float32), TrialSet(ids, ids[:5] + 1000), tile=16)


def test_images_that_cancel_out_are_named():
    gallery = np.array([[1, 0], [-1, 0], [0, 1]], np.float32)
    trials = TrialSet(np.array(["ann", "ann", "bob"]), np.array(["bob"]))
    with pytest.raises(ScoringError, match=r"identity ann \(first row 0\) cancel out"):
        search(gallery, gallery[2:], trials)


def test_trial_sets_refuse_what_cannot_be_scored():
    with pytest.raises(ScoringError, match="probes: 0 rows"):
        TrialSet(IDS, np.array([], "U3"))
    with pytest.raises(ScoringError, match="integers or strings"):
        TrialSet(IDS, np.array([1.5]))
    with pytest.raises(ScoringError, match="strings on one side"):
        TrialSet(IDS, np.array([1]))
    with pytest.raises(ScoringError, match=r"row 1 \(identity dan\) is missing from the gallery"):
        TrialSet(IDS, np.array(["ann", "dan"]), closed=True)
    with pytest.raises(ScoringError, match=r"probes: row 0 \(identity bob\) is the same image as "):
        TrialSet(IDS, np.array(["bob"]), False, np.array(["h1", "h2", "h3"]), np.array(["h2"]))
    with pytest.raises(ScoringError, match="no probe has a mate"):
        identify(search(GOOD, GOOD, TrialSet(IDS, np.array(["x", "y", "z"]))))
