"""A list of files that somebody sends: nothing in it is believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orchestrator.bundle.manifest import Entry, Limits, Manifest, read_manifest
from orchestrator.errors import UserError

A, B = "a" * 64, "b" * 64
GOOD: dict[str, Any] = {
    "version": 1,
    "matrix": "matrix.yaml",
    "folders": ["empty"],
    "files": [["matrix.yaml", A, 3], ["faces/1.png", B, 5]],
}


def read(limits: Limits | None = None, **other: Any) -> Manifest:
    return read_manifest(json.dumps(GOOD | other).encode(), limits or Limits())


def test_a_list_comes_back_as_it_was() -> None:
    manifest = Manifest("m.yaml", (Entry("m.yaml", A, 3), Entry("x/é.png", B, 0)), ("empty",))
    again = read_manifest(manifest.to_bytes(), Limits())
    assert again.name == manifest.name
    assert set(again.entries) == set(manifest.entries)
    assert again.folders == ("empty",)
    assert again.blobs == {A: 3, B: 0}


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a//b",
        "a/./b",
        ".",
        "..",
        "",
        "a/",
        "a\\..\\b",
        "C:\\x",
        "a\0b",
        "a\nb",
        "\x1b[31m",
        "\u202ex",
        "x" * 256,
        "a/" * 600 + "x",
        "\udc80",
        3,
        None,
        ["x"],
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(path: Any) -> None:
    for other in (
        {"files": [*GOOD["files"], [path, B, 5]]},
        {"folders": [path]},
        {"matrix": path},
    ):
        with pytest.raises(UserError):
            read(**other)


@pytest.mark.parametrize(
    "other",
    [
        {"version": 2},
        {"files": 3},
        {"files": [["matrix.yaml", A]]},
        {"files": [["matrix.yaml", A, -1]]},
        {"files": [["matrix.yaml", A, True]]},
        {"files": [["matrix.yaml", A, "3"]]},
        {"files": [["matrix.yaml", "../../x", 3]]},
        {"files": [["matrix.yaml", A.upper(), 3]]},
        {"files": [["matrix.yaml", A, 3], ["matrix.yaml", B, 3]]},
        {"files": [["matrix.yaml", A, 3], ["b", A, 4]]},
        {"files": [["matrix.yaml", A, 3], ["matrix.yaml/x", B, 4]]},
        {"folders": ["matrix.yaml"]},
        {"folders": ["matrix.yaml/x"]},
        {"matrix": "other.yaml"},
        {"matrix": "faces/1.png"},
    ],
)
def test_what_is_no_sound_list_is_refused(other: dict[str, Any]) -> None:
    read()
    with pytest.raises(UserError):
        read(**other)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_list_is_refused(data: bytes) -> None:
    with pytest.raises(UserError):
        read_manifest(data, Limits())


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(file=4), r"faces/1\.png has 5 bytes; the server takes files of 4"),
        (Limits(total=7), "8 bytes in 2 files; the server takes 7"),
        (Limits(count=2), "3 files; the server takes 2"),
    ],
)
def test_what_is_too_large_is_refused(limits: Limits, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read(limits)
