"""Photos of any size through the default detector and a recognizer, as a person would run them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.images import render

from .project import FLOAT, HOST, Project, emulated, entry

WITHOUT = {("p03", "probe"), ("p05", "gallery")}
MATRIX = """\
models: synthface-ir
test_set: {{photos: {{path: photos, detector: synthdet}}}}
calibration: {{rendered: {{images: 16}}}}
scoring: {{far: 2e-1, table_far: 2e-1, bootstrap: 100}}
measurement: {{min_duration_s: 0.2, min_count: 20}}
entries:
{entries}"""


def photos(folder: Path, people: int) -> None:
    """A drawn face somewhere in each photo, apart from those that have none."""
    random = np.random.default_rng(0)
    for who in range(people):
        for role, shot in (("gallery", 0), ("probe", 1)):
            # Blocks of grey, so that two photos without a face are not near-identical.
            blocks = random.integers(90, 150, (6, 8, 1), np.uint8)
            pixels = np.repeat(blocks.repeat(40, 0).repeat(40, 1), 3, 2)
            y, x = random.integers(5, 120), random.integers(5, 200)
            if (f"p{who:02d}", role) not in WITHOUT:
                pixels[y : y + 112, x : x + 112] = render(
                    np.array([who]), np.array([shot]), 0, 0.7
                )[0]
            path = folder / role / f"p{who:02d}" / "1.png"
            path.parent.mkdir(parents=True)
            Image.fromarray(pixels).save(path)


@pytest.mark.slow
def test_photos_without_a_face_are_counted_and_scoring_again_keeps_them(tmp_path: Path) -> None:
    project = Project(tmp_path)
    photos(tmp_path / "photos", 12)
    (tmp_path / "matrix.yaml").write_text(
        MATRIX.format(entries=FLOAT + entry("rv", "uint8 per-tensor asymmetric"))
    )
    (tmp_path / "device_inventory.yaml").write_text("boards:\n" + HOST + emulated("rv", "rv1126"))
    ran = project.farm("run")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert "12 images, no face in 1 photo" in ran.stdout
    for row in project.cells().values():
        assert row["failed_images"] == 2
        assert row["rank1"]["value"] == pytest.approx(10 / 12)
        assert any("no face in 1 of 12 gallery photos and 1 of 12" in w for w in row["warnings"])
    assert "failures to acquire" in (project.latest / "table.md").read_text()

    scored = project.farm("score", "latest", "--distractors", "0", "--json")
    assert scored.returncode == 0, scored.stderr
    rows = json.loads(scored.stdout)["cells"]
    assert [row["rank1"]["value"] for row in rows] == [pytest.approx(10 / 12)] * 2


TWO_MODELS = """\
models: synthface-ir
test_set: {rendered_photos: {identities: 40, unknown: 10, difficulty: 0.5, detector: synthdet}}
calibration: {rendered: {images: 16}}
detector_calibration: {scenes: {images: 16}}
scoring: {far: 2e-1, table_far: 2e-1, bootstrap: 100}
measurement: {min_duration_s: 0.2, min_count: 20}
entries:
  - {name: host, boards: this-host, quantization: float32, detector: [this-host, float32]}
  - name: rv
    boards: rv
    quantization: uint8 per-tensor asymmetric
    detector: same
    gallery: [same, float32]
"""


@pytest.mark.slow
def test_detector_and_recognizer_on_a_board_share_the_loss(tmp_path: Path) -> None:
    project = Project(tmp_path)
    (tmp_path / "matrix.yaml").write_text(TWO_MODELS)
    (tmp_path / "device_inventory.yaml").write_text("boards:\n" + HOST + emulated("rv", "rv1126"))
    ran = project.farm("run")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    rows = project.cells()
    here, board = rows["this-host/detector-this-host"], rows["this-host/detector-float32"]
    # The same float32 detector, run by this host's own code and by the agent.
    for name in ("rank1", "tar", "not_acquired", "failed_images"):
        assert here[name] == board[name], name
    assert here["detector"] is None
    assert board["detector"]["latency"]["device"]["p50_ms"] > 0
    assert board["latency"]["device"]["p50_ms"] > 0
    table = (project.latest / "table.md").read_text()
    assert re.search(r"\| \d+\.\d \+ \d+\.\d ms", table)

    row, mixed = rows["rv"], rows["rv*"]
    assert row["detector"]["dtype"] == "uint8"
    assert row["detector"]["latency"] is None
    assert row["executed_by"] == "twin"
    assert row["verdict"] == "EMULATED"
    for each in (row, mixed):
        for part in ("detector", "recognizer"):
            change = each["split"][part]
            won, lost = change["only_cell"], change["only_reference"]
            assert change["rank1"]["value"] == pytest.approx((won - lost) / 40)
    assert "By detector (points)" in table
    hashes = {row["test_set"]["hash"] for row in rows.values()}
    assert len(hashes) == 1

    crossed = project.farm("score", "latest", "--cross", "--json")
    assert crossed.returncode == 0, crossed.stderr
    tables = json.loads(crossed.stdout)["tables"]
    assert len(tables) == 1
    again = project.farm("run")
    assert "all of it was in the store" in again.stdout
