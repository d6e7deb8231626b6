"""Versions that fit and that do not: each word has both."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.planning.versions import mismatches, of_runtimes, rules
from orchestrator.planning.versions.reading import version
from orchestrator.specs.runtimes import board_runtimes

TOOLKIT2 = "rknn-toolkit2 2.3.2, onnx 1.18.0, recipe 1.2"
TOOLKIT1 = "rknn-toolkit 1.7.5, onnx 1.18.0, recipe 1.2"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("librknnrt version: 2.3.0 (c949ad889d@2024-11-07T11:35:33)", (2, 3, 0)),
        ("rknn-toolkit2 2.5.0, onnx 1.18.0", (2, 5, 0)),
        ("1.5.2+b642f30c", (1, 5, 2)),
        ("6.4.3.p0.286725", (6, 4, 3)),
        ("6.4.4.3.310723AAA", (6, 4, 4, 3)),
        ("1.7.5 file 12ab34cd56ef", (1, 7, 5)),
        ("file 12ab34cd56ef", ()),
        ("", ()),
    ],
)
def test_the_version_in_a_text(text: str, numbers: tuple[int, ...]) -> None:
    assert version(text) == numbers


@pytest.mark.parametrize(
    ("toolkit", "library", "driver", "both"),
    [
        (TOOLKIT2, "2.3.0 (c94@2024)", "0.9.8", ("rknn-toolkit2 2.3.2", "librknnrt 2.3.0")),
        (TOOLKIT2, "1.6.0 (9a7@2023)", "0.9.8", ("rknn-toolkit2 2.3.2", "librknnrt 1.6.0")),
        (
            "rknn-toolkit2 1.6.0, onnx 1",
            "2.3.2 (429@2025)",
            "0.9.8",
            ("rknn-toolkit2 1.6.0", "librknnrt 2.3.2"),
        ),
        ("", "1.6.0 (9a7@2023)", "0.8.2", ("librknnrt 1.6.0", "0.8.2", "0.8.8 or newer")),
        (TOOLKIT1, "1.7.1 (566@2021)", "1.7.1", ("rknn-toolkit 1.7.5", "librknn_api 1.7.1")),
        (TOOLKIT1, "1.7.5 (x)", "1.6.0", ("librknn_api 1.7.5", "driver 1.6.0")),
    ],
)
def test_rknn_that_does_not_fit(
    toolkit: str, library: str, driver: str, both: tuple[str, ...]
) -> None:
    opened = {"version": f"{library}, driver {driver}"}
    (words,) = mismatches("rknn", opened, {}, toolkit)
    for each in both:
        assert each in words


@pytest.mark.parametrize(
    ("runtime", "opened", "told", "toolkit"),
    [
        ("rknn", {"version": "2.3.2 (429@2025), driver 0.9.8"}, {}, TOOLKIT2),
        # A newer library of the same generation runs older files.
        ("rknn", {"version": "2.4.0 (x), driver 0.9.8"}, {}, TOOLKIT2),
        ("rknn", {"version": "1.7.5 (x), driver 1.7.5 (x)"}, {}, TOOLKIT1),
        ("rknn", {"version": "file 12ab34cd56ef"}, {"drivers": {}}, TOOLKIT2),
        ("tengine", {"version": "1.5-dev"}, {"drivers": {"galcore": "6.4.8.415784"}}, ""),
        (
            "tengine",
            {"version": "1.5", "facts": {"galcore": "6.4.8.7.1.1.1", "libGAL": "6.4.8"}},
            {},
            "",
        ),
        ("tensorrt", {"version": "8.2.1.8"}, {"libraries": {"libnvinfer": "8.2.1"}}, ""),
        ("onnxruntime", {"version": "1.16.3"}, {"drivers": {"galcore": "6.4.2"}}, TOOLKIT2),
        ("rknn", {}, {}, ""),
        ("rknn", {"facts": None}, {"drivers": "odd", "libraries": 3}, ""),
    ],
)
def test_what_fits_or_is_not_told_gives_no_word(
    runtime: str, opened: dict[str, Any], told: dict[str, Any], toolkit: str
) -> None:
    assert mismatches(runtime, opened, told, toolkit) == ()


def test_the_files_own_word_counts_before_the_manifests() -> None:
    opened = {"version": "2.3.2 (x), driver 0.9.8", "facts": {"toolkit": "2.5.0"}}
    (words,) = mismatches("rknn", opened, {}, TOOLKIT2)
    assert "rknn-toolkit2 2.5.0, newer than the board's librknnrt 2.3.2" in words


def test_galcore_and_its_library() -> None:
    told = {"drivers": {"galcore": "6.4.8.415784"}, "libraries": {"libGAL": "6.4.6"}}
    (words,) = mismatches("tengine", {"version": "1.5"}, told)
    assert "galcore 6.4.8.415784 and its library libGAL 6.4.6 are of different releases" in words
    # What the process really loaded counts before what lies in the usual folders.
    opened = {"version": "1.5", "facts": {"galcore": "6.4.8.415784", "libGAL": "6.4.8"}}
    assert mismatches("tengine", opened, told) == ()
    for bad in ("6.4.2.1", "6.4.6.2.5.3.2"):
        (words,) = of_runtimes({"tengine": ""}, {"drivers": {"galcore": bad}})
        assert f"galcore {bad} is known not to run TIM-VX" in words


def test_tensorrt_and_its_engine() -> None:
    opened = {"version": "8.5.2.2", "facts": {"tensorrt": "8.2.1.8"}}
    (words,) = mismatches("tensorrt", opened, {})
    assert "built by TensorRT 8.2.1.8, the board runs 8.5.2.2" in words
    told = {"libraries": {"libnvinfer": "10.3.0"}}
    (words,) = of_runtimes({"tensorrt": "8.5.2.2", "onnxruntime": "1.19.2"}, told)
    assert "TensorRT 8.5.2.2 and its libnvinfer 10.3.0 differ" in words


def test_each_rule_is_of_a_runtime_that_boards_have() -> None:
    assert rules()
    assert set(rules()) <= set(board_runtimes())
