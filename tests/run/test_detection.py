"""A detector's rows, from photos with annotations to the table, as a person would run them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from tests.red_detector import annotated, manifest

from .project import FLOAT, HOST, Project, emulated, entry

MATRIX = """\
models: red
test_set: {{coco: {{images: photos, annotations: coco.json}}}}
calibration: {{folder: other}}
measurement: {{min_duration_s: 0.2, min_count: 20}}
scoring: {{bootstrap: 100}}
entries:
{entries}"""
PHOTOS = {
    "1.png": (((160, 128),), ()),
    "2.png": (((80, 80), (240, 168)), ()),
    "3.png": (((160, 128),), ((80, 80),)),
    "4.png": ((), ()),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("detection"))
    annotated(made.folder, PHOTOS)
    annotated(made.folder / "of", {f"{n}.png": (((40 * n, 100),), ()) for n in range(1, 7)})
    (made.folder / "of" / "photos").rename(made.folder / "other")
    manifest(made.folder)
    entries = FLOAT + entry("rv", "uint8 per-tensor asymmetric")
    (made.folder / "matrix.yaml").write_text(MATRIX.format(entries=entries))
    boards = "boards:\n" + HOST + emulated("rv", "rv1126")
    (made.folder / "device_inventory.yaml").write_text(boards)
    return made


Planned = Callable[..., tuple[int, str]]


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Planned:
    """`farm plan` in a folder, in this process; exit code and stderr."""

    def run(folder: Path, *words: str) -> tuple[int, str]:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "160")
        code = main(["plan", *words])
        return code, capsys.readouterr().err

    return run


@pytest.mark.slow
def test_the_table_has_ap_and_recall_and_everything_reads_it(project: Project) -> None:
    ran = project.farm("run")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    rows = project.cells()
    reference, cell = rows["this-host"], rows["rv"]
    assert reference["task"] == "detection"
    assert reference["detection"]["ap"]["all"]["value"] == pytest.approx(4 / 5)
    assert reference["detection"]["recall"]["0.1"]["value"] == pytest.approx(4 / 5)
    assert reference["detection"]["landmark_error"]["value"] == pytest.approx(0, abs=1e-3)
    assert (reference["test_set"]["images"], reference["test_set"]["faces"]) == (4, {"all": 5})
    assert reference["rank1"] == {"value": None, "low": None, "high": None}
    assert cell["executed_by"] == "twin"
    assert cell["latency"] is None
    assert cell["difference"]["ap"]["all"]["value"] == pytest.approx(
        cell["detection"]["ap"]["all"]["value"] - 4 / 5
    )
    table = (project.latest / "table.md").read_text()
    assert "| AP | Recall@FP<=0.1 |" in table
    assert "AP at IoU 0.5 over 4 images, faces: 5;" in table
    assert "1:N" not in table

    first = project.latest.resolve().name
    again = project.farm("run")
    assert again.returncode == 0
    assert "14 of 14 steps are already in the store" in again.stdout
    compared = project.farm("compare", "latest", "latest").stdout
    assert "the same stored boxes" in compared
    limits = ("--max-drop", "ap=1", "--max-drop", "rank1=1")
    gate = project.farm("gate", *limits, "--baseline", first)
    assert gate.returncode == 0, gate.stdout + gate.stderr
    assert "rank1 not judged: a row of detection has ap, recall" in gate.stdout
    assert project.farm("export", "--format", "csv", "--format", "junit").returncode == 0
    head = (project.latest / "results.csv").read_text().splitlines()[0].split(",")
    assert {"ap", "ap_low", "recall", "landmark_error", "test_set_faces_all"} <= set(head)
    assert not {"rank1", "tar", "test_set_gallery"} & set(head)
    assert 'name="AP"' in (project.latest / "junit.xml").read_text()
    assert project.farm("runs", "--row", "rv").stdout.count("Recall@FP<=0.1") == 1
    assert project.farm("report", "latest").returncode == 0
    page = (project.latest / "report.html").read_text()
    for title in ("Precision and recall", "AP by height of the face", "AP minus float32&#39;s"):
        assert title in page, title
    assert page.count('<rect class="missed"') == 1
    assert "DET: misses" not in page
    for command in (("score",), ("explain", "rv"), ("compare", "latest", "published")):
        refused = project.farm(*command)
        assert refused.returncode == 2, command
        assert "detector" in refused.stderr


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("models: red", "models: synthface-ir", "is for recognition"),
        ("coco: {images: photos, annotations: coco.json}", "rendered: {identities: 9}", "is for"),
        ("calibration: {folder: other}", "calibration: {rendered: {images: 9}}", "aligned faces"),
        ("calibration: {folder: other}", "calibration: {folder: photos}", "own photos"),
        ("bootstrap: 100", "far: 1e-2, table_far: 1e-2", "detection is scored without it"),
        ("annotations: coco.json", "annotations: none.json", "none.json cannot be read"),
    ],
)
def test_what_does_not_fit_a_detector_is_refused_before_anything_starts(
    project: Project, planned: Planned, tmp_path: Path, old: str, new: str, says: str
) -> None:
    text = (project.folder / "matrix.yaml").read_text()
    assert old in text
    wrong = project.folder / f"{tmp_path.name}.yaml"
    wrong.write_text(text.replace(old, new))
    code, error = planned(project.folder, wrong.name)
    assert code == 2, error
    assert says in error


def test_logits_in_the_place_of_scores_are_refused_before_anything_starts(
    project: Project, planned: Planned, tmp_path: Path
) -> None:
    for name in ("matrix.yaml", "device_inventory.yaml", "coco.json", "photos", "other"):
        (tmp_path / name).symlink_to(project.folder / name)
    manifest(tmp_path, sigmoid=False)
    code, error = planned(tmp_path)
    assert code == 2, error
    assert "models/red.yaml:6: red.onnx: the heat map's scores are" in error
    assert "export the model with its last sigmoid or softmax" in error
