"""The models that come with farm, on rendered faces: quantized they stay near float32."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from orchestrator.calibration import calibrate, preprocess
from orchestrator.images.renderer import render
from orchestrator.toolchains import Scheme, toolchain
from tests.toolchains import nets

MODELS = Path(__file__).parents[2] / "models"
STD = {"synthface-ir": 127.5, "synthface-mfn": 128.0}
SCHEMES = (
    Scheme("int8", "per-channel", "symmetric", "minmax"),
    Scheme("uint8", "per-tensor", "asymmetric", "minmax"),
)


@lru_cache
def faces(first: int, count: int) -> np.ndarray:
    return render(np.arange(first, first + count), np.zeros(count, int), difficulty=1.5)


@pytest.mark.parametrize(
    ("name", "floor"),
    [pytest.param("synthface-ir", 0.99, marks=pytest.mark.slow), ("synthface-mfn", 0.975)],
)
def test_cosine_to_float32(name: str, floor: float):
    model = (MODELS / f"{name}.onnx").read_bytes()
    table = calibrate(model, [preprocess(faces(2_000_000, 48), std=STD[name])])
    probes = preprocess(faces(0, 24), std=STD[name])
    reference = nets.run(model, probes)
    chain = toolchain("onnxruntime")
    for scheme in SCHEMES:
        made = chain.convert(chain.quantize(model, table, scheme).data)
        assert len(made.data) < 0.4 * len(model)
        cosine = nets.cosines(nets.run(made.data, probes), reference)
        assert floor < cosine.mean() < 0.9995, scheme
