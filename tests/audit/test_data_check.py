"""`farm data check` on folders of real files, each spoilt in one respect: the right count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.cli.main import main
from tests.audit.folders import again, clean_set, copy, write


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]):
    """Run the command; exit code, and findings by kind."""

    def run(folder: Path, *words: str) -> tuple[int, dict[str, dict]]:
        code = main(["data", "check", str(folder), "--json", *words])
        told = json.loads(capsys.readouterr().out)
        return code, {finding["kind"]: finding for finding in told["findings"]}

    return run


def names(finding: dict) -> list[tuple[str, ...]]:
    return [
        tuple("/".join(Path(i["name"]).parts[-3:]) for i in example["images"])
        for example in finding["examples"]
    ]


def test_a_clean_set_has_no_leak(tmp_path, check) -> None:
    code, found = check(clean_set(tmp_path))
    assert code == 0
    assert set(found) == {"false-alarms"}
    assert found["false-alarms"]["count"] == 0  # floor(1e-3 * 9)
    assert "0 (0) at FAR 0.1" in found["false-alarms"]["sentence"]


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp"])
def test_the_image_that_is_enrolled_is_searched_with(suffix, tmp_path, check) -> None:
    folder = clean_set(tmp_path)
    options = {"lossless": True} if suffix == "webp" else {}
    for who in (1, 4):
        again(folder / f"gallery/p{who}/0.png", folder / f"probe/p{who}/9.{suffix}", **options)
    code, found = check(folder)
    assert code == 1
    leak = found["probe-in-gallery"]
    assert (leak["severity"], leak["count"]) == ("leak", 2)
    assert "2 of 11 probes" in leak["sentence"]
    assert "2 identical to the pixel, 0 near" in leak["sentence"]
    assert names(leak) == [(f"probe/p{who}/9.{suffix}", f"gallery/p{who}/0.png") for who in (1, 4)]


@pytest.mark.parametrize("change", [{"quality": 75}, {"scale": 0.5}], ids=["jpeg75", "half"])
def test_so_it_is_when_it_was_saved_anew(change, tmp_path, check) -> None:
    folder = clean_set(tmp_path)
    suffix = "jpg" if "quality" in change else "png"
    again(folder / "gallery/p2/0.png", folder / f"probe/p2/9.{suffix}", **change)
    code, found = check(folder)
    leak = found["probe-in-gallery"]
    assert (code, leak["count"]) == (1, 1)
    assert "0 identical to the pixel, 1 near" in leak["sentence"]
    assert 0 <= leak["examples"][0]["bits"] <= 20


def test_one_image_under_two_identities(tmp_path, check) -> None:
    folder = clean_set(tmp_path)
    copy(folder / "gallery/p0/0.png", folder / "gallery/p5/other.png")
    copy(folder / "gallery/p0/0.png", folder / "probe/stranger/0.png")
    code, found = check(folder)
    leak = found["two-identities"]
    assert (code, leak["severity"], leak["count"]) == (1, "leak", 2)
    assert names(leak) == [
        ("gallery/p5/other.png", "gallery/p0/0.png"),
        ("probe/stranger/0.png", "gallery/p0/0.png"),
    ]
    assert "probe-in-gallery" not in found


def test_calibration_images_that_are_test_images(tmp_path, check) -> None:
    folder = clean_set(tmp_path / "set")
    for who in range(4):
        write(tmp_path / f"calibration/{who}.png", 100 + who, 0)
    copy(folder / "probe/p3/1.png", tmp_path / "calibration/a.png")
    again(folder / "gallery/p3/0.png", tmp_path / "calibration/b.jpg", quality=75)
    code, found = check(folder, "--calibration", str(tmp_path / "calibration"))
    leak = found["calibration-in-test"]
    assert (code, leak["severity"], leak["count"]) == (1, "leak", 2)
    assert "2 of 6 calibration images" in leak["sentence"]
    assert [e["bits"] is None for e in leak["examples"]] == [True, False]


def test_a_copy_beside_its_original_is_no_leak(tmp_path, check) -> None:
    folder = clean_set(tmp_path)
    copy(folder / "gallery/p0/0.png", folder / "gallery/p0/1.png")
    again(folder / "probe/p1/1.png", folder / "probe/p1/2.jpg", quality=75)
    code, found = check(folder)
    assert code == 0
    assert (found["repeated"]["severity"], found["repeated"]["count"]) == ("note", 2)


def test_a_copy_in_many_places_counts_once_each(tmp_path, check) -> None:
    """One picture as gallery of p0, probe of p0, gallery of p1, probe of p1, and calibration."""
    folder = clean_set(tmp_path / "set")
    source = folder / "gallery/p0/0.png"
    for place in ("probe/p0/x.png", "gallery/p1/x.png", "probe/p1/x.png"):
        copy(source, folder / place)
    copy(source, tmp_path / "calibration/x.png")
    code, found = check(folder, "--calibration", str(tmp_path / "calibration"))
    assert code == 1
    counts = {kind: f["count"] for kind, f in found.items() if f["severity"] == "leak"}
    # Both probes are enrolled under their own name; three images are of p0 and p1 at once
    # (gallery p1, and each of the probes).
    assert counts == {"probe-in-gallery": 2, "two-identities": 3, "calibration-in-test": 1}


def test_a_folder_of_identities(tmp_path, check) -> None:
    for who in range(4):
        write(tmp_path / f"p{who}/0.png", who, 0)
        if who < 2:
            write(tmp_path / f"p{who}/1.png", who, 1)
    code, found = check(tmp_path)
    assert code == 0
    assert (found["one-image"]["severity"], found["one-image"]["count"]) == ("warning", 2)
    assert names(found["one-image"]) == [(f"{tmp_path.name}/p{n}/0.png",) for n in (2, 3)]
    copy(tmp_path / "p0/0.png", tmp_path / "p3/1.png")
    code, found = check(tmp_path)
    assert (code, found["two-identities"]["count"]) == (1, 1)


def test_flat_images_are_named_and_resemble_nobody(tmp_path, check) -> None:
    folder = clean_set(tmp_path)
    for who, level in ((0, 10), (1, 200)):
        Image.new("RGB", (112, 112), (level,) * 3).save(folder / f"probe/p{who}/1.png")
    code, found = check(folder)
    assert code == 0
    assert (found["flat"]["severity"], found["flat"]["count"]) == ("warning", 2)


def test_grey_images_in_one_part_only_are_a_warning(tmp_path, check) -> None:
    folder = clean_set(tmp_path / "set")
    target = tmp_path / "calibration"
    for who in range(3):
        path = write(target / f"{who}.png", 100 + who, 0)
        Image.open(path).convert("L").save(path)
    _, found = check(folder, "--calibration", str(target))
    assert found["grey"]["severity"] == "warning"
    assert "all images of the calibration are grey" in found["grey"]["sentence"]
    for path in folder.rglob("*.png"):
        Image.open(path).convert("L").save(path)
    _, found = check(folder, "--calibration", str(target))
    assert (found["grey"]["severity"], found["grey"]["count"]) == ("note", 18)


def test_a_list_is_checked_like_a_folder(tmp_path, check) -> None:
    write(tmp_path / "a.png", 0, 0)
    write(tmp_path / "b.png", 0, 1)
    again(tmp_path / "a.png", tmp_path / "c.bmp")
    lines = ["file,identity,role", "a.png,ann,gallery", "b.png,ann,probe", "c.bmp,ann,probe"]
    (tmp_path / "set.csv").write_text("\n".join(lines))
    code, found = check(tmp_path / "set.csv")
    assert (code, found["probe-in-gallery"]["count"]) == (1, 1)


def test_what_a_person_sees(tmp_path, capsys) -> None:
    folder = clean_set(tmp_path / "set")
    for who in range(6):
        copy(folder / f"gallery/p{who}/0.png", folder / f"probe/p{who}/9.png")
    sheet = tmp_path / "sheet.png"
    assert main(["data", "check", str(folder), "--sheet", str(sheet)]) == 1
    said = capsys.readouterr().out
    assert "gallery: 6 images of 6 identities" in said
    assert "LEAK     6 of 15 probes" in said
    assert said.count(" = gallery ") == 5
    assert "and 1 more" in said
    pixels = np.asarray(Image.open(sheet).convert("RGB"))
    with Image.open(folder / "gallery/p0/0.png") as face:
        tile = np.asarray(face.resize((128, 128)))
    found = [
        (y, x)
        for y in range(80)
        for x in range(200)
        if (pixels[y : y + 128, x : x + 128] == tile).all()
    ]
    assert len(found) == 2, "the probe, and the gallery image beside it"
    assert found[0][0] == found[1][0]


def test_what_is_not_there_is_wrong_input(tmp_path, capsys) -> None:
    assert main(["data", "check", str(tmp_path / "no")]) == 2
    assert "no such folder" in capsys.readouterr().err
    folder = clean_set(tmp_path / "set")
    assert main(["data", "check", str(folder), "--sheet", str(tmp_path / "no/x.png")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_false_alarms_are_counted_at_the_matrix_rates(tmp_path, check) -> None:
    folder = clean_set(tmp_path / "set")
    matrix = tmp_path / "matrix.yaml"
    matrix.write_text(
        "models: synthface-mfn\n"
        "test_set: {folder: set}\n"
        "scoring: {far: [0.5, 0.25], table_far: 0.5}\n"
        "entries:\n- {name: all, boards: this-host, quantization: float32}\n"
    )
    _, plain = check(folder)
    _, found = check(folder, "--matrix", str(matrix))
    assert "at FAR 0.001" in plain["false-alarms"]["sentence"]
    assert plain["false-alarms"]["severity"] == "warning"
    said = found["false-alarms"]
    assert "at FAR 0.5, " in said["sentence"]
    assert "at FAR 0.25" in said["sentence"]
    assert "at FAR 0.001" not in said["sentence"]
    assert (said["severity"], said["count"]) == ("note", 4), "half of 9 searches"
