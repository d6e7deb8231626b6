"""Sets of whole pictures whose faces are annotated: what a detector is tested with."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from orchestrator.detection.truth import TruthSet


class AnnotatedSet(Protocol):
    """Pictures in order, and where their faces are. Instances can be pickled."""

    @property
    def fingerprint(self) -> str:
        """Hash (hex) of what pictures and truth are made from.

        Rendered pictures may differ by one level between machines: what depends on pixels hashes
        pixels.
        """
        ...

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def image(self, number: int) -> npt.NDArray[np.uint8]:
        """Picture `number` (from 0): uint8 (height, width, 3), RGB.

        Raises:
            UserError: its file cannot be read; the file is named.
        """
        ...

    @property
    def truth(self) -> TruthSet:
        """Boxes, points and subsets, in the order of the pictures."""
        ...
