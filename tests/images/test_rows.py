"""Rows: roles and identities stay apart, slices agree with the whole, fingerprints tell files."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from orchestrator.errors import UserError
from orchestrator.images import calibration_rows, gallery_rows, probe_rows
from orchestrator.images.files import FileRows, ImageFile
from orchestrator.specs import FolderCalibration, FolderSet, RenderedCalibration, RenderedSet

rendered = st.builds(
    RenderedSet,
    seed=st.integers(0, 9),
    identities=st.integers(1, 400),
    distractors=st.integers(0, 300),
    unknown=st.integers(0, 300),
    first_identity=st.integers(0, 900_000),
)


@given(rendered, st.none() | st.integers(1, 800))
def test_who_is_enrolled_and_who_is_not(spec, limit):
    gallery, probes = gallery_rows(spec, limit=limit), probe_rows(spec, limit=limit)
    enrolled, searched = set(gallery.identities), set(probes.identities)
    assert len(enrolled) == len(gallery) == min(limit or 10**9, spec.identities + spec.distractors)
    assert len(searched) == len(probes)
    assert enrolled & searched, "someone can be found"
    assert (len(searched - enrolled) > 0) == (spec.unknown > 0)
    calibration = set(calibration_rows(RenderedCalibration(images=50)).identities)
    assert calibration.isdisjoint(enrolled | searched)
    if limit is None:
        assert len(enrolled & searched) == spec.identities
        assert len(searched - enrolled) == spec.unknown


@given(rendered, st.integers(1, 800))
def test_a_limited_set_is_part_of_the_whole(spec, limit):
    for rows in (gallery_rows, probe_rows):
        part, whole = rows(spec, limit=limit), rows(spec)
        assert set(part.names) <= set(whole.names)
    part, whole = probe_rows(spec, limit=limit), probe_rows(spec)
    share = len(gallery_rows(spec, limit=limit)) / len(gallery_rows(spec))
    assert abs(len(part) - share * len(whole)) <= 3


def test_limit_takes_the_first_identities():
    spec = RenderedSet(identities=100, unknown=50)
    assert gallery_rows(spec, limit=10).identities == tuple(map(str, range(10)))
    assert probe_rows(spec, limit=10).identities == (
        *map(str, range(10)),
        *map(str, range(100, 105)),
    )
    with pytest.raises(UserError, match="limit of 0"):
        gallery_rows(spec, limit=0)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12))
def test_a_slice_is_a_part_of_the_whole(start, stop):
    rows = probe_rows(RenderedSet(identities=8, unknown=4))
    assert np.array_equal(rows.images(start, stop), rows.images()[start:stop])


def test_gallery_and_probe_show_the_same_person_differently():
    spec = RenderedSet(identities=3)
    gallery, probes = gallery_rows(spec).images(), probe_rows(spec).images()
    assert gallery.shape == probes.shape == (3, 112, 112, 3)
    assert np.abs(gallery.astype(int) - probes).mean() > 5


def test_fingerprints_of_rendered_rows():
    spec = RenderedSet(identities=5, unknown=2)
    same = gallery_rows(spec)
    assert same.fingerprint() == gallery_rows(RenderedSet(identities=5, unknown=2)).fingerprint()
    assert pickle.loads(pickle.dumps(same)).fingerprint() == same.fingerprint()
    assert same.fingerprint() == gallery_rows(RenderedSet(identities=9), limit=5).fingerprint()
    others = [
        probe_rows(spec),
        gallery_rows(spec, limit=4),
        gallery_rows(spec.model_copy(update={"seed": 1})),
        gallery_rows(spec.model_copy(update={"difficulty": 1.0})),
        gallery_rows(spec.model_copy(update={"first_identity": 1})),
    ]
    assert len({rows.fingerprint() for rows in [same, *others]}) == 6


def save(path, value=0, size=(20, 30), mode="RGB"):
    """An image of `size` (width, height) filled with `value`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (value, 2 * value % 256, 3 * value % 256))
    image.convert(mode).save(path)


@pytest.fixture
def folder(tmp_path):
    """Ann (2 gallery images), Bob, Cid enrolled; Ann (2), Bob, and stranger Dan searched for."""
    gallery = ("gallery/ann/1", "gallery/ann/2", "gallery/bob/1", "gallery/cid/1")
    probes = ("probe/ann/3", "probe/ann/4", "probe/bob/2", "probe/dan/1")
    for n, place in enumerate((*gallery, *probes)):
        save(tmp_path / "faces" / f"{place}.png", n + 1)
    (tmp_path / "faces" / "gallery" / "ann" / "notes.txt").write_text("not an image")
    return tmp_path / "faces"


def own(path, source="folder"):
    return FolderSet.model_validate({"source": source, "path": path})


def test_a_folder(folder):
    gallery, probes = gallery_rows(own(folder)), probe_rows(own(folder))
    assert gallery.identities == ("ann", "ann", "bob", "cid")
    assert probes.identities == ("ann", "ann", "bob", "dan")
    images = probes.images(1, 3)
    assert images.shape == (2, 30, 20, 3)
    assert images[:, 0, 0].tolist() == [[6, 12, 18], [7, 14, 21]]
    assert gallery_rows(own(folder), limit=1).identities == ("ann", "ann")
    assert probe_rows(own(folder), limit=1).identities == ("ann", "ann", "dan")


