"""The audit of test sets."""

import numpy as np
import numpy.typing as npt


def numbers(identity: int, shot: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Identity and shot as the renderer takes them."""
    return np.array([identity]), np.array([shot])
