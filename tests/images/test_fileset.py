"""Sets of files: nothing is dropped, everything that is not taken is named, all at once."""

from __future__ import annotations

import io
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.errors import UserError
from orchestrator.images import Checker, calibration_rows, check_sets, gallery_rows, probe_rows
from orchestrator.images.checking import FILE
from orchestrator.images.naming import alike, plain_form
from orchestrator.specs import FolderCalibration, FolderSet

PEOPLE = 30
KINDS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "AVIF", "HEIF")


def face(number: int, size: tuple[int, int] = (16, 16)) -> Image.Image:
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    pixels = np.stack([x * 9 + number, y * 9, (x + y) * 4 + 2 * number], -1) % 256
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 people, one gallery and one probe image each, and two strangers."""
    root = tmp_path_factory.mktemp("whole") / "faces"
    for number in range(PEOPLE + 2):
        for role in ("gallery", "probe") if number < PEOPLE else ("probe",):
            place = root / role / f"p{number:03}"
            place.mkdir(parents=True)
            face(number).save(place / f"{role}.png")
    return root


@pytest.fixture
def faces(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "faces"))


def own(path: Path, source: str = "folder", skip: bool = False) -> FolderSet:
    return FolderSet.model_validate({"source": source, "path": path, "skip_unreadable": skip})


def mated(spec: FolderSet) -> tuple[int, int, int]:
    """Enrolled people, mated and unknown probes."""
    gallery, probes = gallery_rows(spec), probe_rows(spec)
    enrolled = set(gallery.identities)
    known = sum(who in enrolled for who in probes.identities)
    return len(enrolled), known, len(probes) - known


def refused(spec: FolderSet) -> str:
    with pytest.raises(UserError) as caught:
        gallery_rows(spec)
    return caught.value.message


def probe(faces: Path, number: int = 0) -> Path:
    return faces / "probe" / f"p{number:03}" / "probe.png"


def encoded(image: Image.Image, kind: str) -> bytes:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_counts_whatever_it_is_called(faces: Path, kind: str) -> None:
    data = encoded(face(0, (64, 64)).resize((16, 16)), kind)
    suffix = {"JPEG": "jpg", "HEIF": "heic", "TIFF": "tif"}.get(kind, kind.lower())
    for name in (f"probe.{suffix}", f"probe.{suffix.upper()}", "probe.jpg", "probe"):
        shutil.rmtree(probe(faces).parent)
        probe(faces).parent.mkdir()
        (probe(faces).parent / name).write_bytes(data)
        assert mated(own(faces)) == (30, 30, 2), name


def test_litter_is_passed_over_silently(faces: Path) -> None:
    for name in (
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "._probe.png",
        "notes.txt",
        "boxes.json",
        "README.md",
        "landmarks.csv",
    ):
        (probe(faces).parent / name).write_bytes(b"litter")
        (faces / "gallery" / name).write_bytes(b"litter")
    for folder in (faces / "gallery", probe(faces).parent):
        (folder / ".ipynb_checkpoints").mkdir()
        shutil.copy(probe(faces, 1), folder / ".ipynb_checkpoints" / "copy.png")
    assert mated(own(faces)) == (30, 30, 2)
    assert gallery_rows(own(faces)).notes == ()


def test_all_that_is_not_taken_is_named_at_once(faces: Path) -> None:
    probe(faces, 0).write_bytes(b"%PDF-1.7")
    probe(faces, 1).write_bytes(probe(faces, 1).read_bytes()[:-40])
    probe(faces, 2).unlink()
    probe(faces, 2).symlink_to("/nowhere/at-all.png")
    shutil.rmtree(faces / "gallery" / "p003")
    (faces / "gallery" / "p003").mkdir()
    shutil.rmtree(faces / "gallery" / "p004")
    (faces / "gallery" / "p004").symlink_to("/nowhere/p004")
    (faces / "gallery" / "p005" / "extra.mp4").write_bytes(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom")
    (faces / "probe" / "p006" / "loop").symlink_to(faces / "probe")
    os.mkfifo(faces / "probe" / "p007" / "pipe.png")
    message = refused(own(faces))
    assert message.startswith(f"{faces}: 8 files or folders cannot be taken\n")
    for words in (
        f"{probe(faces, 0)}: a PDF file",
        f"{probe(faces, 1)}: PNG, damaged",
        f"{probe(faces, 2)}: a broken link (to /nowhere/at-all.png)",
        f"{faces}/gallery/p003: an identity without an image",
        f"{faces}/gallery/p004: a broken link (to /nowhere/p004)",
        f"{faces}/gallery/p005/extra.mp4: no image that farm reads (PNG, JPEG,",
        f"{faces}/probe/p006/loop: a link to a folder above it",
        f"{faces}/probe/p007/pipe.png: no regular file",
    ):
        assert words in message
    spec = own(faces, skip=True)
    # p003 and p004 were to be enrolled: their probes do not turn into strangers.
    assert mated(spec) == (28, 25, 2)
    notes = probe_rows(spec).notes
    assert notes == gallery_rows(spec).notes
    assert notes[0].startswith("test set: 8 skipped as unreadable (skip_unreadable): ")
    assert notes[0].endswith("; and 5 more")
    assert notes[1].startswith("test set: probes left out, since none of their identity's gallery")


def test_linked_folders_are_followed(faces: Path, tmp_path: Path) -> None:
    for number in range(0, PEOPLE, 2):
        place = faces / "gallery" / f"p{number:03}"
        shutil.move(place, tmp_path / f"elsewhere-{number}")
        place.symlink_to(tmp_path / f"elsewhere-{number}")
    assert mated(own(faces)) == (30, 30, 2)


def test_empty_gallery_folders_make_no_strangers(faces: Path) -> None:
    for number in range(20):
        (faces / "gallery" / f"p{number:03}" / "gallery.png").unlink()
    message = refused(own(faces))
    assert message.count(": an identity without an image") == 20
    assert mated(own(faces, skip=True)) == (10, 10, 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("p000 ", "p000"),
        ("P000", "p000"),
        ("p000", "ｐ０００"),
        (unicodedata.normalize("NFD", "José"), unicodedata.normalize("NFC", "José")),
        ("Ann  Lee", "Ann Lee"),
        ("Ann\u200b", "Ann"),
    ],
)
def test_identities_that_differ_only_in_form(faces: Path, one: str, other: str) -> None:
    (faces / "gallery" / "p000").rename(faces / "gallery" / "x")
    (faces / "probe" / "p000").rename(faces / "probe" / "y")
    (faces / "gallery" / "x").rename(faces / "gallery" / one)
    (faces / "probe" / "y").rename(faces / "probe" / other)
    for skip in (False, True):
        message = refused(own(faces, skip=skip))
        assert f"identities that differ only in form: {one!a} and {other!a}" in message
    listed = faces.parent / "list.csv"
    rows = [f"faces/gallery/{one}/gallery.png,{one},gallery"]
    rows.append(f"faces/probe/{other}/probe.png,{other},probe")
    listed.write_text("file,identity,role\n" + "\n".join(rows))
    assert f"{one!a} and {other!a}" in refused(own(listed, "list"))


def test_names_of_two_people_stay_two() -> None:
    assert alike(["p1", "p01", "p001", "ann", "anne", "Müller", "Muller", "o", "0"]) == []
    assert plain_form("Straße") == plain_form("STRASSE")


def test_a_list_names_its_lines(faces: Path, tmp_path: Path) -> None:
    probe(faces, 1).write_bytes(b"%PDF")
    rows = ["file,identity,role"]
    for number in range(3):
        for role in ("gallery", "probe"):
            rows.append(f"faces/{role}/p{number:03}/{role}.png,p{number:03},{role}")
    (tmp_path / "x.csv").write_text("\n".join([*rows, "faces/gone.png,p002,probe"]))
    for skip in (False, True):
        message = refused(own(tmp_path / "x.csv", "list", skip))
        assert f"x.csv:8: {tmp_path}/faces/gone.png is not there" in message
        assert ("x.csv:5:" in message) == (not skip)
        if not skip:
            assert f"x.csv:5: {probe(faces, 1)}: a PDF file" in message
    (tmp_path / "x.csv").write_text("\n".join(rows))
    assert mated(own(tmp_path / "x.csv", "list", True)) == (3, 2, 0)


def test_all_of_another_size_are_named_at_once(faces: Path, tmp_path: Path) -> None:
    for number in (3, 7):
        face(number, (16, 15)).save(probe(faces, number))
    probe(faces, 9).write_bytes(b"%PDF")
    calibration = tmp_path / "calibration"
    calibration.mkdir()
    face(1, (20, 16)).save(calibration / "a.png")
    (calibration / "b.png").write_bytes(b"GIF89a")
    for skip in (False, True):
        other = FolderCalibration(source="folder", path=calibration, skip_unreadable=skip)
        with pytest.raises(UserError) as caught:
            check_sets(own(faces, skip=skip), other, [(16, 16)], Checker())
        message = caught.value.message
        assert "2 images are of another size; 16 x 16 are expected" in message
        assert f"{probe(faces, 3)}: 15 x 16" in message
        assert f"{probe(faces, 7)}: 15 x 16" in message
        assert f"{calibration}/a.png: 16 x 20" in message
        assert (f"{probe(faces, 9)}: a PDF" in message) == (not skip)
        assert (f"{calibration}/b.png: GIF, damaged" in message) == (not skip)


def test_a_long_list_of_what_is_refused_is_kept_whole(faces: Path, tmp_path: Path) -> None:
    for number in range(PEOPLE):
        probe(faces, number).write_bytes(b"%PDF")
    with pytest.raises(UserError) as caught:
        check_sets(own(faces), None, [(16, 16)], Checker(tmp_path / ".farm"))
    listing = tmp_path / ".farm" / "refused-images.txt"
    assert caught.value.message.endswith(f"and 10 more; all of them: {listing}")
    assert len(listing.read_text().splitlines()) == PEOPLE


def test_of_calibration_images_so_many_as_are_asked_for(tmp_path: Path) -> None:
    for number in range(6):
        face(number).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"%PDF")
    (tmp_path / "9.png").write_bytes(b"%PDF")
    with pytest.raises(UserError, match=r"1\.png: a PDF") as caught:
        calibration_rows(FolderCalibration(source="folder", path=tmp_path, images=4))
    assert "9.png" not in caught.value.message, "it would not be used"
    spec = FolderCalibration(source="folder", path=tmp_path, images=4, skip_unreadable=True)
    rows = calibration_rows(spec)
    assert rows.identities == ("0.png", "2.png", "3.png", "4.png")
    assert rows.notes == (
        f"calibration: 1 skipped as unreadable (skip_unreadable): {tmp_path}/1.png: a PDF file",
    )


def test_what_is_changed_in_decoding_is_said(faces: Path) -> None:
    clear = face(0).convert("RGBA")
    clear.putalpha(128)
    clear.save(probe(faces, 0))
    face(1).save(probe(faces, 1), format="TIFF", save_all=True, append_images=[face(2)])
    face(2).save(probe(faces, 2), icc_profile=b"broken")
    assert probe_rows(own(faces)).notes == (
        "1 image with transparency: composited over black",
        "1 image with several frames or pages: the first is used",
        "1 image with a colour profile that cannot be used: taken as sRGB",
    )


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files may be remembered as soon as they are written, as if they were old."""
    monkeypatch.setattr("orchestrator.images.checking._FRESH_S", 0.0)


