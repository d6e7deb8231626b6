"""Figures of recognizers, side by side: python evaluate.py MODEL FILE.onnx [FILE.onnx ...]

Float32 and two integer schemes of farm's own onnxruntime toolchain, by farm's own scoring, on the
test set of matrix.yaml: rendered faces, none of them of training. Needs farm, but no torch.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from recipes import MEAN, RECIPES, Recipe

from orchestrator.calibration import calibrate, preprocess
from orchestrator.graphs.sessions import faithful_session
from orchestrator.images import Rows, calibration_rows, gallery_rows, probe_rows
from orchestrator.scoring import Estimate, Tar, TrialSet, identify, search
from orchestrator.specs.testset import RenderedCalibration, RenderedSet
from orchestrator.toolchains import Scheme, toolchain

IDENTITIES, UNKNOWN, DIFFICULTY, CALIBRATION = 3000, 1000, 1.5, 200  # as in matrix.yaml
FAR = 1e-3  # false alarms a search
AT_ONCE = 50
SCHEMES = (
    Scheme("int8", "per-channel", "symmetric", "minmax"),
    Scheme("uint8", "per-tensor", "asymmetric", "minmax"),
)
Pixels = npt.NDArray[np.uint8]


def pixels(rows: Rows) -> Pixels:
    """All images: uint8 (n, 112, 112, 3)."""
    return np.concatenate([rows.images(k, k + AT_ONCE) for k in range(0, len(rows), AT_ONCE)])


def features(model: bytes, images: Pixels, recipe: Recipe) -> npt.NDArray[np.float32]:
    """Features, float32 (n, size), one image at a time and computed as on emulated boards."""
    session = faithful_session(model, threads=1)
    found = [
        session.run(None, {recipe.input: preprocess(x[None], mean=MEAN, std=recipe.std)})[0]
        for x in images
    ]
    return np.concatenate(found)


def shown(figure: Estimate | Tar) -> str:
    """A figure with its interval."""
    return f"{figure.value:.4f} [{figure.low:.4f}, {figure.high:.4f}]"


def files_of(model: bytes, drawn: Pixels, recipe: Recipe) -> dict[str, bytes]:
    """The float32 file and one of each scheme, calibrated on `drawn`, by what they are called."""
    prepared = [preprocess(x[None], mean=MEAN, std=recipe.std) for x in drawn]
    table, chain = calibrate(model, prepared), toolchain("onnxruntime")
    files = {"float32": model}
    for scheme in SCHEMES:
        label = f"{scheme.dtype} {scheme.granularity} {scheme.symmetry}"
        files[label] = chain.convert(chain.quantize(model, table, scheme).data).data
    return files


def main(name: str, paths: list[str]) -> None:
    """Evaluate float32 and each scheme of each file."""
    recipe = RECIPES[name]
    spec = RenderedSet(identities=IDENTITIES, unknown=UNKNOWN, difficulty=DIFFICULTY)
    enrolled, searched = gallery_rows(spec), probe_rows(spec)
    trials = TrialSet(enrolled.identities, searched.identities)
    gallery, probes = pixels(enrolled), pixels(searched)
    calibration = RenderedCalibration(images=CALIBRATION, difficulty=DIFFICULTY)
    drawn = pixels(calibration_rows(calibration))
    for path in paths:
        for label, data in files_of(Path(path).read_bytes(), drawn, recipe).items():
            found = [features(data, images, recipe) for images in (gallery, probes)]
            figures = identify(search(*found, trials), far=(FAR,))
            rank1, tar = shown(figures.rank1), shown(figures.tar[FAR])
            print(f"{path}, {label}, {len(data):,} bytes: Rank-1 {rank1}, TAR {tar}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
