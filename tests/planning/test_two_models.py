"""Rows of two models: which steps they have, whose faces feed whom, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.planning.facts import BoardFacts
from orchestrator.planning.graph import Step
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.request import Request

from ..red_detector import manifest, photo

ROOT = Path(__file__).resolve().parents[2]
FACTS = BoardFacts("x86_64", "some cpu", "3.11", {"onnxruntime": "1"})
INVENTORY = """\
boards:
  - {name: host, kind: host-cpu, transport: local}
  - {name: vim3, kind: khadas-vim3, transport: emulated}
"""
PHOTOS = "rendered_photos: {identities: 4, unknown: 2, detector: red}"
MATRIX = """\
models: synthface-mfn
test_set: {{{test_set}}}
scoring: {{far: 5e-1, table_far: 5e-1}}
{more}
entries:
  - {{name: host, boards: host, quantization: float32{host}}}
  - name: vim3
    boards: vim3
    quantization: uint8 per-tensor asymmetric
    {vim3}
"""


def planned(
    folder: Path, vim3: str, host: str = "", test_set: str = PHOTOS, more: str = ""
) -> Plan:
    manifest(folder)
    text = MATRIX.format(test_set=test_set, more=more, host=host, vim3=vim3)
    (folder / "matrix.yaml").write_text(text)
    (folder / "device_inventory.yaml").write_text(INVENTORY)
    return make_plan(
        Request(
            matrix=str(folder / "matrix.yaml"),
            inventory=str(folder / "device_inventory.yaml"),
            state=str(folder / "state"),
            runs=str(folder / "runs"),
        ),
        facts=FACTS,
    )


def inputs(plan: Plan, step: str) -> dict[str, str]:
    found: Step = plan.graph.steps[step]
    return found.inputs


def test_the_recognizer_is_fed_with_what_the_boards_detector_found(tmp_path: Path) -> None:
    plan = planned(tmp_path, "detector: same")
    chain = inputs(plan, "extract/vim3/probe/red/vim3")
    assert chain["images"] == "align/red/vim3/probe"
    assert inputs(plan, "align/red/vim3/probe") == {
        "features": "extract/red/vim3/probe",
        "photos": "images/probe/red",
    }
    assert inputs(plan, "extract/red/vim3/probe")["images"] == "images/probe/red"
    score = inputs(plan, "score/vim3")
    assert score["gallery_images"] == "align/red/vim3/gallery"
    assert score["probe"] == "extract/vim3/probe/red/vim3"
    board = plan.graph.steps["extract/red/vim3/probe"]
    assert (board.board, board.executed_by) == ("vim3", "twin")
    targets = plan.graph.targets["vim3"]
    assert targets.detector is not None
    assert {targets.split, targets.detector.parity} <= set(targets.figures)


def test_each_model_alone_is_compared_with_float32_throughout(tmp_path: Path) -> None:
    plan = planned(tmp_path, "detector: same")
    assert inputs(plan, "split/vim3") == {
        "reference": "score/host",
        "detector": "score/vim3/detector-alone",
        "recognizer": "score/vim3/recognizer-alone",
    }
    detector = inputs(plan, "score/vim3/detector-alone")
    assert detector["probe"] == "extract/host/probe/red/vim3"
    assert detector["probe_images"] == "align/red/vim3/probe"
    recognizer = inputs(plan, "score/vim3/recognizer-alone")
    assert recognizer["probe"] == "extract/vim3/probe"
    assert recognizer["probe_images"] == "images/probe/synthface-mfn"


def test_in_mixed_mode_the_gallery_is_that_of_float32_throughout(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, "{detector: same, gallery: float32}".strip("{}").replace(", ", "\n    ")
    )
    for step in ("score/vim3*", "score/vim3*/detector-alone", "score/vim3*/recognizer-alone"):
        assert inputs(plan, step)["gallery"] == "extract/host/gallery"
        assert inputs(plan, step)["gallery_images"] == "images/gallery/synthface-mfn"


def test_a_detector_on_the_references_board_feeds_float32_of_all(tmp_path: Path) -> None:
    plan = planned(tmp_path, "detector: same", host=", detector: float32")
    assert inputs(plan, "score/host")["probe"] == "extract/host/probe/red/host"
    assert inputs(plan, "score/vim3/recognizer-alone")["probe"] == "extract/vim3/probe/red/host"
    assert plan.graph.targets["host"].split is None


def test_several_detectors_make_a_row_each_and_share_the_recognizers_measurement(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path, "detector: [this-host, same, int8 per-channel symmetric]")
    rows = {cell.name: cell.reason for cell in plan.cells}
    assert list(rows) == [
        "host",
        "vim3/detector-this-host",
        "vim3/detector-same",
        "vim3/detector-int8-per-channel-symmetric",
    ]
    # Tengine's rule holds for the detector, too.
    assert rows["vim3/detector-int8-per-channel-symmetric"].startswith("its detector: ")
    assert "cannot run int8 per-channel" in rows["vim3/detector-int8-per-channel-symmetric"]
    assert plan.graph.targets["vim3/detector-this-host"].detector is None
    assert "deploy/red/vim3/uint8-per-tensor-asymmetric" in plan.graph.steps
    assert sum(step.startswith("deploy/vim3") for step in plan.graph.steps) == 1


def test_a_detector_is_not_deployed_as_given(tmp_path: Path) -> None:
    plan = planned(tmp_path, "detector: [same, as-given]")
    reasons = {cell.name: cell.reason for cell in plan.cells}
    assert reasons["vim3/detector-same"] == ""
    assert "no quantized file of its own" in reasons["vim3/detector-as-given"]


def test_a_row_whose_detector_stays_here_is_keyed_as_without_the_choice(tmp_path: Path) -> None:
    plain, both = (planned(tmp_path, vim3) for vim3 in ("", "detector: [this-host, same]"))
    assert (
        plain.resolution.keys["images/probe"] == both.resolution.keys["images/probe/synthface-mfn"]
    )


@pytest.mark.parametrize(
    ("vim3", "test_set", "more", "says"),
    [
        ("detector: same", "rendered: {identities: 4}", "", "this test set is of aligned faces"),
        ("detector: sam", PHOTOS, "", "'sam' is neither this-host, same nor a quantization; did"),
        (
            "detector: same",
            "photos: {path: photos, detector: red}",
            "",
            "detector_calibration: {folder: DIR}",
        ),
        (
            "detector: same",
            "photos: {path: photos, detector: red}",
            "detector_calibration: {folder: photos}",
            "calibrates on the test set's own photos",
        ),
        (
            "",
            PHOTOS,
            "detector_calibration: {scenes: {images: 4}}",
            "no board runs a quantized detector",
        ),
        (
            "detector: same",
            "rendered_photos: {identities: 4, detector: synthface-mfn}",
            "",
            "'synthface-mfn' is the test set's detector, too",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(
    tmp_path: Path, vim3: str, test_set: str, more: str, says: str
) -> None:
    for role in ("gallery", "probe"):
        photo(tmp_path / "photos" / role / "ann" / "1.png", (160, 128))
    with pytest.raises(UserError) as caught:
        planned(tmp_path, vim3, test_set=test_set, more=more)
    assert says in caught.value.message
    assert "matrix.yaml:" in caught.value.message
