"""A detector's rows into figures: exact values of a detector whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.aligning.detector import Detector
from orchestrator.data.features import Features
from orchestrator.detection import DetectionError, DetectorSpec, TruthSet, detector_spec, letterbox
from orchestrator.graphs.sessions import faithful_session, joined
from orchestrator.images.annotated_files import read_coco
from orchestrator.images.annotated_rows import TRUTH, AnnotatedRows
from orchestrator.stages.compare_detection import difference
from orchestrator.stages.evaluate import FOUND, evaluate
from tests.red_detector import annotated, detector

POLICY = {"confidence": 0.95, "bootstrap": 100, "seed": 0, "false_positives": [0.1, 1.0]}
PHOTOS = {
    "one.png": (((160, 128),), ()),
    "two.png": (((80, 80), (240, 168)), ()),
    "missed.png": (((160, 128),), ((80, 80),)),
    "none.png": ((), ()),
}


@pytest.fixture
def made(tmp_path: Path) -> tuple[Features, Path, DetectorSpec]:
    """Feature rows of the photos, computed by the net itself, and their truth's file."""
    source = read_coco(tmp_path / "photos", annotated(tmp_path, PHOTOS))
    rows = AnnotatedRows(source, len(source), (128, 160))
    loaded = Detector(detector(tmp_path / "red.onnx"), (128, 160), 0.02)
    session = faithful_session(loaded.model)
    names = [output.name for output in loaded.spec.outputs]
    fed = rows.images().astype(np.float32).transpose(0, 3, 1, 2)
    found = np.stack([joined(session.run(names, {"image": image[None]})) for image in fed])
    (tmp_path / TRUTH).write_bytes(rows.beside()[TRUTH])
    failed = np.zeros(len(found), bool)
    return Features(found.astype(np.float32), failed, rows.identities), tmp_path, loaded.spec


def facts(made: tuple[Features, Path, DetectorSpec], failed: tuple[int, ...] = ()) -> Any:
    features, folder, spec = made
    mask = np.isin(np.arange(len(features.rows)), failed)
    told = Features(features.rows, mask, features.ids)
    return evaluate(told, TruthSet.load(folder / TRUTH), spec, POLICY)


def test_what_is_found_and_missed_is_counted(made: Any) -> None:
    found = facts(made).facts
    assert (found["images"], found["faces"], found["boxes"]) == (4, {"all": 5}, 4)
    assert found["ap"]["all"]["value"] == pytest.approx(4 / 5)
    assert found["recall"]["0.1"]["value"] == pytest.approx(4 / 5)
    assert found["landmark_error"]["value"] == pytest.approx(0, abs=1e-4)
    assert found["main"] == "all"
    assert not found["warnings"]


def test_nothing_is_found_in_an_image_that_failed(made: Any) -> None:
    found = facts(made, failed=(1,)).facts
    assert found["failed"] == 1
    assert found["ap"]["all"]["value"] == pytest.approx(2 / 5)


def test_a_detector_that_finds_nothing_says_where_to_look(made: Any) -> None:
    features, folder, spec = made
    blind = (Features(np.zeros_like(features.rows), features.failed, features.ids), folder, spec)
    found = facts(blind).facts
    assert found["ap"]["all"]["value"] == 0
    assert "mean, std and colour" in found["warnings"][0]


def test_rows_that_are_not_the_detectors_are_refused_with_the_image(made: Any) -> None:
    features, folder, spec = made
    rows = features.rows.copy()
    rows[2, 5] = np.nan
    with pytest.raises(DetectionError, match=r"missed\.png: 1 of \d+ values are not finite"):
        facts((Features(rows, features.failed, features.ids), folder, spec))


def test_a_cell_against_float32(made: Any) -> None:
    whole, worse = facts(made).files[FOUND], facts(made, failed=(1,)).files[FOUND]
    same = difference(whole, whole, str(made[1] / TRUTH), POLICY)
    assert (same["ap"]["all"]["value"], same["p"], same["only_reference"]) == (0, 1, 0)
    assert same["agreement"] == {"share": 1.0, "overlap": 1.0}
    lost = difference(whole, worse, str(made[1] / TRUTH), POLICY)
    assert lost["ap"]["all"]["value"] == pytest.approx(-2 / 5)
    assert (lost["only_reference"], lost["only_cell"]) == (2, 0)
    assert lost["fixed"]["reference_recall"] == pytest.approx(4 / 5)
    assert lost["fixed"]["recall"] == pytest.approx(2 / 5)
    assert lost["agreement"]["share"] == pytest.approx(2 * 2 / (4 + 2))


def test_plain_json_makes_the_same_detector(made: Any) -> None:
    spec = made[2]
    told = {
        "head": spec.head,
        "outputs": [[output.name, list(output.shape)] for output in spec.outputs],
        "input_size": list(spec.input_size),
        "min_score": spec.min_score,
        "nms_iou": spec.nms_iou,
    }
    assert detector_spec(told) == spec


def test_rows_are_letterboxed_and_a_part_keeps_its_truth(made: Any, tmp_path: Path) -> None:
    source = read_coco(tmp_path / "photos", tmp_path / "coco.json")
    part = AnnotatedRows(source, 2, (96, 96))
    assert np.array_equal(part.images(1, 2)[0], letterbox(source.image(1), (96, 96)))
    assert part.names == ("one.png", "two.png")
    assert part.fingerprint() != AnnotatedRows(source, 2, (96, 128)).fingerprint()
    assert part.fingerprint() != AnnotatedRows(source, 3, (96, 96)).fingerprint()
    (tmp_path / "part.npz").write_bytes(part.beside()[TRUTH])
    assert len(TruthSet.load(tmp_path / "part.npz")) == 2
