"""RKNN 2: what the toolkit is asked for, and tools that lie; the real one is in test_rknn_real."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.calibration import preprocess
from orchestrator.errors import ToolchainError, TransientError, UserError
from orchestrator.specs.artifact import ArtifactInterface
from orchestrator.stages.parity import Simulator
from orchestrator.toolchains import Conversion, Scheme, rknn_files, toolchain
from orchestrator.toolchains.process import ToolRun
from orchestrator.toolchains.vendors import rknn
from tests.toolchains import fake_rknn, nets

CHANNEL = Scheme("int8", "per-channel", "asymmetric", "minmax")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FARM_TOOLCHAINS", str(tmp_path / "toolchains"))
    return tmp_path / "toolchains"


def wanted(**other: object) -> Conversion:
    given = {"target": "rk3588", "preprocessing": nets.PREPROCESSING, "images": nets.photos(6)}
    return Conversion(**{**given, **other})  # type: ignore[arg-type]


def quantized(scheme: Scheme = CHANNEL) -> bytes:
    return toolchain("rknn").quantize(nets.iresnet(), None, scheme).data


def bundled(data: bytes, name: str) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(name)


def test_a_file_is_made_and_its_manifest_says_how_it_is_fed_and_who_calibrated(place: Path):
    fake_rknn.environment(place)
    made = toolchain("rknn").convert(quantized(), wanted())
    told = rknn_files.read_rknn(made.data)
    assert (told.targets, told.inputs) == (("rk3588",), ((1, 3, 16, 16),))
    fed = ArtifactInterface.of(made.manifest, "it").preprocessing(nets.PREPROCESSING)
    assert (fed["dtype"], fed["layout"], fed["mean"]) == ("uint8", "NHWC", [0.0] * 3)
    assert made.manifest["calibration"]["by"] == "rknn-toolkit2 9.9"
    assert made.manifest["calibration"]["algorithm"] == "normal"
    assert made.manifest["calibration"]["images"] == 6
    assert made.manifest["simulator_cosine"] == pytest.approx(1.0, abs=1e-5)
    assert "rknn-toolkit2 9.9" in made.manifest["version"]


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_the_simulator_makes_features_of_what_was_packed_for_it(place: Path, colour: str):
    fake_rknn.environment(place)
    chain = toolchain("rknn")
    means = {"mean": [10.0, 20.0, 30.0], "colour": colour}
    wants = {**nets.PREPROCESSING, **means}
    bundle = chain.convert(quantized(), wanted(preprocessing=wants, simulate=True)).data
    photos = nets.photos(3)
    swapped = photos[..., ::-1] if colour == "BGR" else photos
    ready = preprocess(np.ascontiguousarray(swapped), mean=means["mean"], std=wants["std"])
    got = Simulator("rknn", None, bundle).features(photos, wants)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, nets.run(nets.iresnet(), ready), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("scheme", "config", "build"),
    [
        (CHANNEL, {"quantized_method": "channel", "quantized_algorithm": "normal"}, True),
        (
            Scheme("int8", "per-tensor", "asymmetric", "entropy"),
            {"quantized_method": "layer", "quantized_algorithm": "kl_divergence"},
            True,
        ),
        (
            Scheme("int8", "per-channel", "asymmetric", "mmse"),
            {"quantized_dtype": "w8a8", "quantized_algorithm": "mmse"},
            True,
        ),
        (Scheme("float16"), {"float_dtype": "float16"}, False),
    ],
    ids=str,
)
def test_the_request_in_the_toolkits_words(place: Path, scheme: Scheme, config: dict, build: bool):
    fake_rknn.environment(place)
    images = None if scheme.is_float else nets.photos(3)
    asked = wanted(simulate=True, images=images)
    made = toolchain("rknn").convert(quantized(scheme), asked)
    assert made.format == "rknnsim"
    assert made.manifest["executed_by"] == "simulator"
    assert made == toolchain("rknn").convert(quantized(scheme), asked), "equal bytes"
    request = json.loads(bundled(made.data, "request.json"))
    assert config.items() <= request["config"].items()
    assert request["config"]["mean_values"] == [[127.5] * 3]
    assert request["build"]["do_quantization"] is build
    assert ("dataset" in request["build"]) is build


def test_calibration_images_have_the_channels_as_the_board_is_fed(place: Path):
    fake_rknn.environment(place)
    bgr = {**nets.PREPROCESSING, "colour": "BGR"}
    made = toolchain("rknn").convert(quantized(), wanted(simulate=True, preprocessing=bgr))
    stored = np.asarray(Image.open(io.BytesIO(bundled(made.data, "00002.png"))))
    np.testing.assert_array_equal(stored, nets.photos(6)[2][..., ::-1])
    assert bundled(made.data, "dataset.txt").splitlines()[2] == b"./00002.png"


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("raises", r"at node 'conv1' \(Conv\): build raised ValueError: Oops: bad node conv1"),
        (
            "code",
            r"at node 'conv2' \(Conv\): build returned -1, expected 0\n(.*\n)?.*no memory",
        ),
        ("no file", "No such file or directory"),
        ("dies", r"ended with exit code 0 and left no result\.json"),
        ("other model", r"does not compute this model.*mean cosine of -1\.000"),
        ("other target", r"is for rk3566 .*expected rk3588"),
    ],
)
def test_a_failure_names_tool_target_node_and_the_command(place: Path, mode: str, words: str):
    fake_rknn.environment(place, mode)
    with pytest.raises(ToolchainError, match=words) as caught:
        toolchain("rknn").convert(quantized(), wanted())
    assert "to repeat it by hand: " in caught.value.hint
    assert str(place) in caught.value.hint
    assert "\x1b" not in caught.value.message


def test_a_toolkit_that_hangs_is_stopped(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rknn, "_DEADLINE", 2.0)
    monkeypatch.setenv("FARM_DEADLINES", '{"convert_s": 1800}')  # half of the usual
    fake_rknn.environment(place, "hangs")
    with pytest.raises(TransientError, match="still running after 1 s") as caught:
        toolchain("rknn").convert(quantized(), wanted())
    assert caught.value.message.endswith("(1 s by convert_s: 1800 s)")
    assert """FARM_DEADLINES='{"convert_s": 3600}'""" in caught.value.hint


def test_without_the_toolkit_the_command_that_brings_it_is_said(place: Path):
    chain = toolchain("rknn")
    assert chain.missing() == ("rknn-toolkit2",)
    with pytest.raises(ToolchainError, match="not installed") as caught:
        chain.convert(quantized(), wanted())
    assert caught.value.hint == "farm toolchain install rknn"


def test_float_layers_and_files_of_others_are_refused():
    with pytest.raises(UserError, match="does not offer"):
        quantized(Scheme(*CHANNEL.axes, calibrator="minmax", keep_float=("conv1",)))
    with pytest.raises(UserError, match="does not say its scheme"):
        toolchain("rknn").convert(nets.iresnet(), wanted())


@pytest.mark.parametrize("data", [b"", b"RKNN", b"RKNN" + bytes(200), b"TM" * 500])
def test_what_is_no_rknn_file_is_said(data: bytes):
    with pytest.raises(ToolchainError, match="RKNN file"):
        rknn_files.read_rknn(data)


def test_layers_that_are_not_the_npus_are_read_off_the_compilers_table():
    log = (
        "D RKNN: [01:12:51.160] ID   OpType   DataType Target InputShape  OutputShape  FullName\n"
        "D RKNN: [01:12:51.160] 0    InputOperator FLOAT16 CPU \\  (1,3,16,16) 0 InputOperator:x\n"
        "D RKNN: [01:12:51.160] 1    Conv     FLOAT16  NPU (1,3,16,16) (1,4,14,14) 2 Conv:conv1 \n"
        "D RKNN: [01:12:51.160] 2    Det      FLOAT16  CPU (1,4,14,14) (1,4) 0/0/0 3 Det:det \n"
    )
    assert rknn_files.layers_off_npu(log) == ["Det:det"]


def test_last_words_have_no_paint():
    log = "\x1b[1;33mW\x1b[0m careful\n  0%|   |\r 50%|#  |\rdone\r\n\x1b]0;title\x07ok\n\n"
    assert ToolRun("x", 0, log).last_words == "W careful\ndone\nok"
