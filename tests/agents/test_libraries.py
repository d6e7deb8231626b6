"""Versions in vendors' files: read from bytes, from names, and of what a process has loaded."""

import json
import shutil
import struct
import subprocess
import sys

import pytest

from orchestrator.agents.host.libraries import gal_version, libraries, loaded
from orchestrator.agents.runtimes.rknn import toolkit

GAL = b"\x7fELF" + bytes(3 << 20) + b"\n\0$VERSION$6.4.6:351518$\n\0" + bytes(100)


def test_a_boards_libraries(tmp_path):
    assert libraries(str(tmp_path)) == {}
    for path, data in (
        ("usr/lib/libGAL.so", GAL),
        ("usr/lib/aarch64-linux-gnu/libnvinfer.so.8", b""),
        ("usr/lib/aarch64-linux-gnu/libnvinfer.so.8.2.1", b""),
    ):
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    assert libraries(str(tmp_path)) == {"libGAL": "6.4.6", "libnvinfer": "8.2.1"}


def test_a_version_across_two_blocks_and_none(tmp_path):
    file = tmp_path / "libGAL.so"
    file.write_bytes(bytes((1 << 20) - 12) + b"$VERSION$6.4.11:1049711:abc123$")
    assert gal_version(str(file)) == "6.4.11"
    file.write_bytes(b"$VERSION$$")
    assert gal_version(str(file)) == ""
    assert gal_version(str(tmp_path / "nothing")) == ""
    assert loaded("libGAL.so") == ""


@pytest.mark.needs("gcc")
def test_what_a_process_has_loaded(tmp_path):
    source, library = tmp_path / "gal.c", tmp_path / "libGAL.so"
    source.write_text('const char gal_words[] = "\\n\\0$VERSION$6.4.8:415784$\\n";\n')
    gcc = shutil.which("gcc") or "gcc"
    subprocess.run([gcc, "-shared", "-fPIC", "-o", library, source], check=True)
    code = (
        "import ctypes, sys\n"
        "from orchestrator.agents.host.libraries import gal_version, loaded\n"
        f"ctypes.CDLL({str(library)!r})\n"
        "path = loaded('libGAL.so')\n"
        "print(path, gal_version(path))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(library), "6.4.8"]


def rknn_file(form=2, told=None, data=b"x" * 50):
    text = json.dumps({"version": "2.3.2", "target_platform": ["rk3588"]} if told is None else told)
    head = b"RKNN" + bytes(4) + struct.pack("<QQ", form, len(data))
    words = text.encode()
    return head + bytes(40 if form > 1 else 0) + data + struct.pack("<Q", len(words)) + words


@pytest.mark.parametrize(
    ("data", "made_by"),
    [
        (rknn_file(), "2.3.2"),
        (rknn_file(form=1), "2.3.2"),
        (rknn_file(told={"version": 3}), ""),
        (rknn_file(told=[1]), ""),
        (rknn_file()[:-10], ""),
        (rknn_file()[:30], ""),
        (b"RKNN" + bytes(4) + struct.pack("<QQ", 2, 1 << 63), ""),
        (rknn_file()[:114] + struct.pack("<Q", 1 << 60), ""),
        (b"VPMN" + bytes(60), ""),
        (b"", ""),
    ],
)
def test_the_toolkit_that_made_a_file(tmp_path, data, made_by):
    file = tmp_path / "file.rknn"
    file.write_bytes(data)
    assert toolkit(str(file)) == made_by
