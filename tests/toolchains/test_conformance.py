"""What every toolchain must do, whatever its vendor."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnx
import pytest

from orchestrator.calibration import CalibrationTable, calibrate
from orchestrator.errors import ToolchainError, TransientError, UserError
from orchestrator.toolchains import (
    Artifact,
    Conversion,
    Scheme,
    Toolchain,
    toolchain,
    toolchain_names,
)
from tests.toolchains import nets


@lru_cache
def table() -> CalibrationTable:
    return calibrate(nets.iresnet(), [nets.images(16)], "minmax")


def cases() -> list[tuple[str, Scheme]]:
    return [
        (name, Scheme(*axes, calibrator="minmax"))
        for name in toolchain_names()
        for axes in toolchain(name).capabilities.schemes
    ]


def ranges(name: str) -> CalibrationTable | None:
    """What `quantize` is given: nothing where the vendor's tool calibrates by itself."""
    return None if toolchain(name).capabilities.calibrates else table()


def made_here() -> list[tuple[str, Scheme]]:
    """The cases whose deployable file needs no vendor tool."""
    return [(name, s) for name, s in cases() if not toolchain(name).capabilities.needs]


@pytest.mark.parametrize("name", toolchain_names())
def test_it_follows_the_protocol(name: str):
    found = toolchain(name)
    assert isinstance(found, Toolchain)
    assert found.name == name
    assert found.version() == toolchain(name).version()
    assert found.capabilities.schemes or found.capabilities.float_types


@pytest.mark.parametrize(("name", "scheme"), cases(), ids=str)
def test_quantizing_twice_gives_the_same_bytes_and_says_how(name: str, scheme: Scheme, capfd):
    chain = toolchain(name)
    first = chain.quantize(nets.iresnet(), ranges(name), scheme)
    again = toolchain(name).quantize(nets.iresnet(), ranges(name), scheme)
    assert first == again
    assert first.manifest["scheme"] == scheme.to_dict()
    assert first.manifest["toolchain"] == name
    assert first.manifest["calibration_images"] == (16 if ranges(name) else 0)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


@pytest.mark.parametrize(("name", "scheme"), made_here(), ids=str)
def test_the_file_is_batch_one_and_close_to_float(name: str, scheme: Scheme):
    chain = toolchain(name)
    made = chain.convert(chain.quantize(nets.iresnet(), table(), scheme).data)
    assert made == chain.convert(chain.quantize(nets.iresnet(), table(), scheme).data)
    assert made.format == "onnx"
    proto = onnx.load_model_from_string(made.data)
    onnx.checker.check_model(proto, full_check=True)
    assert [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 16, 16]
    assert [o.domain for o in proto.opset_import] == [""]
    assert proto.opset_import[0].version <= chain.capabilities.opset
    assert proto.ir_version <= chain.capabilities.ir
    batch = nets.images(12, seed=5)
    cosine = nets.cosines(nets.run(made.data, batch), nets.run(nets.iresnet(), batch))
    assert cosine.mean() > 0.985
    assert cosine.mean() < 0.999999, "nothing was quantized"


@pytest.mark.parametrize("name", toolchain_names())
def test_float32_computes_what_the_model_computes(name: str):
    chain = toolchain(name)
    if "float32" not in chain.capabilities.float_types or chain.capabilities.needs:
        pytest.skip("offers no float32 made here")
    made = chain.convert(chain.quantize(nets.iresnet(), None, Scheme("float32")).data)
    batch = nets.images(4)
    np.testing.assert_allclose(
        nets.run(made.data, batch), nets.run(nets.iresnet(), batch), atol=2e-5
    )


@pytest.mark.parametrize("name", toolchain_names())
def test_a_scheme_it_does_not_offer_is_refused_with_those_it_does(name: str):
    scheme = Scheme("uint8", "per-channel", "symmetric", "minmax")
    with pytest.raises(UserError, match=f"'{name}' does not offer uint8 per-channel symmetric"):
        toolchain(name).quantize(nets.iresnet(), table(), scheme)


@pytest.mark.parametrize(("name", "scheme"), cases(), ids=str)
def test_a_missing_or_foreign_table_is_refused(name: str, scheme: Scheme):
    if toolchain(name).capabilities.calibrates:
        pytest.skip("takes no table; see the next test")
    with pytest.raises(UserError, match="needs a calibration table"):
        toolchain(name).quantize(nets.iresnet(), None, scheme)
    with pytest.raises(UserError, match="another model"):
        toolchain(name).quantize(nets.iresnet(seed=8), table(), scheme)


