"""From raw times to figures: percentiles, parts of the time, energy, the sustained curve."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.data.times import TIMES, RawTimes
from orchestrator.stages.conditions import SAMPLES, Conditions, samples_from
from orchestrator.stages.latency import energy, pack, summary, sustained, transfer
from tests.stages.test_judging import POLICY, samples, times


def test_percentiles_are_observed_times() -> None:
    found = summary(np.arange(1, 101) * 1_000_000)
    assert (found["p50_ms"], found["p90_ms"], found["p99_ms"]) == (50.0, 90.0, 99.0)
    assert (found["min_ms"], found["max_ms"], found["count"]) == (1.0, 100.0, 100)
    assert found["mad_ms"] == 25.0


def test_the_parts_add_up_and_every_raw_value_is_kept() -> None:
    raw = times(np.random.default_rng(0).permutation(np.linspace(9e6, 11e6, 200)))
    seen = Conditions(samples({}, {"temperature_c": 51.5}))
    made = pack(raw, seen, POLICY, "board", {})
    again = RawTimes.from_bytes(made.files[TIMES])
    for name in ("device_ns", "end_to_end_ns", "pre_ns", "begin_ns", "block"):
        np.testing.assert_array_equal(getattr(again, name), getattr(raw, name))
    assert samples_from(made.files[SAMPLES]) == list(seen.samples)
    assert (again.pre_ns + again.device_ns + again.post_ns == again.end_to_end_ns).all()
    assert made.facts["post"]["p50_ms"] == pytest.approx(0.2)
    assert [block["count"] for block in made.facts["blocks"]] == [40] * 5
    assert made.facts["verdict"] == "VALID"


def test_times_of_an_earlier_recipe_can_be_read() -> None:
    import io

    buffer = io.BytesIO()
    np.savez(buffer, device_ns=np.array([5, 6, 7]), end_to_end_ns=np.array([10, 10, 10]))
    old = RawTimes.from_bytes(buffer.getvalue())
    assert old.begin_ns.tolist() == [0, 10, 20]
    assert len(old.blocks) == 1


def test_transfer_is_a_bursts_share() -> None:
    facts = {"transfer": {"images": 16, "bytes": 16 * 37_632, "seconds": 0.08, "rtt_s": 0.002}}
    assert transfer(Conditions((), facts)) == {
        "images": 16,
        "image_bytes": 37_632,
        "image_ms": 5.0,
        "round_trip_ms": 2.0,
    }
    assert transfer(Conditions()) is None


def test_energy_by_sampled_power_is_of_the_rail_that_feeds_the_board() -> None:
    rails = [{"power_w": {"VDD_IN": w, "VDD_CPU_GPU_CV": w / 2}} for w in (8.0, 12.0)]
    found = energy(times(), Conditions(samples(*rails)))
    assert found is not None
    assert (found["rail"], found["mean_w"]) == ("VDD_IN", 10.0)
    assert found["inference_j"] == pytest.approx(10.0 * 0.0105)  # 10.5 ms end to end


def test_energy_by_a_counter_leaves_out_pauses_and_a_counter_that_wrapped() -> None:
    told = [(0, 0, 100.0), (1, 0, 106.0), (3, 1, 110.0), (4, 1, 116.0), (5, 2, 120.0), (6, 2, 3.0)]
    seen = [{"at_s": at, "block": block, "energy_j": {"pkg": j}} for at, block, j in told]
    found = energy(times(), Conditions(seen))
    assert found is not None
    assert found["mean_w"] == pytest.approx(6.0)
    assert energy(times(), Conditions()) is None


def test_the_sustained_curve_runs_over_elapsed_seconds_with_the_sensors_beside_it() -> None:
    slower = np.linspace(10e6, 20e6, 600)
    raw = times(slower)
    curve = sustained(raw, Conditions(samples({}, {"temperature_c": 60.0}, {})))
    assert len(curve.at_s) == len(curve.p50_ms) == 60
    assert (np.diff(curve.at_s) > 0).all()
    assert curve.p50_ms[0] == pytest.approx(10.0, abs=0.2)
    assert curve.p50_ms[-1] == pytest.approx(20.0, abs=0.2)
    assert (curve.p90_ms >= curve.p50_ms).all()
    assert curve.temperature == [(0.0, 50.0), (1.0, 60.0), (2.0, 50.0)]
    # Where an accelerator tells its clock, it is the one shown.
    assert curve.clock == [(0.0, 1000.0), (1.0, 1000.0), (2.0, 1000.0)]
    assert len(sustained(times(slower[:3]), Conditions()).at_s) == 1
