"""Faces that a board's detector found: as this host's detector finds them, from raw outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from orchestrator.aligning.board_rows import BoardAlignedRows
from orchestrator.aligning.photo_rows import HostAlignedRows, photos_of
from orchestrator.data.features import Features
from orchestrator.graphs.sessions import faithful_session, joined
from orchestrator.images.photos import LetterboxedRows, RenderedPhotos
from orchestrator.specs.model import ModelSpec, load_model
from orchestrator.specs.photos import PhotosSet
from orchestrator.store.features import FeatureWriter

from ..red_detector import manifest, photo

OUTPUTS = [("heat", (1, 1, 32, 40)), ("scale", (1, 2, 32, 40)), ("offset", (1, 2, 32, 40))]
OUTPUTS += [("marks", (1, 10, 32, 40))]


def outputs_of(spec: ModelSpec, rows: LetterboxedRows, folder: Path, failed: int = -1) -> Path:
    """The detector's raw outputs of each photo, as a board stores them."""
    session = faithful_session(spec.path.read_bytes(), quiet=True)
    images = rows.images().astype(np.float32).transpose(0, 3, 1, 2)
    found = [joined(session.run(list(dict(OUTPUTS)), {"image": image[None]})) for image in images]
    features = np.stack(found)
    flags = np.arange(len(found)) == failed
    folder.mkdir()
    with FeatureWriter.open(folder, len(found), features.shape[1], "float32", {}) as writer:
        writer.add(Features(features, flags, rows.identities))
        writer.finish()
    return folder


def test_float32_outputs_give_the_faces_that_this_host_finds(tmp_path: Path) -> None:
    for who, corners in (("ann", ((160, 128),)), ("bob", ()), ("cid", ((80, 80), (240, 168)))):
        for role in ("gallery", "probe"):
            photo(tmp_path / "photos" / role / who / "1.png", *corners)
    spec = load_model(manifest(tmp_path)).with_outputs(OUTPUTS)
    photos = photos_of(PhotosSet(path=tmp_path / "photos", detector="red"), "probe")
    shown = LetterboxedRows(photos, spec.input.size)
    assert not shown.whole
    outputs = outputs_of(spec, shown, tmp_path / "outputs")
    board = BoardAlignedRows(photos, outputs, spec.detector_meta, 0.5, None)
    faces = board.images()
    assert np.array_equal(faces, HostAlignedRows(photos, spec, 0.5).images())
    assert board.lost(faces) == [1]

    failed = outputs_of(spec, shown, tmp_path / "failed", failed=0)
    faces = BoardAlignedRows(photos, failed, spec.detector_meta, 0.5, None).images()
    assert board.lost(faces) == [0, 1]  # what failed on the board is a photo without a face


def test_photos_of_the_inputs_size_are_taken_from_the_store(tmp_path: Path) -> None:
    spec = load_model(manifest(tmp_path)).with_outputs(OUTPUTS)
    numbers = np.arange(3)
    photos = RenderedPhotos(numbers, np.zeros_like(numbers), spec.input.size, 0, 0.5)
    shown = LetterboxedRows(photos, spec.input.size)
    assert shown.whole
    assert np.array_equal(shown.images(1, 2)[0], photos.photo(1))
    outputs = outputs_of(spec, shown, tmp_path / "outputs")
    stored = tmp_path / "images.npy"
    np.save(stored, shown.images())
    either = [
        BoardAlignedRows(photos, outputs, spec.detector_meta, 0.01, pixels).images()
        for pixels in (None, stored)
    ]
    assert either[0].any()
    assert np.array_equal(*either)
