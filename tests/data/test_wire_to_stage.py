"""What the wire decoder makes is what stages and store take: one type, the same numbers."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from orchestrator.agents.protocol.wire import FEATURES, TIMES, Frame, WireError
from orchestrator.data.features import Features
from orchestrator.data.times import RawTimes
from orchestrator.fleet.session.images import features
from orchestrator.fleet.session.times import times_and_samples
from orchestrator.store.features import FeatureWriter, read_features


def times_frame(rows: np.ndarray, block: int) -> Frame:
    """As the agent sends times: begin, pre, device, end to end, one row each."""
    count = rows.shape[1]
    meta = {"count": count, "done": count, "total": count, "block": block}
    return Frame(TIMES, 1, meta, rows.astype("<i8").tobytes())


def test_a_frame_of_times_is_what_the_measure_stage_takes() -> None:
    rows = np.array([[0, 900, 1800], [10, 11, 12], [700, 701, 702], [800, 801, 802]])
    (times,) = (
        each for each in times_and_samples(times_frame(rows, 7)) if isinstance(each, RawTimes)
    )
    found = (times.begin_ns, times.pre_ns, times.device_ns, times.end_to_end_ns)
    assert np.array_equal(found, rows)
    assert times.block.tolist() == [7, 7, 7]
    assert times.post_ns.tolist() == [90, 89, 88]
    # Neither order nor numbers change on the way through Ray and into the store.
    kept = RawTimes.from_bytes(pickle.loads(pickle.dumps(times)).to_bytes())
    for name in ("begin_ns", "pre_ns", "device_ns", "end_to_end_ns", "block"):
        array = getattr(kept, name)
        assert array.dtype == np.int64
        assert np.array_equal(array, getattr(times, name)), name


def test_no_field_of_raw_times_goes_by_its_place() -> None:
    nothing = np.zeros(1, np.int64)
    with pytest.raises(TypeError):
        RawTimes(nothing, nothing, nothing, nothing, nothing)  # type: ignore[misc]


def features_frame(start: int, rows: np.ndarray, failed: list[list[object]]) -> Frame:
    meta = {"start": start, "count": len(rows), "failed": failed}
    return Frame(FEATURES, 1, meta, rows.astype("<f4").tobytes())


def test_a_frame_of_features_is_what_the_store_takes(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    rows[2] = np.nan
    first = features(features_frame(0, rows[:1], []), 0, 4, 3)
    rest = features(features_frame(1, rows[1:], [[2, "too dark"]]), 1, 4, 3)
    assert rest.failures == [(2, "too dark")]
    whole = pickle.loads(pickle.dumps(Features.joined([rest, first])))
    assert (whole.start, whole.stop) == (0, 4)
    assert whole.failures == [(2, "too dark")]
    later = whole.moved(10)
    assert later.failures == [(12, "too dark")]
    with FeatureWriter.open(tmp_path, 14, 3, "float32", {}) as writer:
        writer.add(Features(np.ones((10, 3), np.float32), np.zeros(10, bool)))
        writer.add(later)
        assert writer.finish()["failed"] == [12]
    stored, failed, _ = read_features(tmp_path)
    assert failed.tolist() == [index == 12 for index in range(14)]
    assert np.array_equal(stored[[10, 11, 13]], rows[[0, 1, 3]])
    assert not stored[12].any()


def test_a_gap_between_blocks_is_refused() -> None:
    blocks = [Features(np.ones((2, 3), np.float32), np.zeros(2, bool), start=s) for s in (0, 3)]
    with pytest.raises(ValueError, match=r"\(0, 2\), \(3, 5\)"):
        Features.joined(blocks)
    with pytest.raises(WireError):
        features(features_frame(0, np.ones((2, 3)), [[5, "not of this block"]]), 0, 4, 3)
