"""Images for a model whose user gave none of its size: smooth colours with a little noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pictures(count: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """uint8 (count, height, width, 3), all different, none of them flat."""
    random = np.random.default_rng(seed)
    rows = np.linspace(0, 1, size[0])[:, None, None]
    columns = np.linspace(0, 1, size[1])[None, :, None]
    images = []
    for _ in range(count):
        waves = random.uniform(0.5, 4, (2, 4, 3))
        phase, strength = random.uniform(0, 6.3, (4, 3)), random.uniform(5, 40, (4, 3))
        image = np.full((*size, 3), 1.0) * random.uniform(90, 160, 3)
        for k in range(4):
            angle = 6.3 * (waves[0, k] * rows + waves[1, k] * columns) + phase[k]
            image = image + strength[k] * np.sin(angle)
        images.append(np.clip(image + random.normal(0, 6, image.shape), 0, 255).astype(np.uint8))
    return np.stack(images)