@pytest.mark.parametrize(("name", "scheme"), cases(), ids=str)
def test_what_calibrates_by_itself_refuses_to_without_images(name: str, scheme: Scheme):
    chain = toolchain(name)
    if not chain.capabilities.calibrates:
        pytest.skip("is given a table; see the test before")
    quantized = chain.quantize(nets.iresnet(), None, scheme).data
    for images in (None, nets.photos(0)):
        wanted = Conversion(chain.capabilities.targets[0], nets.PREPROCESSING, images)
        with pytest.raises(UserError, match="needs calibration images"):
            chain.convert(quantized, wanted)


@pytest.mark.parametrize("name", toolchain_names())
def test_a_target_it_does_not_know_is_refused_with_those_it_does(name: str):
    chain = toolchain(name)
    offered = chain.capabilities.targets
    if not offered:
        pytest.skip("one file serves all boards")
    assert len(set(offered)) == len(offered)
    quantized = chain.quantize(
        nets.iresnet(), None, Scheme(*chain.capabilities.schemes[0], "minmax")
    )
    for wanted in (None, Conversion(), Conversion("rk9999", nets.PREPROCESSING, nets.photos(2))):
        with pytest.raises(UserError, match="one processor at a time") as caught:
            chain.convert(quantized.data, wanted)
        assert offered[0] in caught.value.hint


@pytest.mark.parametrize("name", toolchain_names())
def test_what_needs_a_tool_says_what_mends_its_absence(name: str):
    chain = toolchain(name)
    if chain.capabilities.needs:
        assert isinstance(chain.missing(), tuple)
        assert chain.install


@pytest.mark.parametrize("name", toolchain_names())
def test_garbage_is_refused(name: str):
    with pytest.raises((UserError, ToolchainError)):
        toolchain(name).convert(b"garbage")


def test_bytes_do_not_depend_on_the_process():
    """Artifact hashes are keys; sets of strings are ordered anew in each process."""
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    program = "from tests.toolchains import test_conformance as t\nprint(*t.hashes())"
    elsewhere = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": seed},
        cwd=Path(__file__).parents[2],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    ).stdout.split()
    assert elsewhere == hashes()
    assert len(elsewhere) == len(cases())


def hashes() -> list[str]:
    return [
        toolchain(name).quantize(nets.iresnet(), ranges(name), scheme).sha256
        for name, scheme in cases()
    ]


def test_an_unknown_name_gets_the_nearest_valid_one():
    with pytest.raises(UserError, match="unknown toolchain 'tensort'") as caught:
        toolchain("tensort")
    assert "did you mean 'tensorrt'?" in caught.value.hint


def test_other_distributions_can_add_a_toolchain(monkeypatch: pytest.MonkeyPatch):
    from importlib.metadata import EntryPoint

    from orchestrator import plugins
    from orchestrator.toolchains import registry

    points = [
        EntryPoint("mine", "orchestrator.toolchains.vendors.onnxruntime:OnnxRuntimeToolchain", "g"),
        EntryPoint("gone", "no_such_module:Thing", "g"),
        EntryPoint("wrong", "orchestrator.toolchains.base:Scheme.__str__", "g"),
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    # Not the cached answer, and nothing of this one for other tests.
    monkeypatch.setattr(plugins, "other_toolchains", plugins.other_toolchains.__wrapped__)
    monkeypatch.setattr(registry, "other_toolchains", plugins.other_toolchains)
    assert "mine" in plugins.toolchain_names()
    assert isinstance(registry.toolchain("mine"), Toolchain)
    with pytest.raises(UserError, match="'gone' is registered as no_such_module:Thing"):
        registry.toolchain("gone")


def test_a_full_disk_is_said_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The system refuses files beyond a size, as it does when the disk is full."""
    import errno
    import resource
    import signal
    import tempfile

    from orchestrator.graphs import scratch

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # What the system says then is EFBIG; on a full disk it is ENOSPC.
    monkeypatch.setattr(scratch, "FULL", (*scratch.FULL, errno.EFBIG))
    old_signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(TransientError, match="no space left") as caught:
            calibrate(nets.iresnet(), [nets.images(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, old_signal)
    assert "TMPDIR" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_is_its_bytes():
    assert Artifact(b"abc", "onnx").sha256.startswith("ba7816bf")


def test_boards_are_given_time_for_what_they_build_themselves():
    from orchestrator.specs.runtimes import runtimes

    built = {name for name in toolchain_names() if toolchain(name).capabilities.built_on_board}
    assert built == {name for name, each in runtimes().items() if each.builds}
