"""RKNN 1.x: the toolkit where the user has it, on this computer and over real SSH."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from orchestrator.errors import ToolchainError, TransientError, UserError
from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.specs.artifact import ArtifactInterface
from orchestrator.toolchains import Conversion, Scheme, converter_host, toolchain
from orchestrator.toolchains.vendors import rknn1
from tests.openssh import running_sshd
from tests.toolchains import fake_rknn, nets

U8 = Scheme("uint8", "per-tensor", "asymmetric", "minmax")
# Whatever Python of its age is here, as the toolkit's own would be.
OLD = sorted(Path.home().glob(".pyenv/versions/3.6.*/bin/python3"))
PREPROCESSING = {**nets.PREPROCESSING, "mean": [120.0, 127.5, 130.0], "std": [60.0, 64.0, 128.0]}


def wanted(colour: str = "RGB") -> Conversion:
    given = {**PREPROCESSING, "colour": colour}
    return Conversion("rv1126", given, nets.photos(5))


def quantized() -> bytes:
    return toolchain("rknn1").quantize(nets.iresnet(), None, U8).data


def told(data: bytes) -> dict:
    """What the substitute wrote into its file."""
    (graph,) = struct.unpack_from("<Q", data, 16)
    return json.loads(data[64 + graph + 8 :])["made"]


def expected(colour: str) -> tuple[float, int, np.ndarray]:
    """Scale, zero point and channel means of the input, by the documented formula."""
    images = nets.photos(5)[..., ::-1] if colour == "BGR" else nets.photos(5)
    values = (images.astype(float) - PREPROCESSING["mean"]) / PREPROCESSING["std"]
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    scale = (high - low) / 255
    return scale, round(-low / scale), images.reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_the_toolkit_sees_images_mean_and_std_as_the_board_will(tmp_path: Path, colour: str):
    python = fake_rknn.install(
        tmp_path, 1, version="1.7.5", python=str(OLD[0]) if OLD else "python3"
    )
    chain = toolchain("rknn1", {"python": str(python)})
    made = chain.convert(quantized(), wanted(colour))
    scale, zero_point, means = expected(colour)
    found = told(made.data)
    assert found["scale"] == pytest.approx(scale)
    assert found["zero_point"] == zero_point
    np.testing.assert_allclose(found["means"], means)
    assert found["images"] == 5
    assert found["config"]["quantized_dtype"] == "asymmetric_affine-u8"
    assert found["config"]["reorder_channel"] == "0 1 2"
    assert found["config"]["target_platform"] == ["rv1126"]
    fed = ArtifactInterface.of(made.manifest, "it").preprocessing(
        {**PREPROCESSING, "colour": colour}
    )
    assert (fed["dtype"], fed["layout"], fed["colour"]) == ("uint8", "NHWC", colour)
    assert made.manifest["calibration"]["by"] == "rknn-toolkit 1.7.5"
    assert (made.format, made.manifest["target"]) == ("rknn", "rv1126")


def test_pre_compile_is_asked_for_and_part_of_the_version(tmp_path: Path):
    python = fake_rknn.install(tmp_path, 1, version="1.7.3")
    options = {"python": str(python), "version": "1.7.3", "pre_compile": True}
    chain = toolchain("rknn1", options)
    assert told(chain.convert(quantized(), wanted()).data)["pre_compile"] is True
    assert "pre-compiled" in chain.version()
    assert chain.version() != toolchain("rknn1").version()


def test_another_version_than_stated_is_said_with_what_to_write(tmp_path: Path):
    python = fake_rknn.install(tmp_path, 1, version="1.7.3")
    with pytest.raises(
        ToolchainError, match=r"1\.7\.3 where it runs, but the inventory says 1\.7\.5"
    ):
        toolchain("rknn1", {"python": str(python)}).convert(quantized(), wanted())


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (
            "raises",
            r"rknn-toolkit 1\.7\.5 failed for rv1126 at node 'conv1' \(Conv\): build raised",
        ),
        ("no file", "No such file"),
        ("dies", r"ended with exit code 0 and left no result\.json"),
    ],
)
def test_a_failure_is_told(tmp_path: Path, mode: str, words: str):
    python = fake_rknn.install(tmp_path, 1, mode, version="1.7.5")
    with pytest.raises(ToolchainError, match=words) as caught:
        toolchain("rknn1", {"python": str(python)}).convert(quantized(), wanted())
    assert "to repeat it by hand: " in caught.value.hint


def test_it_is_never_missing_in_silence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv(rknn1.PYTHON_VARIABLE, raising=False)
    for options in ({}, {"python": str(tmp_path / "nowhere")}):
        chain = toolchain("rknn1", options)
        assert chain.missing() == ("rknn-toolkit 1.x",)
        with pytest.raises(ToolchainError, match="is not there") as caught:
            chain.convert(quantized(), wanted())
        assert "toolchains: {rknn1: {python:" in caught.value.hint
    assert toolchain("rknn1", {"python": "/there", "ssh": {"host": "h"}}).missing() == ()


def test_rv1126b_is_another_chip(tmp_path: Path):
    with pytest.raises(UserError, match="one processor at a time, not for 'rv1126b'"):
        toolchain("rknn1").convert(
            quantized(), Conversion("rv1126b", PREPROCESSING, nets.photos(2))
        )
    scheme = Scheme("int8", "per-channel", "asymmetric", "minmax")
    data = toolchain("rknn").quantize(nets.iresnet(), None, scheme).data
    with pytest.raises(UserError, match="not for 'rv1126'"):
        toolchain("rknn").convert(data, wanted())


@pytest.mark.slow
@pytest.mark.needs("sshd")
def test_on_a_converter_host_over_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    public = ensure_key(tmp_path / "key")
    there = tmp_path / "tmp"
    there.mkdir()
    python = fake_rknn.install(tmp_path, 1, version="1.7.5")
    with running_sshd(tmp_path, public, environment={"TMPDIR": str(there)}) as host:
        ssh = {
            "host": host.host,
            "port": host.port,
            "user": host.user,
            "key": str(tmp_path / "key"),
            "host_key": host.host_key,
        }
        chain = toolchain("rknn1", {"python": str(python), "ssh": ssh})
        made = chain.convert(quantized(), wanted())
        assert told(made.data)["scale"] == pytest.approx(expected("RGB")[0])
        assert list(there.iterdir()) == [], "nothing is left on the host"

        fake_rknn.install(tmp_path, 1, "raises", version="1.7.5")
        with pytest.raises(ToolchainError, match="bad node conv1") as caught:
            chain.convert(quantized(), wanted())
        assert f"on converter host {host.host}" in caught.value.hint

        gone = toolchain("rknn1", {"python": "/no/such/python", "ssh": ssh})
        with pytest.raises(ToolchainError, match="/no/such/python does not run there"):
            gone.convert(quantized(), wanted())

        fake_rknn.install(tmp_path, 1, "hangs", version="1.7.5")
        monkeypatch.setattr(rknn1, "_DEADLINE", 1.0)
        with pytest.raises(TransientError, match="still running after 1 s"):
            chain.convert(quantized(), wanted())
        assert list(there.iterdir()) == []
    monkeypatch.setattr(converter_host, "_CONNECT_S", 2.0)
    with pytest.raises(TransientError, match="converter host"):
        chain.convert(quantized(), wanted())
