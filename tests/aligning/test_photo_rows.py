"""Photos as rows of a test set: faces as `farm align` makes them, and photos without one."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from orchestrator.aligning.photo_rows import AlignedRows, HostAlignedRows, detector_of, photos_of
from orchestrator.data.features import Features
from orchestrator.detection.align import aligned
from orchestrator.errors import UserError
from orchestrator.images.decoder import decode
from orchestrator.specs.model import ModelSpec, load_model
from orchestrator.specs.photos import PhotosSet
from orchestrator.stages.score import search

from ..red_detector import manifest, photo


@pytest.fixture
def detector(tmp_path: Path) -> ModelSpec:
    return load_model(manifest(tmp_path))


@pytest.fixture
def photos(tmp_path: Path) -> PhotosSet:
    for who, gallery, probe in (
        ("ann", ((160, 128),), ((80, 80), (240, 168))),
        ("bob", ((120, 96),), ()),
        ("cid", ((144, 96),), ((96, 96),)),
    ):
        photo(tmp_path / "photos" / "gallery" / who / "1.png", *gallery)
        photo(tmp_path / "photos" / "probe" / who / "2.png", *probe)
    return PhotosSet(path=tmp_path / "photos", detector="red")


def aligned_rows(
    photos: PhotosSet, role: str, model: ModelSpec, limit: int | None = None
) -> HostAlignedRows:
    return HostAlignedRows(photos_of(photos, role, limit=limit), model, photos.min_score)


def test_each_photo_is_its_largest_face_aligned_and_one_without_is_lost(
    photos: PhotosSet, detector: ModelSpec
) -> None:
    rows = aligned_rows(photos, "probe", detector)
    assert rows.identities == ("ann", "bob", "cid")
    images = rows.images()
    assert images.shape == (3, 112, 112, 3)
    assert rows.lost(images) == [1]
    pixels = decode(Path(rows.names[2]).read_bytes()).pixels
    found = detector_of(detector, 0.5).find(pixels)
    assert found.points is not None
    assert np.array_equal(images[2], aligned(pixels, found.points[0]))
    assert np.array_equal(rows.images(2, 3)[0], images[2])


def test_helper_processes_get_rows_that_have_run(photos: PhotosSet, detector: ModelSpec) -> None:
    rows = aligned_rows(photos, "gallery", detector)
    first = rows.images(0, 1)
    again: AlignedRows = pickle.loads(pickle.dumps(rows))
    assert np.array_equal(again.images(0, 1), first)
    assert again.fingerprint() == rows.fingerprint()


def test_what_decides_the_faces_is_in_the_fingerprint(
    photos: PhotosSet, detector: ModelSpec
) -> None:
    def fingerprint(spec: PhotosSet, model: ModelSpec) -> str:
        return aligned_rows(spec, "gallery", model).fingerprint()

    usual = fingerprint(photos, detector)
    assert fingerprint(photos.model_copy(update={"min_score": 0.6}), detector) != usual
    other = detector.model_copy(update={"sha256": "0" * 64})
    assert fingerprint(photos, other) != usual
    swapped = detector.input.model_copy(update={"colour": "BGR"})
    assert fingerprint(photos, detector.model_copy(update={"input": swapped})) != usual


def test_a_limit_takes_the_first_identities_and_their_probes(
    photos: PhotosSet, detector: ModelSpec
) -> None:
    assert aligned_rows(photos, "gallery", detector, limit=2).identities == ("ann", "bob")
    assert aligned_rows(photos, "probe", detector, limit=2).identities == ("ann", "bob")


def test_the_heads_of_manifest_and_file_must_agree(detector: ModelSpec) -> None:
    assert detector.detection is not None
    wrong = detector.detection.model_copy(update={"head": "scrfd"})
    with pytest.raises(UserError, match="are those of 'centerface', not of 'scrfd'"):
        detector_of(detector.model_copy(update={"detection": wrong}), 0.5)


def test_a_photo_without_a_face_is_a_miss_at_every_rank() -> None:
    rows = np.eye(3, dtype=np.float32)
    people = ("ann", "bob", "cid")

    def rank1(lost: int) -> float:
        whole = np.zeros(3, bool)
        failed = whole.copy()
        failed[lost] = True
        found, _ = search(Features(rows, whole, people), Features(rows, failed, people), "mean")
        assert found.rank is not None
        return float((found.rank == 1).mean())

    assert rank1(1) == pytest.approx(2 / 3)
