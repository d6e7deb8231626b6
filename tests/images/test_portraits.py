"""Rendered photos: each shows one person, repeats to the pixel, and the detector finds the face."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from orchestrator.aligning.photo_rows import HostAlignedRows, photos_of
from orchestrator.images.photos import RenderedPhotos
from orchestrator.images.scenes import portrait
from orchestrator.specs.model import load_model
from orchestrator.specs.photos import RenderedPhotosSet

ROOT = Path(__file__).resolve().parents[2]
SIZE = (240, 320)


def test_a_photo_is_a_function_of_its_numbers() -> None:
    first = portrait(0, 5, 0, SIZE, 1.0)
    assert first.shape == (*SIZE, 3)
    assert np.array_equal(first, portrait(0, 5, 0, SIZE, 1.0))
    for other in ((1, 5, 0), (0, 6, 0), (0, 5, 1)):
        assert not np.array_equal(first, portrait(*other, SIZE, 1.0))


def test_the_roles_of_a_set_are_those_of_rendered_faces() -> None:
    spec = RenderedPhotosSet(identities=3, distractors=2, unknown=2, detector="synthdet")
    gallery, probes = (photos_of(spec, role) for role in ("gallery", "probe"))
    assert gallery.identities == ("0", "1", "2", "3", "4")
    assert probes.identities == ("0", "1", "2", "5", "6")
    assert photos_of(spec, "gallery", limit=2).identities == ("0", "3")
    assert not np.array_equal(gallery.photo(0), probes.photo(0))
    assert gallery.fingerprint() != probes.fingerprint()


@pytest.mark.slow
def test_the_default_detector_finds_nearly_everybody() -> None:
    ids = np.arange(24)
    photos = RenderedPhotos(ids, np.zeros_like(ids), SIZE, 0, 0.5)
    rows = HostAlignedRows(photos, load_model(ROOT / "models" / "synthdet.yaml"), 0.5)
    assert len(rows.lost(rows.images())) <= 1
