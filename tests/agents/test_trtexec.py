"""TensorRT by `trtexec`: its options by version, its files, each way in which it fails."""

import hashlib
import json
import re

import numpy as np
import pytest

from . import fake_trtexec
from .gpu import DIM, Machine, expected, inputs, onnx_file
from .pipes import interpreters

slow = pytest.mark.slow


@pytest.fixture
def model(tmp_path):
    return onnx_file(tmp_path / "artifacts" / "model.onnx")


def machine(tmp_path, version="8.2.1", **settings):
    """A board without bindings, with an unpacked TensorRT of `version`."""
    library = tmp_path / "lib"
    library.mkdir()
    (library / f"libnvinfer.so.{settings.pop('named', version)}").touch()
    program = fake_trtexec.install(tmp_path / "bin")
    settings = {"dim": DIM, "version": version, **settings}
    made = Machine(tmp_path, version, bindings=False, settings=settings)
    made.env = {"FAKE_PROGRAM": program}
    return made


def drive(made, model, data=None, **more):
    """Open it by the program's path."""
    options = {"library": made.env["FAKE_PROGRAM"], **more.pop("options", {})}
    return made.drive(model, data, options=options, **more)


@pytest.mark.parametrize(
    "version", ["8.0.1", *(pytest.param(v, marks=slow) for v in ("8.4.1", "8.6.1", "10.3.0"))]
)
def test_features_and_times(tmp_path, model, version):
    data = inputs(2)
    made = machine(tmp_path, version)
    got = drive(made, model, data, times=[50, 1])
    assert "error" not in got, got
    np.testing.assert_allclose(got["features"], expected(model, data), rtol=5e-6)
    assert got["provider"] == "trtexec"
    assert got["version"] == version
    device, whole = got["times"]
    # The warm-up's slow runs are not among them, whichever version wrote the file.
    assert len(device) == len(whole) >= 50
    assert max(device) < 2_600_000 <= min(whole)
    assert sum(whole) >= 0.95e9
    plan = next(model.parent.glob("engine-*.plan")).read_bytes()
    assert "noTF32" in json.loads(plan[8:])["given"]
    assert got["facts"]["api"] == "trtexec"
    assert made.log.count("build") == 1


@slow
def test_under_python_3_6(tmp_path, model):
    if "3.6" not in interpreters():
        pytest.skip("no Python 3.6")
    made = machine(tmp_path, "8.0.1")
    made.python = interpreters()["3.6"]
    data = inputs(1)
    got = drive(made, model, data)
    np.testing.assert_allclose(got["features"], expected(model, data), rtol=5e-6)


@slow
def test_values_that_json_has_no_word_for(tmp_path, model):
    got = drive(machine(tmp_path, mode="nan"), model, inputs(1))
    assert np.isnan(got["features"][0, 0])
    assert np.isfinite(got["features"][0, 1:]).all()


@pytest.mark.parametrize(
    ("mode", "kind", "told"),
    [
        (
            "parse",
            "toolchain",
            r"made no engine of model.onnx; it says: .*node number 1 \[Abacus\]",
        ),
        ("no file", "toolchain", r"ended with status 0 and made no engine"),
        pytest.param("memory", "board", r"OutOfMemory", marks=slow),
    ],
)
def test_errors(tmp_path, model, mode, kind, told):
    got = drive(machine(tmp_path, mode=mode), model)
    assert got["kind"] == kind
    assert re.search(told, got["error"]), got["error"]
    assert not list(model.parent.glob("engine-*"))


def test_an_option_that_its_version_does_not_have(tmp_path, model):
    """What happens on a version that is not what its library's name says."""
    got = drive(machine(tmp_path, "8.0.1", named="10.3.0"), model)
    assert got["kind"] == "toolchain"
    assert "Unknown option: --" in got["error"]


@slow
def test_the_deadline_of_a_build(tmp_path, model):
    got = drive(machine(tmp_path, mode="hangs"), model, options={"build_s": 1.2})
    assert (got["kind"], got["code"]) == ("user", "build-deadline")
    assert "RUNNING TensorRT.trtexec" in got["error"]


@slow
def test_an_engine_of_another_version_is_built_again(tmp_path, model):
    made = machine(tmp_path)
    drive(made, model)
    plan = next(model.parent.glob("engine-*.plan"))
    note = plan.with_suffix(".json")
    foreign = plan.read_bytes().replace(b"8.2.1", b"8.2.9")
    plan.write_bytes(foreign)
    facts = json.loads(note.read_text()) | {"engine_sha256": hashlib.sha256(foreign).hexdigest()}
    note.write_text(json.dumps(facts))
    got = drive(made, model, inputs(1))
    assert "error" not in got, got
    assert made.log.count("build") == 2


@slow
def test_it_is_used_beside_bindings_where_it_is_named(tmp_path, model):
    made = machine(tmp_path)
    made.bindings = True
    assert drive(made, model)["provider"] == "trtexec"


def test_a_file_that_is_no_model(tmp_path, model):
    model.write_bytes(b"\x0a\x80garbage")
    got = drive(machine(tmp_path), model)
    assert (got["kind"], "is no ONNX file" in got["error"]) == ("toolchain", True)
