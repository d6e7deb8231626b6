"""A session with a board that builds its engine: the head is told, deadlines, what is kept."""

import shlex
import time

import numpy as np
import pytest

from orchestrator.data.times import RawTimes
from orchestrator.errors import ToolchainError, UserError
from orchestrator.fleet.session.client import MeasurePolicy, Preprocessing

from . import fake_trtexec
from .conftest import Rows, faces, features, sha256
from .gpu import DIM, SIZE, Machine, expected, onnx_file
from .pipes import agent, session


def exported(machine):
    """The machine's environment as a shell puts it before a command."""
    words = {"FAKE_CUDART": "", **machine.environment()}
    return "".join(f"export {name}={shlex.quote(value)}; " for name, value in words.items())


def opened(made, path, *, timeout_s=20.0, build_s=20.0, told=None, **options):
    return made.open_model(
        runtime="tensorrt",
        artifact=str(path),
        sha256=sha256(path),
        options={"build_s": build_s, **options},
        preprocessing=Preprocessing("NCHW", "RGB", 128.0, 1.0, SIZE, SIZE),
        timeout_s=timeout_s,
        build_s=build_s,
        on_building=told,
    )


def prepared(images):
    return (images.astype(np.float32) - 128).transpose(0, 3, 1, 2)


@pytest.mark.slow
def test_a_build_longer_than_any_silence_allowed(tmp_path):
    model = onnx_file(tmp_path / "artifacts" / "model.onnx")
    machine = Machine(tmp_path, settings={"mode": "build-slow", "ms": 1})
    told = []
    with agent(tmp_path, before=exported(machine), idle_s=3) as channel:
        with session(channel, dead_after_s=3) as made:
            assert made.hello().runtimes["tensorrt"].version == "8.6.1"
            begin = time.monotonic()
            facts = opened(made, model, timeout_s=3, told=told.append)
            assert time.monotonic() - begin > 4
            assert facts.facts["gpu"] == "Xavier"
            assert facts.facts["build_s"] >= 4
            assert (facts.version, facts.provider, facts.dim) == ("8.6.1", "TensorRT", DIM)
            seconds = [news.seconds for news in told]
            assert len(seconds) >= 2
            assert seconds == sorted(seconds)
            assert {(news.doing, news.limit_s) for news in told} == {
                ("building the TensorRT engine", 20.0)
            }
            images = faces(6, size=SIZE)
            got = features(made.extract(Rows(images), chunk=4, timeout_s=10))
            assert got.tobytes() == expected(model, prepared(images)).tobytes()
            blocks = [
                item
                for item in made.measure(images[:2], MeasurePolicy(2, 0.1, 10, 5), timeout_s=10)
                if isinstance(item, RawTimes)
            ]
            device = np.concatenate([block.device_ns for block in blocks])
            whole = np.concatenate([block.end_to_end_ns for block in blocks])
            assert np.all(device >= 1_000_000)
            assert np.all(whole > device)
            # A fresh runtime process finds the engine.
            told.clear()
            again = opened(made, model, timeout_s=20, told=told.append)
            assert not told
            assert again.facts["engine_sha256"] == facts.facts["engine_sha256"]
    assert channel.exit_status(2.0) == 0


@pytest.mark.slow
def test_the_deadline_of_a_build_and_the_session_goes_on(tmp_path):
    model = onnx_file(tmp_path / "artifacts" / "model.onnx")
    machine = Machine(tmp_path, settings={"mode": "build-hangs"})
    with agent(tmp_path, before=exported(machine)) as channel, session(channel) as made:
        made.hello()
        with pytest.raises(UserError, match=r"took longer than 1.2 s \(build_s\) and was stopped"):
            opened(made, model, build_s=1.2)
        machine.settings["mode"] = "parse"
        with pytest.raises(UserError):
            opened(made, model, build_s=0.2)
    assert channel.exit_status(2.0) == 0


def test_a_refused_file_is_the_toolchains(tmp_path):
    model = onnx_file(tmp_path / "artifacts" / "model.onnx")
    machine = Machine(tmp_path, settings={"mode": "parse"})
    with agent(tmp_path, before=exported(machine)) as channel, session(channel) as made:
        made.hello()
        with pytest.raises(ToolchainError, match=r"bench: TensorRT 8.6.1's parser refuses"):
            opened(made, model)


@pytest.mark.slow
def test_measuring_by_trtexec(tmp_path):
    model = onnx_file(tmp_path / "artifacts" / "model.onnx")
    program = fake_trtexec.install(tmp_path / "bin")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libnvinfer.so.8.2.1").touch()
    machine = Machine(tmp_path, "8.2.1", bindings=False, settings={"dim": DIM, "ms": 2})
    with agent(tmp_path, before=exported(machine)) as channel, session(channel) as made:
        made.hello()
        facts = opened(made, model, library=program)
        assert facts.facts["api"] == "trtexec"
        images = faces(2, size=SIZE)
        policy = MeasurePolicy(20, 1.0, 100, 5)
        items = list(made.measure(images, policy, timeout_s=20))
        blocks = [item for item in items if isinstance(item, RawTimes)]
        device = np.concatenate([block.device_ns for block in blocks])
        assert len(device) >= 100
        assert np.all((device >= 2_000_000) & (device < 2_100_000))
        got = features(made.extract(Rows(images), timeout_s=20))
        np.testing.assert_allclose(got, expected(model, prepared(images)), rtol=5e-6)


def test_killing_the_session_leaves_no_builder(tmp_path):
    import os
    import signal
    from pathlib import Path

    model = onnx_file(tmp_path / "artifacts" / "model.onnx")
    machine = Machine(tmp_path, settings={"mode": "build-hangs"})

    def builders():
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"trt.build" in words and str(tmp_path).encode() in words:
                    found.append(entry.name)
        return found

    with agent(tmp_path, before=exported(machine)) as channel, session(channel) as made:
        made.hello()
        with pytest.raises(Exception, match=r"agent ended|closed|died"):
            # Once the builder tells of itself, its grandparent is killed outright.
            opened(made, model, told=lambda news: os.kill(channel.process.pid, signal.SIGKILL))
        end = time.monotonic() + 3
        while builders() and time.monotonic() < end:
            time.sleep(0.05)
        assert builders() == []
