"""The examples of detection: what they plan with nothing but what comes with farm."""

from pathlib import Path

import pytest

from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.request import Request

ROOT = Path(__file__).resolve().parents[2]


def planned(example: str, folder: Path) -> Plan:
    return make_plan(
        Request(
            matrix=str(ROOT / "examples" / example / "matrix.yaml"),
            inventory=str(ROOT / "device_inventory.yaml"),
            state=str(folder / "state"),
            runs=str(folder / "runs"),
        )
    )


def test_five_rows_of_the_default_detector_on_the_default_boards(tmp_path):
    plan = planned("detection", tmp_path)
    rows = {cell.name: cell.probe.quantization.label for cell in plan.possible}
    assert rows == {
        "this-host": "float32",
        "jetson-xavier-nx": "int8 per-channel symmetric",
        "khadas-vim3": "uint8 per-tensor asymmetric",
        "imx8mp": "uint8 per-tensor asymmetric percentile",
        "rv1126": "uint8 per-tensor asymmetric entropy",
    }
    assert len(plan.cells) == len(rows)
    for name in rows:
        assert f"evaluate/{name}" in plan.graph.steps


@pytest.mark.slow
def test_five_rows_of_detector_and_recognizer_on_the_default_boards(tmp_path):
    plan = planned("pipeline", tmp_path)
    rows = {
        cell.name: cell.probe.detector and cell.probe.detector.quantization.label
        for cell in plan.possible
    }
    assert rows == {
        "this-host": None,
        "jetson-xavier-nx": "int8 per-channel symmetric",
        "khadas-vim3": "uint8 per-tensor asymmetric",
        "rv1126": "uint8 per-tensor asymmetric entropy",
        "rv1126*": "uint8 per-tensor asymmetric entropy",
    }
    assert len(plan.cells) == len(rows)
