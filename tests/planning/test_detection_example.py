"""The example of detection: what it plans with nothing but what comes with farm."""

from pathlib import Path

from orchestrator.preflight.planner import make_plan
from orchestrator.request import Request

ROOT = Path(__file__).resolve().parents[2]


def test_five_rows_of_the_default_detector_on_the_default_boards(tmp_path):
    plan = make_plan(
        Request(
            matrix=str(ROOT / "examples" / "detection" / "matrix.yaml"),
            inventory=str(ROOT / "device_inventory.yaml"),
            state=str(tmp_path / "state"),
            runs=str(tmp_path / "runs"),
        )
    )
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
