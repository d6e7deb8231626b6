"""A file that is no ONNX model is answered by what it seems to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.intake.reading import read

CASES = {
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "a page": (b"<!doctype html><html>Not found</html>", "text file"),
    "nothing": (b"", "empty"),
    "half a file": (b"\x08\x07\x12\x07pytorch:\xff\xff\x00", "cut off"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_no_model_is_named(tmp_path: Path, name: str) -> None:
    data, says = CASES[name]
    path = tmp_path / "face.onnx"
    path.write_bytes(data)
    with pytest.raises(UserError) as caught:
        read(path)
    assert says in caught.value.hint or says in caught.value.message
