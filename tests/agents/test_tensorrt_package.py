"""NVIDIA's own TensorRT and CUDA libraries on a computer without a card: they refuse, and so farm.

The index has TensorRT's lean runtime (46 MB); the builder's libraries come from NVIDIA's own index,
2 GB that need a card to do anything, and are left out. `make test-vendor` runs this.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import BoardError

from .conftest import MODEL, preprocessing, sha256
from .pipes import agent, session

VERSION = "10.15.1.29"
PACKAGES = (
    f"tensorrt-lean-cu12-bindings=={VERSION}",
    f"tensorrt-lean-cu12-libs=={VERSION}",
    "nvidia-cuda-runtime-cu12==12.9.79",
)
# What the package of the name `tensorrt` does with its own bindings.
ALIAS = "from tensorrt_lean_bindings import *\nfrom tensorrt_lean_bindings import __version__\n"
ASKED = """
import tensorrt
class Log(tensorrt.ILogger):
    def log(self, severity, text):
        print(text)
tensorrt.Runtime(Log())
"""
pytestmark = [pytest.mark.vendor, pytest.mark.slow]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages in it, for PYTHONPATH."""
    if shutil.which("nvidia-smi"):
        pytest.skip("there is an NVIDIA card here")
    if sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)) or sys.platform != "linux":
        pytest.skip("NVIDIA has no wheels for this Python")
    folder = tmp_path_factory.mktemp("tensorrt")
    words = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    words += ["--disable-pip-version-check", "--only-binary=:all:", *PACKAGES]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        fails = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        fails(f"pip could not install {PACKAGES[1]}: {done.stderr[-300:]}")
    (folder / "tensorrt").mkdir()
    (folder / "tensorrt/__init__.py").write_text(ALIAS)
    return folder


def test_the_library_itself_says_that_there_is_no_driver(packages: Path) -> None:
    says = subprocess.run(
        [sys.executable, "-c", ASKED],
        env={**os.environ, "PYTHONPATH": str(packages)},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert "CUDA initialization failure with error: 35" in says


@pytest.mark.parametrize(
    ("with_cuda", "refusal"),
    [
        (False, "libcudart cannot be loaded (tried "),
        (True, "cudaGetDeviceCount failed with 35: CUDA driver version is insufficient"),
    ],
)
def test_an_agent_sees_the_bindings_and_refuses(
    packages: Path, tmp_path: Path, with_cuda: bool, refusal: str
) -> None:
    # This computer may have one of its own, so that it is named in either case.
    there = next((packages / "nvidia/cuda_runtime/lib").glob("libcudart.so.*"))
    library = str(there) if with_cuda else "/nowhere/libcudart.so"
    with (
        agent(tmp_path, before=f"export PYTHONPATH='{packages}'; ") as channel,
        session(channel) as made,
    ):
        assert made.hello().runtimes["tensorrt"].version == VERSION
        with pytest.raises(BoardError) as caught:
            made.open_model(
                runtime="tensorrt",
                artifact=str(MODEL),
                sha256=sha256(MODEL),
                options={"library": library},
                preprocessing=preprocessing(),
                timeout_s=60.0,
            )
    assert refusal in caught.value.message
