"""onnxruntime-gpu as NVIDIA's users install it, on a computer without CUDA.

The package itself falls back to the CPU and says so on standard error only. An agent refuses: a
time of the CPU under the name of CUDA would be silently wrong. `make test-vendor` runs this.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import BoardError
from orchestrator.fleet.session.client import AgentSession

from .conftest import MODEL, open_onnx
from .pipes import agent, session

CUDA, TENSORRT, CPU = (f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt", "CPU"))
PACKAGE = "onnxruntime-gpu"
ASKED = """
import sys, onnxruntime
print(onnxruntime.get_available_providers())
print(onnxruntime.InferenceSession(sys.argv[1], providers=[sys.argv[2]]).get_providers())
"""


def refused(made: AgentSession, providers: list[str]) -> str:
    with pytest.raises(BoardError) as caught:
        open_onnx(made, providers=providers)
    return caught.value.message


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it, for PYTHONPATH; numpy is the environment's."""
    if shutil.which("nvidia-smi"):
        pytest.skip("there is an NVIDIA card here")
    folder = tmp_path_factory.mktemp("gpu")
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    words += ["--disable-pip-version-check", "--only-binary=:all:", PACKAGE]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        fails = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        fails(f"pip could not install {PACKAGE}: {done.stderr[-300:]}")
    return folder


@pytest.fixture
def on_gpu_package(packages: Path, tmp_path: Path) -> Iterator[Any]:
    """A session of an agent that finds the package."""
    before = f"export PYTHONPATH='{packages}'; "
    with agent(tmp_path, before=before) as channel, session(channel) as made:
        made.hello()
        yield made


@pytest.mark.vendor
@pytest.mark.slow
def test_the_package_itself_falls_back_silently(packages: Path) -> None:
    """Should this fail one day, the package refuses by itself."""
    says = subprocess.run(
        [sys.executable, "-c", ASKED, str(MODEL), CUDA],
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert says == [f"['{TENSORRT}', '{CUDA}', '{CPU}']", f"['{CPU}']"]


@pytest.mark.vendor
@pytest.mark.slow
@pytest.mark.parametrize("providers", [[CUDA], [CUDA, CPU], [TENSORRT], [TENSORRT, CUDA, CPU]])
def test_no_provider_falls_back(on_gpu_package: AgentSession, providers: list[str]) -> None:
    words = refused(on_gpu_package, providers)
    assert f"{providers[0]} was asked for" in words
    # The library that is missing, by its name.
    assert re.search(r"lib(cu|nv)[a-zA-Z]+\.so\.\d+: cannot open shared object file", words), words


@pytest.mark.vendor
@pytest.mark.slow
def test_the_cpu_works_with_the_package(on_gpu_package: AgentSession) -> None:
    assert open_onnx(on_gpu_package, providers=[CPU]).provider == CPU


@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_the_cpu_package_refuses_what_it_has_not(tmp_path: Path, provider: str) -> None:
    with agent(tmp_path) as channel, session(channel) as made:
        made.hello()
        words = refused(made, [provider, CPU])
    assert provider in words
