"""Leaks in a plan: refused with the files named, or allowed and then said; nothing read twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli.main import main
from tests.audit.folders import again, clean_set, copy, write
from tests.run.project import HOST, Project, emulated

MATRIX = """\
models: synthface-ir
test_set:
  folder: {{path: faces{set}}}
{calibration}measurement: {{warm_up_count: 3, min_duration_s: 0.3, min_count: 9, max_duration_s: 9}}
scoring: {{far: [5e-1], table_far: 5e-1, bootstrap: 100}}
entries:
  - {{name: float32, boards: this-host, quantization: float32}}
{more}"""
INT8 = "  - {name: vim3, boards: vim3, quantization: uint8 per-tensor asymmetric}\n"
CALIBRATION = "calibration:\n  folder: {{path: calibration{allow}}}\n"
ALLOW = ", allow_leaks: true"


class Own:
    """A project over the user's own images, and what its plan says."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        clean_set(folder / "faces")
        for who in range(4):
            write(folder / f"calibration/{who}.png", 100 + who, 0)
        boards = HOST + emulated("vim3", "khadas-vim3")
        (folder / "device_inventory.yaml").write_text("boards:\n" + boards)
        self.write()

    def write(self, *, of_set: str = "", of_calibration: str = "", more: str = INT8) -> None:
        calibration = CALIBRATION.format(allow=of_calibration) if more else ""
        text = MATRIX.format(set=of_set, calibration=calibration, more=more)
        (self.folder / "matrix.yaml").write_text(text)

    def plan(self, *words: str) -> tuple[int, str, str]:
        code = main(["plan", *words])
        said = self.capsys.readouterr()
        return code, said.out, said.err

    def audit(self, *words: str) -> dict[str, dict]:
        code, out, err = self.plan("--json", *words)
        assert code == 0, err
        return {finding["kind"]: finding for finding in json.loads(out)["audit"]}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Own:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return Own(tmp_path, capsys)


def test_a_clean_set_is_planned(own) -> None:
    found = own.audit()
    assert set(found) == {"false-alarms"}
    assert found["false-alarms"]["count"] == 4  # floor(0.5 * 9)
    assert "4 (1) at FAR 0.5" in found["false-alarms"]["sentence"]


def test_a_probe_that_is_enrolled_is_refused_and_allowed(own) -> None:
    for who in range(6):
        copy(own.folder / f"faces/gallery/p{who}/0.png", own.folder / f"faces/probe/p{who}/9.png")
    code, out, err = own.plan()
    assert (code, out) == (2, "")
    assert "6 of 15 probes" in err
    assert err.count(" = gallery ") == 5
    assert "and 1 more" in err
    assert "farm data check faces --sheet" in err
    assert "allow_leaks: true beside path: of test_set:" in err
    assert main(["run"]) == 2
    assert not list((own.folder / "runs").glob("*")), "no run was begun"
    own.capsys.readouterr()
    own.write(of_calibration=ALLOW)
    assert own.plan()[0] == 2, "calibration's leave is not the test set's"
    own.write(of_set=ALLOW)
    leak = own.audit()["probe-in-gallery"]
    assert (leak["count"], leak["allowed"]) == (6, True)
    code, out, _ = own.plan()
    assert code == 0
    assert out.count("LEAK (allowed): 6 of 15 probes") == 1


def test_two_identities_of_one_image_are_refused(own) -> None:
    source = own.folder / "faces/gallery/p0/0.png"
    again(source, own.folder / "faces/gallery/p1/9.jpg", quality=75)
    code, _, err = own.plan()
    assert code == 2
    assert "1 image repeats another identity's image" in err
    assert "faces/gallery/p1/9.jpg ~ gallery faces/gallery/p0/0.png" in err
    own.write(of_set=ALLOW)
    assert own.audit()["two-identities"]["allowed"] is True


@pytest.mark.parametrize("leave", ["calibration", "set"])
def test_a_test_image_that_calibrates_is_refused_where_something_calibrates(own, leave) -> None:
    copy(own.folder / "faces/probe/p3/1.png", own.folder / "calibration/a.png")
    code, _, err = own.plan()
    assert code == 2
    assert "1 of 5 calibration images" in err
    assert "beside path: of calibration:" in err
    own.write(**{f"of_{leave}": ALLOW})
    leak = own.audit()["calibration-in-test"]
    assert (leak["count"], leak["allowed"]) == (1, True)
    own.write(more="")
    assert "calibration-in-test" not in own.audit(), "float32 alone calibrates nothing"


def test_images_are_read_once(own) -> None:
    copy(own.folder / "faces/gallery/p0/0.png", own.folder / "faces/gallery/p0/1.png")
    first = own.audit()
    assert first["repeated"]["count"] == 1
    kept = {p: p.stat().st_mtime_ns for p in (own.folder / ".farm/audit").iterdir()}
    assert [p.suffix for p in kept].count(".npz") == 3
    assert own.audit() == first
    assert {p: p.stat().st_mtime_ns for p in (own.folder / ".farm/audit").iterdir()} == kept
    for path in kept:  # damaged files are rebuilt
        path.write_bytes(b"x")
    assert own.audit() == first
    copy(own.folder / "faces/probe/p0/1.png", own.folder / "faces/probe/p1/1.png")
    assert own.plan()[0] == 2, "another set is another question"


def test_a_part_of_the_set_is_audited_as_such(own) -> None:
    found = own.audit("--limit", "2")
    assert "among 3 searches" in found["false-alarms"]["sentence"]


def test_rendered_faces_cost_nothing(own) -> None:
    project = Project(own.folder)
    project.write(INT8, HOST + emulated("vim3", "khadas-vim3"), 40, 20)
    text = (own.folder / "matrix.yaml").read_text().replace("name: vim3", "name: x")
    (own.folder / "matrix.yaml").write_text(text)
    found = own.audit()
    assert set(found) == {"false-alarms"}
    assert found["false-alarms"]["count"] == 6
    assert not (own.folder / ".farm/audit").exists()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_allowed_leak_stands_below_the_table_of_a_run_once(own) -> None:
    for who in range(6):
        copy(own.folder / f"faces/gallery/p{who}/0.png", own.folder / f"faces/probe/p{who}/9.png")
    copy(own.folder / "faces/gallery/p0/0.png", own.folder / "faces/gallery/p1/9.png")
    own.write(of_set=ALLOW, more="")
    project = Project(own.folder)
    done = project.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    (cell,) = project.cells().values()
    found = {finding["kind"]: finding for finding in cell["test_set"]["audit"]}
    assert found["probe-in-gallery"]["count"] == 6
    assert len(found["probe-in-gallery"]["examples"]) == 5
    # p1's own image is now enrolled beside p0's, and p0 is searched for with it too
    assert found["two-identities"]["count"] == 2
    table = (project.latest / "table.md").read_text()
    for text in (table, " ".join(done.stdout.split())):
        assert text.count("6 of 15 probes show an image") == 1
        assert "LEAK in the test set (allow_leaks: true)" in text
    assert table.count("equal another identity's row to the bit") == 1
    assert "farm data check" in table, "equal features point to the audit"
    report = project.farm("report")
    assert report.returncode == 0, report.stderr
