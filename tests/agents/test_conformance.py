"""Every runtime, through a real agent: the same images give the host's features, in their order."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.data.times import RawTimes
from orchestrator.fleet.session.client import MeasureFacts, MeasurePolicy

from .conformance import CASES, REAL, Case
from .conftest import Rows, faces, features, sha256
from .pipes import PYTHON, agent, interpreters, session
from .shims import GCC

PYTHONS = interpreters()


def open_case(made, case: Case, folder, options=None):
    """The case's model, opened."""
    made.hello()
    path = folder / f"{case.name}.bin"
    path.write_bytes(case.file())
    return made.open_model(
        runtime=case.runtime,
        artifact=str(path),
        sha256=sha256(path),
        options=options or case.options(),
        preprocessing=case.feed,
        timeout_s=60,
    )


def lacking(case: Case, python: str) -> str:
    """What the case needs and is not here."""
    if case.runtime in ("tengine", "rknn", "tensorrt") and not GCC:
        return "gcc, to compile the substitute"
    native = ("ctypes",) if case.runtime in ("tengine", "rknn", "tensorrt") else ()
    for module in (*case.needs, *native):
        asked = subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False)
        if asked.returncode:
            return f"{module} in {python}"
    return ""


# One of each runtime; its other versions and schemes are among the slow tests.
QUICK_CASES = ("onnxruntime", "timed", "tengine-timvx-uint8", "rknn2", "tensorrt-10.3.0")


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(case, id=case.name, marks=() if case.name in QUICK_CASES else pytest.mark.slow)
        for case in CASES
    ],
)
def held(request, tmp_path_factory):
    """A case with a session that has its model open; shared by the tests of this file."""
    case, folder = request.param, tmp_path_factory.mktemp("agent")
    gone = lacking(case, PYTHON)
    if gone:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"needs {gone}")
    with agent(folder, before=case.prefix()) as channel, session(channel) as made:
        yield case, made, open_case(made, case, folder), channel


def check(case: Case, got, images) -> None:
    """Raise unless the features are the reference's, as closely as the case says."""
    want = case.reference(images)
    assert got.shape == want.shape
    if case.runtime == "onnxruntime" and sys.executable != PYTHON:
        # Another processor's kernels sum in another order.
        case = replace(case, cosine=0.9999, within=0.05)
    if case.cosine is None:
        equal = got.tobytes() == want.tobytes()  # pytest would look for the difference for minutes
        assert equal
        return
    a, b = got.astype(np.float64), want.astype(np.float64)
    cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    assert cosine.min() >= case.cosine
    assert np.abs(a - b).max() <= case.within


def size(case: Case) -> int:
    return case.feed.height


def test_it_says_what_runs(held):
    case, _, model, _ = held
    assert model.runtime == case.runtime
    assert model.version
    assert model.provider == case.provider
    assert model.dim == case.reference(faces(1, size(case))).shape[1]
    (tensor,) = model.inputs
    assert tensor.dtype == case.feed.dtype


@pytest.mark.parametrize(("count", "chunk"), [(11, 3), (7, 7), (5, 100), (1, 32), (0, 4)])
def test_features_come_in_order_whatever_the_chunks(held, count, chunk):
    case, made, *_ = held
    images = faces(count, size(case), seed=count)
    got = features(made.extract(Rows(images), chunk=chunk, timeout_s=30))
    if count == 0:
        assert len(got) == 0
    else:
        check(case, got, images)


def test_an_image_leaves_nothing_behind_for_the_next(held):
    case, made, *_ = held
    a, b = faces(2, size(case), seed=9)
    got = features(made.extract(Rows(np.stack([a, b, a, b, b, a])), chunk=2, timeout_s=30))
    assert len({row.tobytes() for row in got}) == 2
    assert got[0].tobytes() == got[2].tobytes() == got[5].tobytes()


def test_extreme_images(held):
    case, made, *_ = held
    flat = np.zeros((2, size(case), size(case), 3), np.uint8)
    flat[1] = 255
    flat[:, ::2, 1::2, 1] ^= 255
    check(case, features(made.extract(Rows(flat), timeout_s=30)), flat)


def test_times(held):
    case, made, *_ = held
    # An emulator takes seconds an image; elsewhere the count is reached at once.
    blocks, policy = [], MeasurePolicy(3, 0.05, 10, 100)
    for item in made.measure(faces(2, size(case)), policy, timeout_s=150):
        if isinstance(item, RawTimes):
            blocks.append(item)
    device = np.concatenate([block.device_ns for block in blocks])
    whole = np.concatenate([block.end_to_end_ns for block in blocks])
    assert len(device) >= 10
    assert isinstance(made.measurement, MeasureFacts)
    if case.device_ns is not None:
        assert set(device.tolist()) == {case.device_ns}
        return
    assert (device > 0).all()
    assert (device <= whole).all()
    # A first run that compiles (the shim's takes 300 ms) belongs to opening, not to this. Below an
    # emulator any run takes longer.
    if sys.executable == PYTHON:
        assert device.max() < 250_000_000


def test_the_features_depend_on_how_the_image_is_fed(tmp_path, held):
    """The checks above could not fail if a wrong colour order gave the same features."""
    case, *_ = held
    if case.runtime == "timed":
        pytest.skip("its feature is a hash")
    images = faces(3, size(case), seed=4)
    swapped = case.reference(np.ascontiguousarray(images[..., ::-1]))
    with pytest.raises(AssertionError):
        check(case, swapped, images)


NATIVE = [case for case in CASES if case.runtime in ("tengine", "rknn") and case not in REAL]
QUICK = {("tengine-timvx-uint8", "3.6"), ("rknn1", "3.6")}
OLD_AND_NEW = [
    pytest.param(
        case,
        version,
        id=f"{case.name}-{version}",
        marks=() if (case.name, version) in QUICK else pytest.mark.slow,
    )
    for case in [*NATIVE, *REAL]
    for version in ("3.6", "3.13")
    if version in PYTHONS and sys.executable == PYTHON
]


@pytest.mark.parametrize(("case", "version"), OLD_AND_NEW)
def test_under_the_oldest_and_the_newest_python(tmp_path, case, version):
    gone = lacking(case, PYTHONS[version])
    if gone:
        pytest.skip(f"needs {gone}")
    with agent(tmp_path, python=PYTHONS[version], before=case.prefix()) as channel:
        with session(channel) as made:
            open_case(made, case, tmp_path)
            images = faces(5, size(case))
            check(case, features(made.extract(Rows(images), chunk=2, timeout_s=30)), images)
        assert channel.exit_status(3.0) == 0


def test_what_a_library_prints_is_kept_out_of_the_frames(held):
    case, made, _, channel = held
    if case not in NATIVE:
        pytest.skip("prints nothing")
    images = faces(20, size(case))
    check(case, features(made.extract(Rows(images), chunk=1, timeout_s=30)), images)
    assert "binary looking words on stdout" in channel.stderr_tail()
