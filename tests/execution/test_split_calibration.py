"""A calibration divided among workers gives the very table of one, and says how far it is."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from orchestrator.calibration import CalibrationTable
from orchestrator.errors import UserError
from orchestrator.execution.local_backend import HostCompute
from orchestrator.stages import calibrate
from orchestrator.stages.calibrate import calibrated
from tests.toolchains import nets

PREPROCESSING = {"layout": "NCHW", "colour": "RGB", "mean": 127.5, "std": 127.5}
COUNT = 11


def pictures(count: int = COUNT) -> np.ndarray:
    shape = (count, nets.SIZE, nets.SIZE, 3)
    return np.random.default_rng(3).integers(0, 256, shape, np.uint8)


def table(calibrator: str, workers: int | None, seen: list[tuple[int, int]]) -> tuple[bytes, int]:
    params = {"preprocessing": PREPROCESSING, "calibrator": calibrator, "equalize": False}
    return calibrated(
        HostCompute(),
        nets.iresnet(),
        pictures(),
        params,
        lambda done, total: seen.append((done, total)),
        workers,
    )


@lru_cache
def whole(calibrator: str) -> bytes:
    return table(calibrator, 1, [])[0]


@pytest.mark.parametrize(
    ("calibrator", "workers"),
    [
        ("minmax", 2),
        ("percentile", 5),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in (("minmax", 5), ("percentile", 2), ("entropy", 2), ("entropy", 5))
        ),
    ],
)
def test_any_number_of_workers_gives_the_identical_table(calibrator: str, workers: int) -> None:
    seen: list[tuple[int, int]] = []
    assert table(calibrator, workers, seen) == (whole(calibrator), workers)
    total = COUNT * (1 if calibrator == "minmax" else 2)
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_one_worker_is_taken_where_more_do_not_pay() -> None:
    seen: list[tuple[int, int]] = []
    assert table("entropy", None, seen) == (whole("entropy"), 1)
    assert seen[-1] == (22, 22)
    assert CalibrationTable.from_bytes(whole("entropy")).method == "entropy"
    assert calibrate.shards(200, 4_000_000, 8) == 1
    assert calibrate.shards(500, 175_000_000, 2) == 2
    assert calibrate.shards(500, 175_000_000, 64) == 17
    assert calibrate.shards(1, 10**12, 8) == 1


def test_slices_are_whole_and_even() -> None:
    assert calibrate.slices(11, 3) == [(0, 3), (3, 7), (7, 11)]
    assert calibrate.slices(2, 1) == [(0, 2)]


def test_what_a_worker_raises_is_raised() -> None:
    params = {"preprocessing": PREPROCESSING, "calibrator": "middling", "equalize": False}
    with pytest.raises(UserError, match="unknown calibrator 'middling'"):
        calibrated(HostCompute(), nets.iresnet(), pictures(), params, lambda d, t: None, 2)
