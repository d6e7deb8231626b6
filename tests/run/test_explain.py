"""`farm explain` names a layer that was spoiled on purpose, and what keeping it float heals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from orchestrator.calibration.explain import LayerLoss, LayerReport
from orchestrator.cli.main import main
from orchestrator.cli.results.explain import _plain, _verdict
from orchestrator.diagnosis.explain import Effect, Explanation
from orchestrator.hashing import sha256_bytes
from tests.run.project import HOST, ROOT, Project, emulated, entry

BAD = "block1.conv2"
FACTOR = np.float32(4096)


def spoiled() -> bytes:
    """synthface-ir with one channel made small before a convolution and large in its weights.

    In float32 nothing changes, since PReLU is positively homogeneous; of one scale for the whole
    weight tensor that channel takes all the eight bits.
    """
    proto = onnx.load(ROOT / "models" / "synthface-ir.onnx")
    tensors = {tensor.name: tensor for tensor in proto.graph.initializer}
    made = {output: node for node in proto.graph.node for output in node.output}
    conv = next(node for node in proto.graph.node if node.name == BAD)
    normalization = made[made[conv.input[0]].input[0]]
    assert normalization.op_type == "BatchNormalization"
    weight = numpy_helper.to_array(tensors[conv.input[1]]).copy()
    weight[:, 3] *= FACTOR
    tensors[conv.input[1]].CopyFrom(numpy_helper.from_array(weight, conv.input[1]))
    for name in normalization.input[1:3]:
        values = numpy_helper.to_array(tensors[name]).copy()
        values[3] /= FACTOR
        tensors[name].CopyFrom(numpy_helper.from_array(values, name))
    return proto.SerializeToString()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("project"))
    uint8 = "uint8 per-tensor asymmetric"
    made.write(
        "  - {name: float32, boards: this-host, quantization: float32}\n" + entry("rv", uint8),
        HOST + emulated("rv", "rv1126"),
        identities=100,
    )
    model = spoiled()
    (made.folder / "models").mkdir()
    (made.folder / "models" / "spoiled.onnx").write_bytes(model)
    manifest = (ROOT / "models" / "synthface-ir.yaml").read_text()
    whole = sha256_bytes((ROOT / "models" / "synthface-ir.onnx").read_bytes())
    assert whole in manifest
    manifest = manifest.replace(whole, sha256_bytes(model)).replace("synthface-ir", "spoiled")
    (made.folder / "models" / "spoiled.yaml").write_text(manifest)
    matrix = made.folder / "matrix.yaml"
    matrix.write_text(matrix.read_text().replace("models: synthface-ir", "models: spoiled"))
    return made


@pytest.mark.slow
def test_the_spoiled_layer_is_named_and_keeping_it_float_heals(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    assert main(["explain", "rv", "--images", "16", "--limit", "100", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["first_bad"] == BAD
    assert found["executed_by"] == "twin"
    own = {layer["name"]: layer["own_channel_db"] for layer in found["layers"]}
    assert own[BAD] < found["usual_channel_db"] - 12
    effect = found["effect"]
    assert effect["layer"] == BAD
    assert effect["kept"] > effect["quantized"], effect
    assert effect["mated"] == 100
    assert effect["p"] < 0.05

    assert main(["explain", "rv", "--images", "4", "--no-effect"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"First noisy layer: {BAD} (Conv)" in said
    assert "its effect on Rank-1 was not measured" in said
    assert BAD in Path("explain-rv.svg").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["this-host"], "this-host is float32"),
        (["on-rw"], "did you mean 'on-rv'?"),
        (["rv", "--plot", "x.jpg"], ".svg or .png"),
        (["rv", "--run", "none"], "there is no run 'none'"),
    ],
)
def test_what_cannot_be_explained(
    project: Project,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(project.folder)
    assert main(["explain", *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gained", "lost", "p", "says"),
    [
        (20, 2, 0.0001, "First bad layer: conv1 (Conv): 3.0 dB"),
        (1, 0, 1.0, "No layer is known to cost accuracy. The first noisy one is conv1 (Conv)"),
        (2, 20, 0.0001, "No layer is known to cost accuracy."),  # it gets worse without its error
    ],
)
def test_a_layer_is_bad_only_where_its_effect_is_significant(
    gained: int, lost: int, p: float, says: str
) -> None:
    layer = LayerLoss("conv1", "Conv", 4.0, 0.8, 5.0, 0.9, 3.0)
    effect = Effect("conv1", 0.9, 0.8, 0.81, gained, lost, p, 100, 100)
    report = LayerReport((layer,), 16)
    found = Explanation("rv", "twin", "uint8", report, layer, True, effect)
    assert says in _verdict(found)
    assert (_plain(found)["first_bad"] == "conv1") is says.startswith("First bad")
    assert _plain(found)["first_noisy"] == "conv1"
