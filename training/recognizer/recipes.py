"""What each default recognizer is trained on, and how its file looks. Needs neither farm nor torch.

`tests/test_training.py` compares these numbers with the manifests in `models/`.
"""

from __future__ import annotations

from dataclasses import dataclass

SEED, DIFFICULTY = 0, 1.0
FIRST_IDENTITY = 1_000_000  # tests have the numbers below, calibration those from 2,000,000
BATCH = 64  # faces a step
SIZE = 112  # pixels of a side
MEAN = 127.5
MAP = (64, 7, 7)  # of the last convolution whose output the head reads


@dataclass(frozen=True)
class Recipe:
    """One model: its training faces, its length of training, its names in the ONNX file.

    `head` is what the linear head is fitted on: the network's last feature map, or only the
    directions of it that the trained head looks at.
    """

    identities: int
    shots: int
    passes: int
    std: float
    input: str
    output: str
    embedding_size: int
    head: str
    graph: str
    ir_version: int

    @property
    def faces(self) -> int:
        """Training images."""
        return self.identities * self.shots

    @property
    def steps(self) -> int:
        """Steps of training."""
        return self.passes * self.faces // BATCH


RECIPES = {
    "synthface-ir": Recipe(
        identities=4800,
        shots=12,
        passes=1,
        std=127.5,
        input="data",
        output="fc1",
        embedding_size=256,
        head="trained",
        graph="synthface_ir",
        ir_version=7,
    ),
    "synthface-mfn": Recipe(
        identities=1600,
        shots=28,
        passes=2,
        std=128.0,
        input="input",
        output="embedding",
        embedding_size=128,
        head="map",
        graph="synthface_mfn",
        ir_version=8,
    ),
}
