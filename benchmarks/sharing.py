"""One extraction over four equal boards against one board: real SSH, a runtime of an exact time.

The boards are emulated (real SSH servers, the real agent) and take 40 ms an image; who makes which
rows is decided by the code that a run uses. Goal: at least 3.6 times as fast.
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
GOAL = 3.6
FILE = b"timed"
ARTIFACT = Artifact(
    name="timed.bin",
    sha256=hashlib.sha256(FILE).hexdigest(),
    runtime="timed",
    options={"ms": MS, "dim": DIM},
    preprocessing={
        "layout": "NHWC",
        "colour": "RGB",
        "height": SIZE,
        "width": SIZE,
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
    },
)


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


def main() -> int:
    """Print the ratio; 1 when it misses the goal."""
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder, EmulatedFleet(Path(folder) / "boards") as fleet:
        links = []
        for name in ("one", "two", "three", "four"):
            board = Board.model_validate(
                {"name": name, "kind": "khadas-vim3", "transport": "emulated"}
            )
            place = address_of(board, owner="benchmark", state=Path(folder), emulated=fleet)
            link = BoardLink(place)
            link.connect()
            link.deploy(ARTIFACT, FILE)
            link.open(ARTIFACT)
            links.append(link)
        alone = extraction(links[:1], images, Path(folder) / "alone")
        shared = extraction(links, images, Path(folder) / "shared")
        same = (Path(folder) / "alone" / "features.npy").read_bytes() == (
            Path(folder) / "shared" / "features.npy"
        ).read_bytes()
        for link in links:
            link.close()
    ratio = alone / shared
    print(f"one board {alone:.2f} s ({alone / (IMAGES * MS / 1e3):.3f} of the runtime's own time)")
    print(f"four boards {shared:.2f} s, features {'equal' if same else 'DIFFER'}")
    print(f"four equal boards: {ratio:.2f} times as fast as one (goal {GOAL})")
    return 0 if ratio >= GOAL and same else 1


if __name__ == "__main__":
    sys.exit(main())
