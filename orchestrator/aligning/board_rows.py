"""Photos as aligned faces where a board has run the detector: its raw outputs are in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orchestrator.aligning.photo_rows import AlignedRows
from orchestrator.detection import Detections, detect, detector_spec
from orchestrator.images.photos import Photos
from orchestrator.store.features import read_features


class BoardAlignedRows(AlignedRows):
    """Faces that a detector found on a board.

    Args:
        photos: in the order of the rows.
        outputs: folder of the detector's raw outputs in the store, one row a photo.
        detector: `ModelSpec.detector_meta`.
        min_score: a photo without a box of this score has no face.
        pixels: the photos' pixels, uint8 (n, height, width, 3), where the store has them: they
            need not be read or rendered again.
    """

    def __init__(
        self,
        photos: Photos,
        outputs: Path,
        detector: Mapping[str, Any],
        min_score: float,
        pixels: Path | None,
    ) -> None:
        super().__init__(photos)
        self._outputs, self._pixels = outputs, pixels
        self._spec = replace(detector_spec(detector), min_score=min_score)

    def _photo(self, number: int) -> npt.NDArray[np.uint8]:
        if self._pixels is None:
            return super()._photo(number)
        return np.array(np.load(self._pixels, mmap_mode="r")[number])

    def _found(self, number: int, pixels: npt.NDArray[np.uint8]) -> Detections | None:
        rows, failed, _ = read_features(self._outputs, verify=False)
        if failed[number]:
            return None
        height, width = pixels.shape[:2]
        return detect(np.asarray(rows[number]), self._spec, (height, width))
