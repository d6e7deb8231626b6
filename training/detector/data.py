"""Render training scenes: python data.py FOLDER IMAGES [PROCESSES]

Their numbers begin at 1,000,000; tests have those below, calibration those from 2,000,000. Needs
farm, but no torch.
"""

import pickle
import sys
from multiprocessing import Pool
from pathlib import Path

import numpy as np

from orchestrator.images.scenes import SceneSet
from orchestrator.specs.scenes import ScenesSet
from orchestrator.specs.testset import FIRST_TRAINING_ID

SHARD = 500  # scenes a file


def training_scenes(images: int) -> SceneSet:
    """Scenes that no test may have: the specification refuses their numbers on purpose."""
    spec = ScenesSet.model_construct(
        source="scenes",
        images=images,
        seed=0,
        size=(240, 320),
        difficulty=1.0,
        first_image=FIRST_TRAINING_ID,
    )
    return SceneSet(spec)


def shard(task: tuple[str, int, int]) -> int:
    """Write scenes of (folder, first, images in all): pixels as .npy, faces beside as .pkl."""
    folder, start, images = task
    scenes = training_scenes(images)
    drawn = [scenes.scene(k) for k in range(start, min(start + SHARD, images))]
    np.save(Path(folder) / f"{start:06}.npy", np.stack([m[0] for m in drawn]).transpose(0, 3, 1, 2))
    faces = [(m[1].boxes, m[1].points, m[1].ignored) for m in drawn]
    (Path(folder) / f"{start:06}.pkl").write_bytes(pickle.dumps(faces))
    return start


if __name__ == "__main__":
    out, count = sys.argv[1], int(sys.argv[2])
    Path(out).mkdir(parents=True, exist_ok=True)
    with Pool(int(sys.argv[3]) if len(sys.argv) > 3 else 2) as pool:
        for done in pool.imap_unordered(shard, [(out, k, count) for k in range(0, count, SHARD)]):
            print(done, flush=True)
