"""How a measurement is divided into turns, and put together again."""

from __future__ import annotations

import numpy as np

from orchestrator.data.times import RawTimes
from orchestrator.stages.interleaved import Round, merged, share

POLICY = {
    "warm_up_count": 20,
    "min_duration_s": 3.0,
    "min_count": 200,
    "max_duration_s": 60.0,
    "blocks": 5,
    "pause_s": 0.2,
    "rounds": 3,
}


def test_shares_reach_the_minima_together() -> None:
    part = share(POLICY)
    assert part["min_duration_s"] * 3 >= 3.0
    assert part["min_count"] * 3 >= 200
    assert part["blocks"] * 3 >= 5
    assert part["max_duration_s"] * 3 == 60.0
    assert "rounds" not in part
    assert part["warm_up_count"] == 20


def turn(began: float, ms: int, stable: bool = True) -> Round:
    device = np.full(4, ms * 1_000_000)
    begin = np.arange(4) * 20_000_000
    raw = RawTimes(
        begin_ns=begin,
        pre_ns=device * 0,
        device_ns=device,
        end_to_end_ns=device + 1000,
        block=np.array([0, 0, 1, 1]),
    )
    samples = [{"at_s": 0.0, "block": 0}, {"at_s": 0.0625, "block": 1}]
    cpu = {"elapsed_s": 1.0, "own_s": 0.5, "busy_s": 0.75, "cores": 2}
    facts = {"stable": stable, "warm_up": 20 if stable else 200, "cpu": cpu, "before": {"ms": ms}}
    return Round([raw], samples, facts, began)


def test_rounds_become_one_measurement_in_the_boards_own_time() -> None:
    times, seen = merged([turn(100.0, 10), turn(107.5, 12, stable=False)])
    assert times.block.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert times.begin_ns[4] == 7_500_000_000
    assert (np.diff(times.begin_ns) > 0).all()
    assert [sample["at_s"] for sample in seen.samples] == [0.0, 0.0625, 7.5, 7.5625]
    assert [sample["block"] for sample in seen.samples] == [0, 1, 2, 3]
    assert seen.facts["cpu"] == {"elapsed_s": 2.0, "own_s": 1.0, "busy_s": 1.5, "cores": 2}
    assert (seen.facts["stable"], seen.facts["warm_up"]) == (False, 200)
    assert seen.facts["before"] == {"ms": 10}
    assert seen.facts["rounds"] == 2


def test_one_round_is_what_it_was() -> None:
    times, seen = merged([turn(5.0, 10)])
    assert times.begin_ns[0] == 0
    assert "rounds" not in seen.facts
