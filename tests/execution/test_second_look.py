"""The gate's second look goes through the measure stage's verdict, on a real agent."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestrator.execution.second_look import Again, StoredArtifact, measure_again
from orchestrator.specs.inventory import Board
from orchestrator.stages.convert import convert_model
from orchestrator.stages.quantize import FLOAT32
from orchestrator.store.artifacts import Store
from tests.run.boards import CALM, THERMAL
from tests.toolchains import nets

INPUT = {
    "layout": "NCHW",
    "colour": "RGB",
    "mean": [127.5, 127.5, 127.5],
    "std": [127.5, 127.5, 127.5],
    "height": nets.SIZE,
    "width": nets.SIZE,
}
POLICY = {
    "warm_up_count": 1,
    "min_duration_s": 0.1,
    "min_count": 10,
    "max_duration_s": 20.0,
    "blocks": 1,
    "pause_s": 0.0,
    "rounds": 1,
    "cool_below_c": None,
    "cool_deadline_s": 1.0,
    "clocks": "untouched",
}


def look(folder: Path, sysfs: dict[str, str]) -> Again:
    """A second look at one artifact, against itself, on this host with such sensors."""
    root = folder / "root"
    for path, text in (CALM | sysfs).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text + "\n")
    python = folder / "python3"
    python.write_text(
        f'#!/bin/sh\ncase "$1" in *agent-*.pyz) exec "{sys.executable}" "$@" --root "{root}";; '
        f'esac\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    board = Board.model_validate(
        {"name": "b", "kind": "host-cpu", "transport": "local", "python": str(python)}
    )
    made = convert_model(nets.iresnet(), FLOAT32, "onnxruntime")
    store = Store(folder / "store")
    with store.making("convert", "k" * 64, "test", 5.0):
        held = store.commit(
            "convert", "k" * 64, made.files, provenance=made.provenance, facts=made.facts
        )
    kept = StoredArtifact(held, "onnxruntime", INPUT)
    said: list[str] = []
    again = measure_again(board, kept, kept, POLICY, folder / "state", said.append, rounds=2)
    assert [text for text in said if "round" in text] == ["b: round 1 of 2", "b: round 2 of 2"]
    return again


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("state", ["0", "3"])
def test_a_throttled_board_is_in_doubt(tmp_path: Path, state: str) -> None:
    again = look(tmp_path, {f"{THERMAL}/cooling_device0/cur_state": state})
    throttled = [reason for reason in again.doubts if reason.startswith("throttled: ")]
    expected = ["throttled: thermal-cpufreq-0 (cooling_device0) at step 3"]
    assert throttled == (expected if state == "3" else [])
    for times in (again.first, again.second):
        assert len(times.device_ns) >= 20
        assert set(times.block.tolist()) == {0, 1}
    # Backwards in the second round: the second artifact's two turns lie in the middle.
    pauses = [
        int(times.begin_ns[times.block == 1][0] - times.begin_ns[times.block == 0][-1])
        for times in (again.first, again.second)
    ]
    assert pauses[0] > pauses[1]
