"""Photos of any size through the default detector and a recognizer, as a person would run them."""

from __future__ import annotations

import json
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
