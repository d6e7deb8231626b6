"""The agent as boards run it: every Python that is here, from 3.6 on."""

import os
import signal

import numpy as np
import pytest

from orchestrator.data.times import RawTimes
from orchestrator.errors import TransientError
from orchestrator.fleet.session.client import MeasurePolicy

from .conftest import Rows, faces, features, open_timed, timed_features
from .pipes import agent, interpreters, session

PYTHONS = interpreters()


QUICK = ("3.6", "3.13")


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(version, marks=() if version in QUICK else pytest.mark.slow)
        for version in sorted(PYTHONS, key=lambda name: int(name.split(".")[1]))
    ],
)
def test_a_whole_session(tmp_path, artifact, version):
    images = faces(60)
    with agent(tmp_path, python=PYTHONS[version]) as channel, session(channel) as made:
        assert made.hello().python.startswith(version + ".")
        open_timed(made, artifact, ms=1, dim=32)
        policy = MeasurePolicy(3, 0.05, 10, 5)
        blocks = [
            item
            for item in made.measure(images[:2], policy, timeout_s=10)
            if isinstance(item, RawTimes)
        ]
        assert sum(len(block.device_ns) for block in blocks) >= 10
        assert all(np.all(block.device_ns >= 1_000_000) for block in blocks)
        got = features(made.extract(Rows(images), chunk=7, timeout_s=10))
        assert got.tobytes() == timed_features(images, 32).tobytes()
        job = made.extract(Rows(faces(500)), timeout_s=10)
        next(job)
        os.kill(made._model.pid, signal.SIGKILL)
        with pytest.raises(TransientError, match="SIGKILL"):
            list(job)
        assert len(features(made.extract(Rows(images), timeout_s=10))) == 60
    assert channel.exit_status(2.0) == 0
