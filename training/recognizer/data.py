"""Render training faces: python data.py MODEL FOLDER [PROCESSES]

Writes faces.npy (pixels), labels.npy (whose face each is) and traits.npy (what the renderer drew of
whom). Needs farm, but no torch.
"""

from __future__ import annotations

import sys
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import numpy.typing as npt
from recipes import DIFFICULTY, FIRST_IDENTITY, RECIPES, SEED, SIZE

from orchestrator.images import render
from orchestrator.images.counter import normal, uniform
from orchestrator.images.face import IDENTITY_NUMBERS, RELIEF_BLOBS
from orchestrator.specs.testset import FIRST_CALIBRATION_ID, FIRST_TRAINING_ID

SHARD = 256  # faces rendered at once
GLASSES, LONG_HAIR = (31, 0.22), (32, 0.45)  # number of an identity, and what it stays below
GRID_Y, GRID_X = np.mgrid[16:112:8j, 26:86:8j].reshape(2, -1)  # where relief is looked at

Floats = npt.NDArray[np.float64]


def order(faces: int) -> npt.NDArray[np.int64]:
    """The faces in the order in which they are written: int64 (faces,)."""
    return np.random.default_rng(SEED).permutation(faces)


def traits(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """What the renderer draws of each identity, standardized: float32 (identities, 104).

    36 numbers of shape and colour, two of the hairline, glasses, long hair, and the face's relief
    (a sum of blobs) at 8 x 8 places.
    """
    nobody = np.zeros(len(ids))
    chance = uniform(SEED, 1, ids, nobody, IDENTITY_NUMBERS)
    number = normal(chance)
    flags = [chance[:, k : k + 1] < limit for k, limit in (GLASSES, LONG_HAIR)]
    found = np.concatenate([number[:, :36], number[:, 45:47], *flags, relief(ids)], 1)
    return ((found - found.mean(0)) / found.std(0)).astype(np.float32)


def relief(ids: npt.NDArray[np.int64]) -> Floats:
    """Height of the personal relief at the grid's places: float64 (identities, 64)."""
    drawn = normal(uniform(SEED, 3, ids, np.zeros(len(ids)), RELIEF_BLOBS * 4))
    x, y, spread, height = drawn.reshape(len(ids), RELIEF_BLOBS, 4, 1).transpose(2, 0, 1, 3)
    x, y = 56 + 15 * np.clip(x, -2, 2), 64 + 20 * np.clip(y, -2, 2)
    far = (GRID_X - x) ** 2 + (GRID_Y - y) ** 2
    heights: Floats = (height * np.exp(-0.5 * far / (3 + 4 * np.abs(spread)) ** 2)).sum(1)
    return heights


def shard(task: tuple[str, int, npt.NDArray[np.int64], npt.NDArray[np.int64]]) -> int:
    """Render faces (path, first row, identities, shots) into the file; their number."""
    path, start, ids, shots = task
    faces = np.load(path, mmap_mode="r+")
    drawn = render(ids, shots, SEED, DIFFICULTY)
    faces[start : start + len(ids)] = drawn.transpose(0, 3, 1, 2)
    return len(ids)


def main(name: str, folder: Path, processes: int) -> None:
    """Write the three files of a model."""
    recipe = RECIPES[name]
    if not FIRST_TRAINING_ID <= FIRST_IDENTITY <= FIRST_CALIBRATION_ID - recipe.identities:
        raise SystemExit("these identities belong to tests or to calibration")
    folder.mkdir(parents=True, exist_ok=True)
    at = order(recipe.faces)
    labels, shots = at // recipe.shots, at % recipe.shots
    np.save(folder / "labels.npy", labels)
    np.save(folder / "traits.npy", traits(FIRST_IDENTITY + np.arange(recipe.identities)))
    path = str(folder / "faces.npy")
    np.lib.format.open_memmap(path, "w+", np.uint8, (recipe.faces, 3, SIZE, SIZE))
    parts = [slice(k, k + SHARD) for k in range(0, recipe.faces, SHARD)]
    tasks = [(path, part.start, FIRST_IDENTITY + labels[part], shots[part]) for part in parts]
    written = 0
    with Pool(processes) as pool:
        for count in pool.imap_unordered(shard, tasks):
            written += count
            print(f"{written:,} of {recipe.faces:,}", end="\r", flush=True)
    print()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
