"""What a detector found in a set of images, as one file."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import numpy as np

from orchestrator.detection.boxes import POINTS, Detections
from orchestrator.detection.errors import DetectionError


def save_detections(found: Sequence[Detections]) -> bytes:
    """The bytes of an .npz; equal detections give equal bytes.

    Raises:
        DetectionError: some images' boxes have points and others' have none.
    """
    pointed = [each.points for each in found if each.points is not None]
    if pointed and len(pointed) != len(found):
        raise DetectionError("points of some images only")
    arrays = {
        "counts": np.array([len(each) for each in found], np.int64),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *(e.boxes for e in found)]),
        "scores": np.concatenate([np.zeros(0, np.float32), *(e.scores for e in found)]),
    }
    if pointed:
        arrays["points"] = np.concatenate(pointed)
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def load_detections(data: bytes) -> list[Detections]:
    """What `save_detections` wrote, one an image.

    Raises:
        DetectionError: these are no such bytes.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = dict(stored)
        ends = np.cumsum(arrays["counts"]).tolist()
        parts = [slice(e - int(c), e) for e, c in zip(ends, arrays["counts"], strict=True)]
        points = arrays.get("points")
        if points is not None and points.shape[1:] != (POINTS, 2):
            raise ValueError(f"points of the shape {points.shape}")
        return [
            Detections(
                arrays["boxes"][part],
                arrays["scores"][part],
                None if points is None else points[part],
            )
            for part in parts
        ]
    except (ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise DetectionError(f"not stored detections: {error}") from error
