"""One extraction over several boards: four equal ones beside one, and eight unequal ones.

The boards are emulated (real SSH servers, the real agent), their runtime takes an exact time an
image and no processor; who makes which rows is decided by the code that a run uses. Goals: four are
at least 3.6 times as fast as one; eight of 20 to 100 ms an image reach 0.95 of what their runtimes'
own paces add up to.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from orchestrator.cluster.host_actor import _Rows
from orchestrator.fleet.boards.addressing import address_of
from orchestrator.fleet.boards.board import Artifact, BoardLink
from orchestrator.fleet.emulated.boards import EmulatedFleet
from orchestrator.specs.inventory import Board
from orchestrator.stages.shared_extraction import SharedExtraction
from orchestrator.store.features import FeatureWriter

IMAGES, SIZE, MS, DIM = 1000, 112, 40, 128
GOAL, UNEQUAL_GOAL = 3.6, 0.95
EQUAL = (MS,) * 4
UNEQUAL, MORE_IMAGES = (20, 25, 30, 40, 50, 60, 80, 100), 4000
FILE = b"timed"
PREPROCESSING = {
    "layout": "NHWC",
    "colour": "RGB",
    "height": SIZE,
    "width": SIZE,
    "mean": [0.0] * 3,
    "std": [1.0] * 3,
}


def artifact(ms: int) -> Artifact:
    """A file that takes `ms` an image."""
    sha256 = hashlib.sha256(FILE).hexdigest()
    return Artifact("timed.bin", sha256, "timed", {"ms": ms, "dim": DIM}, PREPROCESSING)


def extraction(links: list[BoardLink], images: np.ndarray, folder: Path) -> float:
    """Seconds until all features are on the disk."""
    folder.mkdir()
    with FeatureWriter.open(folder, len(images), DIM, "float32", {}) as writer:
        shared = SharedExtraction(writer, folder, len(images), several=True)

        def work(link: BoardLink) -> None:
            for start, stop in shared.pieces(link.address.name):
                for block in link.extract(_Rows(images, start, stop), 32):
                    shared.keep(block.moved(start))

        began = time.monotonic()
        threads = [threading.Thread(target=work, args=(link,)) for link in links]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        spent = time.monotonic() - began
        writer.finish()
    return spent


def connected(fleet: EmulatedFleet, folder: Path, name: str, ms: int) -> BoardLink:
    """A board with its file open."""
    board = Board.model_validate({"name": name, "kind": "khadas-vim3", "transport": "emulated"})
    link = BoardLink(address_of(board, owner="benchmark", state=folder, emulated=fleet))
    link.connect()
    link.deploy(artifact(ms), FILE)
    link.open(artifact(ms))
    return link


def pictures(count: int) -> np.ndarray:
    """Random images; uint8 (count, SIZE, SIZE, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)


def equal(fleet: EmulatedFleet, folder: Path) -> bool:
    """Four boards beside one; whether the goal is reached."""
    links = [connected(fleet, folder, f"equal{n}", ms) for n, ms in enumerate(EQUAL)]
    images = pictures(IMAGES)
    alone = extraction(links[:1], images, folder / "alone")
    shared = extraction(links, images, folder / "shared")
    same = (folder / "alone" / "features.npy").read_bytes() == (
        folder / "shared" / "features.npy"
    ).read_bytes()
    for link in links:
        link.close()
    ratio = alone / shared
    print(f"one board {alone:.2f} s ({alone / (IMAGES * MS / 1e3):.3f} of the runtime's own time)")
    print(f"four boards {shared:.2f} s, features {'equal' if same else 'DIFFER'}")
    print(f"four equal boards: {ratio:.2f} times as fast as one (goal {GOAL})", flush=True)
    return ratio >= GOAL and same


def unequal(fleet: EmulatedFleet, folder: Path) -> bool:
    """Eight boards of unequal paces; whether the goal is reached."""
    links = [connected(fleet, folder, f"unequal{n}", ms) for n, ms in enumerate(UNEQUAL)]
    spent = extraction(links, pictures(MORE_IMAGES), folder / "unequal")
    for link in links:
        link.close()
    pace = sum(1000 / ms for ms in UNEQUAL)
    reached = MORE_IMAGES / spent / pace
    print(f"eight boards of {min(UNEQUAL)} to {max(UNEQUAL)} ms an image: {spent:.2f} s, ", end="")
    print(f"{reached:.3f} of the sum of their paces (goal {UNEQUAL_GOAL})", flush=True)
    return reached >= UNEQUAL_GOAL


def main() -> int:
    """Print the ratios; 1 when one misses its goal."""
    with tempfile.TemporaryDirectory() as name, EmulatedFleet(Path(name) / "boards") as fleet:
        reached = [part(fleet, Path(name)) for part in (equal, unequal)]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
