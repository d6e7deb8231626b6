"""A search cut into tasks equals the whole to the bit; so it does through Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orchestrator.data.features import Features
from orchestrator.errors import UserError
from orchestrator.stages import score, search_tasks
from orchestrator.stages.stage_output import StageOutput
from tests.scoring.test_search import faces

ROOT = Path(__file__).resolve().parents[2]
POLICY = {
    "far": [1e-1, 1e-2],
    "table_far": 1e-1,
    "fusion": "mean",
    "confidence": 0.95,
    "bootstrap": 100,
    "seed": 0,
}


def sides(several: bool = True) -> tuple[Features, Features]:
    """Galleries with several images an identity, unknown probes, failed rows on both sides."""
    board = faces()
    owner = np.random.default_rng(2).permutation(np.arange(300) // (3 if several else 1))
    gallery_ids = [f"p{number}" for number in owner]
    probe_ids = [f"p{number}" for number in board["probe_ids"]]
    return (
        Features(board["gallery"], board["gallery_failed"], gallery_ids),
        Features(board["probes"], board["probe_failed"], probe_ids),
    )


def here(function, tasks):
    """Tasks in this process, their results in the order that is least expected."""
    done = [(task, function(task)) for task in tasks]
    return iter(done[::-1])


@pytest.mark.parametrize("fusion", ["mean", "max"])
@pytest.mark.parametrize("part_bytes", [3_001, 9_999, 1 << 30])
def test_parts_make_the_whole_to_the_bit(fusion, part_bytes):
    gallery, probes = sides()
    whole, _ = score.search(gallery, probes, fusion)
    *news, found = search_tasks.search_sharded(gallery, probes, fusion, here, part_bytes=part_bytes)
    assert news[-1].done == news[-1].total == len(gallery.rows) * len(probes.rows)
    assert (len(news) > 1) == (part_bytes < 1 << 30)
    for name, value in vars(whole).items():
        if isinstance(value, np.ndarray):
            equal = np.array_equal(getattr(found, name), value, equal_nan=value.dtype.kind == "f")
            assert equal, name
        else:
            assert getattr(found, name) == value, name


def test_the_figures_and_files_are_those_of_one_process():
    gallery, probes = sides(several=False)
    one = score.score(gallery, probes, POLICY)
    *_, parts = score.score_in_parts(gallery, probes, POLICY, here)
    assert isinstance(parts, StageOutput)
    assert parts == one


def test_only_what_is_big_is_cut():
    gallery, probes = sides()
    assert not search_tasks.too_big(gallery, probes)
    ids = np.broadcast_to("x", 1_000_000)
    million = np.broadcast_to(np.float32(0), (1_000_000, 1024))
    failed = np.broadcast_to(False, 1_000_000)
    assert search_tasks.too_big(Features(million, failed, ids), probes)


def test_a_bad_row_is_named_before_anything_is_sent():
    gallery, probes = sides()
    rows = gallery.rows.copy()
    bad = int(np.flatnonzero(~gallery.failed)[0])
    rows[bad] = np.nan
    spoilt = Features(rows, gallery.failed, gallery.ids)
    with pytest.raises(UserError, match=f"gallery.*row {bad} .*NaN or Inf"):
        list(score.score_in_parts(spoilt, probes, POLICY, here))


RAY = """
import sys, threading
from pathlib import Path
import numpy as np
from orchestrator.cluster.compute import Compute
from orchestrator.cluster.own import OwnHead
from orchestrator.cluster.ray_cluster import RayCluster
from orchestrator.stages import score, search_tasks
from tests.stages.test_search_tasks import POLICY, sides
head = RayCluster(OwnHead(Path(sys.argv[1]), 2))
head.start()
compute = Compute(head, threading.Event())
gallery, probes = sides()
parts = lambda function, tasks: compute.each(function, tasks, 2)
*news, found = search_tasks.search_sharded(gallery, probes, "mean", parts, part_bytes=12_000)
whole, _ = score.search(gallery, probes, "mean")
for name in ("mate", "impostor", "rank", "mated", "failed", "identity"):
    one, other = getattr(whole, name), getattr(found, name)
    assert np.array_equal(one, other, equal_nan=one.dtype.kind == "f"), name
print("equal", len(news) > 2)
head.stop()
"""


@pytest.mark.slow
def test_ray_tasks_give_the_same_bits(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RAY, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.stdout.strip() == "equal True", done.stderr[-3000:]
