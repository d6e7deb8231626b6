"""The linear head: shrunk linear discriminant analysis (LDA) of a trained network's features.

Directions are whitened by the scatter within identities, which is shrunk towards a multiple of the
unit matrix. Of the scatter between identities the largest axes stay, each with the weight
sqrt(b / (b + 1)), where b is its variance between identities in units of that within.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from net import Network
from recipes import MEAN, Recipe

FITTED = 32_000  # faces, the first of those written
SHRINK, LEAST = 0.15, 0.02  # of the scatter within; least variance between, in units of that within
AT_ONCE = 64

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """`weight` (size, map); `mean` and `variance` (size,) of its outputs over the fitted faces."""

    weight: Floats
    mean: Floats
    variance: Floats


def maps(net: Network, recipe: Recipe, faces: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Feature maps of uint8 faces (n, 3, 112, 112), flattened: float32 (n, map)."""
    found = []
    with torch.no_grad():
        for k in range(0, len(faces), AT_ONCE):
            x = (torch.from_numpy(faces[k : k + AT_ONCE].copy()).float() - MEAN) / recipe.std
            found.append(net.map(x).numpy())
    return np.concatenate(found)


def directions(rows: npt.NDArray[np.float32], who: npt.NDArray[np.int64], size: int) -> Floats:
    """The `size` directions that tell identities apart best: float64 (size, columns)."""
    _, who, count = np.unique(who, return_inverse=True, return_counts=True)
    rows = rows - rows.mean(0)
    means = np.zeros((len(count), rows.shape[1]), np.float32)
    np.add.at(means, who, rows)
    means /= count[:, None]
    rows -= means[who]
    within = (rows.T @ rows / (len(rows) - len(count))).astype(np.float64)
    columns = len(within)
    within += SHRINK * np.trace(within) / columns * np.eye(columns)
    lower = np.linalg.cholesky(within)
    white = np.linalg.solve(lower, means.T.astype(np.float64))
    variance, axes = np.linalg.eigh(white @ white.T / len(count))
    variance, axes = variance[::-1][:size], axes[:, ::-1][:, :size]
    between = np.clip(variance - np.mean(1 / count), LEAST, None)
    return np.linalg.solve(lower.T, axes).T * np.sqrt(between / (between + 1))[:, None]


def fit(
    net: Network, recipe: Recipe, faces: npt.NDArray[np.uint8], who: npt.NDArray[np.int64]
) -> Head:
    """Fit the head of a network (in evaluation mode) on the first faces."""
    rows, who = maps(net, recipe, faces[:FITTED]), who[:FITTED]
    if recipe.head == "map":
        weight = directions(rows, who, recipe.embedding_size)
    else:
        trained = net.fc.weight.detach().numpy()
        seen = directions(rows @ trained.T, who, recipe.embedding_size)
        weight = seen @ trained.astype(np.float64)
    out = rows @ weight.T.astype(np.float32)
    scale = float(out.std())
    return Head(weight / scale, out.mean(0) / scale, out.var(0) / scale**2)
