"""rknn-toolkit2 for real: both default models, simulator against float32 and twin, files.

`make test-vendor` installs the toolkit by farm's own command and runs this.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from orchestrator import environments, images
from orchestrator.calibration import calibrate, preprocess
from orchestrator.errors import ToolchainError
from orchestrator.fleet.boards.addressing import address_of
from orchestrator.fleet.boards.board import Artifact, BoardLink
from orchestrator.fleet.emulated.boards import EmulatedFleet
from orchestrator.graphs.sessions import faithful_session
from orchestrator.specs.artifact import ArtifactInterface
from orchestrator.specs.inventory import Board
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.model import load_model
from orchestrator.specs.testset import RenderedCalibration
from orchestrator.stages.parity import Simulator
from orchestrator.toolchains import Conversion, Scheme, make_twin, rknn_files, toolchain
from tests.toolchains import nets

pytestmark = [pytest.mark.slow, pytest.mark.vendor, pytest.mark.timeout(600)]
MODELS = Path(__file__).resolve().parents[2] / "models"
INT8 = Scheme("int8", "per-channel", "asymmetric", "minmax")
HALF = Scheme("float16")
CALIBRATED, TRIED = 32, 16


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if environments.find("rknn") is None:
        fails = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        fails("rknn-toolkit2 is not installed: farm toolchain install rknn")


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


@dataclass(frozen=True, eq=False)
class Model:
    """A default model with what onnxruntime makes of it on this host."""

    data: bytes
    wants: dict[str, Any]
    dim: int
    ready: np.ndarray
    exact: np.ndarray

    @classmethod
    @cache
    def named(cls, name: str) -> Model:
        spec = load_model(MODELS / f"{name}.yaml")
        data, wants = spec.path.read_bytes(), spec.input_meta
        ready = preprocess(faces()[CALIBRATED:], mean=wants["mean"], std=wants["std"])
        return cls(data, wants, spec.embedding_size, ready, by_onnxruntime(data, ready))

    def twin(self) -> np.ndarray:
        """Features of the int8 twin; there is none of float16."""
        how = {"mean": self.wants["mean"], "std": self.wants["std"]}
        table = calibrate(self.data, [preprocess(faces()[:CALIBRATED], **how)], "minmax")
        return by_onnxruntime(make_twin("rknn", self.data, table, INT8).data, self.ready)

    def made_for(self, target: str, scheme: Scheme, *, simulate: bool) -> Any:
        """What `convert` makes."""
        chain = toolchain("rknn")
        images = None if scheme.is_float else faces()[:CALIBRATED]
        wanted = Conversion(target, self.wants, images, simulate=simulate)
        return chain.convert(chain.quantize(self.data, None, scheme).data, wanted)


@pytest.mark.parametrize(
    ("name", "target", "scheme"),
    [
        ("synthface-ir", "rk3588", INT8),
        ("synthface-mfn", "rk3588", HALF),
        ("synthface-mfn", "rk3566", INT8),
        ("synthface-ir", "rk3566", HALF),
        ("synthface-ir", "rv1106", INT8),
        ("synthface-mfn", "rv1103", INT8),
    ],
    ids=lambda each: each.dtype if isinstance(each, Scheme) else each,
)
def test_the_simulator_stays_near_float32_and_near_the_twin(
    name: str, target: str, scheme: Scheme, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model.named(name)
    bundle = model.made_for(target, scheme, simulate=True)
    simulated = Simulator("rknn", None, bundle.data).features(faces()[CALIBRATED:], model.wants)
    found = {"simulator to float32": (simulated, model.exact)}
    if scheme is INT8:
        twin = model.twin()
        found |= {"simulator to twin": (simulated, twin), "twin to float32": (twin, model.exact)}
    means = {name: float(rknn_files.cosines(*pair).mean()) for name, pair in found.items()}
    with capsys.disabled():
        words = ", ".join(f"{name} {mean:.5f}" for name, mean in means.items())
        print(f"\n{name} {target} {scheme.dtype}: mean cosine over {TRIED} images: {words}")
    assert simulated.shape == (TRIED, model.dim)
    assert means["simulator to float32"] >= (0.9995 if scheme is HALF else 0.98)
    assert means.get("simulator to twin", 1.0) >= 0.95


@pytest.mark.parametrize(
    ("name", "target", "scheme"),
    [("synthface-mfn", "rk3588", INT8), ("synthface-mfn", "rv1106", INT8)],
    ids=lambda each: each.dtype if isinstance(each, Scheme) else each,
)
def test_a_file_is_for_its_target_and_has_the_models_features(
    name: str, target: str, scheme: Scheme
) -> None:
    model = Model.named(name)
    made = model.made_for(target, scheme, simulate=False)
    told = rknn_files.read_rknn(made.data)
    assert told.targets == (target,)
    assert told.outputs == ((1, model.dim),)
    assert made.manifest["simulator_cosine"] >= 0.98


@pytest.mark.parametrize("target", ["rv1103", "rv1106"])
def test_what_the_toolkit_cannot_build_for_a_chip_is_no_scheme_of_its_kind(target: str) -> None:
    kind = load_kinds()[target]
    assert [kind.float16, kind.float32] == [False, False]
    with pytest.raises(ToolchainError, match="not support do_quantization = False"):
        Model.named("synthface-mfn").made_for(target, HALF, simulate=False)


def test_a_row_of_a_simulator_has_what_parity_asks_the_toolkit_for(tmp_path: Path) -> None:
    """The agent in the toolkit's environment, as a run has it, and the toolkit without one."""
    model = Model.named("synthface-mfn")
    bundle = model.made_for("rk3588", INT8, simulate=True)
    simulated = by_simulator(bundle, model.wants, "rk3588", tmp_path)
    asked = Simulator("rknn", None, bundle.data).features(faces()[CALIBRATED:][:4], model.wants)
    np.testing.assert_array_equal(asked, simulated[:4])


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