def test_a_list_says_the_same_as_a_folder(folder, tmp_path):
    rows = ["file,identity,role"]
    rows += [
        f"{p.relative_to(tmp_path)},{p.parent.name},{p.parent.parent.name}"
        for p in sorted(folder.rglob("*.png"))
    ]
    (tmp_path / "faces.csv").write_text("\n".join(rows))
    for make in (gallery_rows, probe_rows):
        listed, found = make(own(tmp_path / "faces.csv", "list")), make(own(folder))
        assert listed.identities == found.identities
        assert np.array_equal(listed.images(), found.images())
        assert listed.fingerprint() == found.fingerprint()


def test_a_fingerprint_is_of_contents_not_of_places(folder, tmp_path):
    before = probe_rows(own(folder)).fingerprint()
    moved = folder.rename(tmp_path / "elsewhere")
    assert probe_rows(own(moved)).fingerprint() == before
    save(moved / "probe" / "dan" / "1.png", 99)
    changed = probe_rows(own(moved)).fingerprint()
    (moved / "probe" / "dan").rename(moved / "probe" / "eve")
    assert len({before, changed, probe_rows(own(moved)).fingerprint()}) == 3


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_grey_and_transparent_images_become_rgb(folder, mode):
    save(folder / "probe" / "dan" / "1.png", 40, mode=mode)
    assert probe_rows(own(folder)).images(3).shape == (1, 30, 20, 3)


def refused(call):
    with pytest.raises(UserError) as caught:
        call()
    return caught.value.message


def test_wrong_images_are_named(folder):
    bad = folder / "probe" / "bob" / "2.png"
    save(bad, size=(20, 31))
    message = refused(lambda: probe_rows(own(folder)))
    assert "1 image is of another size; 30 x 20 are expected (high x wide)" in message
    assert f"{bad}: 31 x 20" in message
    message = refused(lambda: probe_rows(own(folder), size=(112, 112)).images(0, 1))
    assert "112 x 112 are expected" in message
    bad.write_bytes(b"no image")
    assert f"{bad}: no image that farm reads" in refused(lambda: probe_rows(own(folder)))
    whole = (folder / "probe" / "ann" / "3.png").read_bytes()
    bad.write_bytes(whole[: len(whole) // 2])
    assert f"{bad}: PNG, damaged" in refused(lambda: probe_rows(own(folder)))


def test_a_file_that_changes_after_the_check_is_named(folder):
    changed = folder / "probe" / "bob" / "2.png"
    rows = probe_rows(own(folder))
    save(changed, size=(20, 31))
    assert f"{changed}: 31 x 20 pixels (high x wide); 30 x 20 are expected" in refused(rows.images)
    changed.unlink()
    assert str(changed) in refused(rows.images)
    unchecked = FileRows([ImageFile(changed, "bob")])
    assert str(changed) in refused(unchecked.fingerprint)


def test_wrong_folders_are_named(folder, tmp_path):
    assert "no such folder" in refused(lambda: gallery_rows(own(tmp_path / "gone")))
    save(folder / "gallery" / "loose.png")
    assert "lies in no identity's folder" in refused(lambda: gallery_rows(own(folder)))
    (folder / "gallery" / "loose.png").unlink()
    (folder / "probe").rename(folder / "prob")
    assert "no folder 'probe'" in refused(lambda: gallery_rows(own(folder)))
    (folder / "probe").mkdir()
    assert "no probe images" in refused(lambda: gallery_rows(own(folder)))
    save(folder / "probe" / "zoe" / "1.png")
    assert "no identity has both" in refused(lambda: gallery_rows(own(folder)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file,identity\na.png,ann\n", ":1: the column 'role' is missing"),
        (
            "file,identity,role\na.png,ann,galery\n",
            ":2: role must be gallery or probe, not 'galery'",
        ),
        ("file,identity,role\na.png,,probe\n", ":2: identity is empty"),
        ("file,identity,role\na.png,ann\n", ":2: role is empty"),
        ("file,identity,role\na.png,ann,probe\na.png,bob,probe\n", ":3: 'a.png' is defined twice"),
        ("file,identity,role\na,b.png,ann,probe\n", ":2: more fields than columns"),
        ("file,identity,role\na.png,ann,probe,x\n", ":2: more fields than columns"),
        ("file,identity,role\n", "no gallery images"),
        ("", ":1: the column 'file' is missing"),
    ],
)
def test_wrong_lists_are_told_by_line(tmp_path, text, expected):
    (tmp_path / "x.csv").write_text(text)
    assert f"x.csv{expected}" in refused(
        lambda: gallery_rows(own(tmp_path / "x.csv", "list"))
    ).replace("x.csv: no", "x.csvno")


def test_a_missing_list(tmp_path):
    assert "no such list" in refused(lambda: gallery_rows(own(tmp_path / "x.csv", "list")))


def test_calibration_from_files(folder):
    spec = {"source": "folder", "path": folder}
    assert len(calibration_rows(FolderCalibration.model_validate(spec))) == 8
    few = calibration_rows(FolderCalibration.model_validate({**spec, "images": 3}))
    assert few.images().shape == (3, 30, 20, 3)
    many = FolderCalibration.model_validate({**spec, "images": 9})
    assert "9 images are asked for, 8 are there" in refused(lambda: calibration_rows(many))
    none = FolderCalibration.model_validate({**spec, "path": folder / "probe" / "none"})
    assert "no such folder" in refused(lambda: calibration_rows(none))


def test_rendered_faces_have_one_size():
    for call in (
        lambda: gallery_rows(RenderedSet(identities=1), size=(96, 80)),
        lambda: calibration_rows(RenderedCalibration(), size=(96, 80)),
    ):
        assert "96 x 80 (high x wide) is asked for" in refused(call)
