"""rknn-toolkit2 for real: both default models, two targets, simulator against float32 and twin.

Runs where `farm toolchain install rknn` has been run; FARM_TEST_RKNN=install installs it first,
into a folder of the tests (minutes, gigabytes). Elsewhere it is skipped, in CI as well.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from orchestrator import environments, images
from orchestrator.calibration import calibrate, preprocess
from orchestrator.cli.main import main
from orchestrator.errors import ToolchainError
from orchestrator.fleet.boards.addressing import address_of
from orchestrator.fleet.boards.board import Artifact, BoardLink
from orchestrator.fleet.emulated.boards import EmulatedFleet
from orchestrator.graphs.sessions import faithful_session
from orchestrator.specs.artifact import ArtifactInterface
from orchestrator.specs.inventory import Board
from orchestrator.specs.model import load_model
from orchestrator.specs.testset import RenderedCalibration
from orchestrator.stages.parity import Simulator
from orchestrator.toolchains import Conversion, Scheme, make_twin, rknn_files, toolchain
from tests.toolchains import nets

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MODELS = Path(__file__).resolve().parents[2] / "models"
INT8 = Scheme("int8", "per-channel", "asymmetric", "minmax")
CALIBRATED, TRIED = 64, 32


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if os.environ.get("FARM_TEST_RKNN") == "install":
            patch.setenv("FARM_TOOLCHAINS", str(tmp_path_factory.mktemp("toolchains")))
            assert main(["toolchain", "install", "rknn", "--yes"]) == 0
        if environments.find("rknn") is None:
            pytest.skip("rknn-toolkit2 is not installed: farm toolchain install rknn")
        yield


@cache
def faces() -> np.ndarray:
    """Calibration faces, then others that are tried."""
    count = CALIBRATED + TRIED
    asked = RenderedCalibration(images=count, difficulty=1.5)
    return images.calibration_rows(asked, size=(112, 112)).images(0, count)


class Rows:
    def __len__(self) -> int:
        return TRIED

    def read(self, start: int, count: int) -> np.ndarray:
        return np.ascontiguousarray(faces()[CALIBRATED:][start : start + count])


def by_onnxruntime(model: bytes, ready: np.ndarray) -> np.ndarray:
    session = faithful_session(model)
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: image[None]})[0] for image in ready])


def by_simulator(made: Any, wants: dict[str, Any], kind: str, folder: Path) -> np.ndarray:
    """Features as a run makes them: the agent in the toolkit's environment."""
    board = Board.model_validate({"name": "sim", "kind": kind, "transport": "simulator"})
    fleet = EmulatedFleet(folder / "emulated")
    link = BoardLink(address_of(board, owner="test", state=folder, emulated=fleet))
    try:
        link.connect()
        fed = ArtifactInterface.of(made.manifest, "it")
        artifact = Artifact(
            f"{made.sha256[:32]}.{made.format}",
            made.sha256,
            "rknn_simulator",
            {"interface": fed.to_json()},
            fed.preprocessing(wants),
        )
        link.deploy(artifact, made.data)
        link.open(artifact)
        blocks = sorted(link.extract(Rows(), 8), key=lambda block: block.start)
        return np.concatenate([block.rows for block in blocks])
    finally:
        link.close()


@pytest.mark.parametrize("target", ["rk3588", "rv1126b"])
@pytest.mark.parametrize("name", ["synthface-ir", "synthface-mfn"])
def test_a_default_model_keeps_its_features(name: str, target: str, tmp_path: Path, capsys):
    spec = load_model(MODELS / f"{name}.yaml")
    model, wants = spec.path.read_bytes(), spec.input_meta
    chain = toolchain("rknn")
    quantized = chain.quantize(model, None, INT8).data
    calibration = faces()[:CALIBRATED]
    made = chain.convert(quantized, Conversion(target, wants, calibration))
    told = rknn_files.read_rknn(made.data)
    assert told.targets == (target,)
    assert told.outputs == ((1, spec.embedding_size),)

    bundle = chain.convert(quantized, Conversion(target, wants, calibration, simulate=True))
    simulated = by_simulator(bundle, wants, target, tmp_path)
    if (name, target) == ("synthface-ir", "rk3588"):
        # Parity asks the toolkit without an agent between.
        asked = Simulator("rknn", None, bundle.data).features(faces()[CALIBRATED:][:4], wants)
        np.testing.assert_array_equal(asked, simulated[:4])
    how = {"mean": wants["mean"], "std": wants["std"]}
    ready = preprocess(faces()[CALIBRATED:], **how)
    exact = by_onnxruntime(model, ready)
    table = calibrate(model, [preprocess(calibration, **how)], "minmax")
    twin = by_onnxruntime(make_twin("rknn", model, table, INT8).data, ready)
    to_float, to_twin, twins = (
        float(rknn_files.cosines(a, b).mean())
        for a, b in ((simulated, exact), (simulated, twin), (twin, exact))
    )
    with capsys.disabled():
        print(
            f"\n{name} {target} {INT8}: {len(made.data):,} bytes; mean cosine over {TRIED} images: "
            f"simulator to float32 {to_float:.5f}, simulator to twin {to_twin:.5f}, twin to "
            f"float32 {twins:.5f}"
        )
    assert to_float >= 0.98
    assert to_twin >= 0.95
    assert made.manifest["simulator_cosine"] >= 0.98


def test_an_operator_that_the_toolkit_refuses_is_named_with_the_command():
    chain = toolchain("rknn")
    proto = onnx.ModelProto.FromString(chain.quantize(nets.iresnet(), None, INT8).data)
    last = proto.graph.node[-1]
    last.CopyFrom(onnx.helper.make_node("RandomNormalLike", last.input[:1], last.output, "odd"))
    wanted = Conversion("rk3588", nets.PREPROCESSING, nets.photos(2))
    with pytest.raises(ToolchainError, match=r"rknn-toolkit2 2.*at node 'odd'") as caught:
        chain.convert(proto.SerializeToString(), wanted)
    assert "to repeat it by hand" in caught.value.hint
    assert "\x1b" not in caught.value.message
