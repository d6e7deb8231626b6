"""A Python that was built without ctypes and ssl, as Buildroot's for RV1126 are."""

import pytest

from orchestrator.errors import BoardError

from .conftest import (
    Rows,
    faces,
    features,
    open_timed,
    preprocessing,
    sha256,
    timed_features,
)
from .pipes import agent, session

ABSENT = ("ctypes", "_ctypes", "ssl", "_ssl")


def test_a_python_without_ctypes_runs_what_needs_no_library(tmp_path, artifact):
    """Buildroot's Pythons are built without it. tests/userlands.py has a whole such root."""
    site = tmp_path / "site"
    site.mkdir()
    lines = ["import sys"] + [f"sys.modules[{name!r}] = None" for name in ABSENT]
    (site / "sitecustomize.py").write_text("\n".join(lines) + "\n")
    with agent(tmp_path, before=f"export PYTHONPATH='{site}'; ") as channel:
        with session(channel) as made:
            facts = made.hello()
            for name in ("rknn", "tengine"):
                assert "lacks the module ctypes" in facts.runtimes[name].problem
            with pytest.raises(BoardError, match="rknn cannot run here") as caught:
                made.open_model(
                    runtime="rknn",
                    artifact=str(artifact),
                    sha256=sha256(artifact),
                    options={},
                    preprocessing=preprocessing(),
                    timeout_s=10,
                )
            assert "lacks the module ctypes" in caught.value.message
            open_timed(made, artifact, ms=0, dim=8)
            images = faces(3)
            got = features(made.extract(Rows(images), timeout_s=10))
            assert got.tobytes() == timed_features(images, 8).tobytes()