@pytest.mark.usefixtures("aged")
def test_what_was_checked_is_remembered(faces: Path, tmp_path: Path) -> None:
    state = tmp_path / ".farm"
    spec = own(faces)
    first = Checker(state)
    before = gallery_rows(spec, checker=first).fingerprint()
    probe_rows(spec, checker=first)
    assert first.decoded == 2 * PEOPLE + 2
    second = Checker(state)
    assert gallery_rows(spec, checker=second).fingerprint() == before
    assert second.decoded == 0
    assert (state.stat().st_mode & 0o777, (state / FILE).stat().st_mode & 0o777) == (0o700, 0o600)
    # Another file of the same size and time is another file.
    data, status = probe(faces, 0).read_bytes(), probe(faces, 0).stat()
    probe(faces, 0).write_bytes(data[:-30] + b"oops" + data[-26:])
    os.utime(probe(faces, 0), ns=(status.st_atime_ns, status.st_mtime_ns))
    third = Checker(state)
    with pytest.raises(UserError, match="PNG, damaged"):
        gallery_rows(spec, checker=third)
    assert third.decoded == 1
    (state / FILE).write_text("{")
    assert gallery_rows(own(faces, skip=True), checker=Checker(state)).fingerprint() == before


def test_a_file_just_written_is_looked_at_again(faces: Path, tmp_path: Path) -> None:
    gallery_rows(own(faces), checker=Checker(tmp_path / ".farm"))
    again = Checker(tmp_path / ".farm")
    gallery_rows(own(faces), checker=again)
    assert again.decoded == 2 * PEOPLE + 2


@pytest.mark.usefixtures("aged")
def test_another_decoder_checks_anew_and_has_other_fingerprints(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = gallery_rows(own(faces), checker=Checker(tmp_path)).fingerprint()
    monkeypatch.setattr("orchestrator.images.decoder.RULES", 2)
    checker = Checker(tmp_path)
    assert gallery_rows(own(faces), checker=checker).fingerprint() != before
    assert checker.decoded == 2 * PEOPLE + 2


def test_what_is_checked_is_told(faces: Path) -> None:
    told: list[tuple[int, int]] = []
    check_sets(own(faces), None, [(16, 16)], Checker(progress=lambda *now: told.append(now)))
    assert told[-1] == (2 * PEOPLE + 2, 2 * PEOPLE + 2)
