"""A setting that changes nothing is refused, with its line and why."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UserError

from .settings_cases import DETECTS, DRAWN, DRAWN_PHOTOS, RENDERED, RULE
from .settings_project import (
    GONE,
    HOST,
    HOST_ROW,
    NX,
    NX_ROW,
    VIM3,
    VIM3_ROW,
    B,
    Change,
    M,
    base,
    planned,
    put,
)

pytestmark = pytest.mark.usefixtures("few_images")


@dataclass
class Idle:
    """Changes that say nothing: refused at the line of `where`, in these words."""

    changes: tuple[Change, ...]
    where: tuple[str, tuple[Any, ...]]
    says: str
    first: tuple[Change, ...] = field(default_factory=tuple)


def one(change: Change, says: str, *first: Change) -> Idle:
    return Idle((*first, change), change[:2], says)


ONLY_HOST = ((M, VIM3_ROW, GONE), (M, (*VIM3_ROW,), GONE))
ALL_EMULATED = (
    (B, (*NX, "transport"), "emulated"),
    (M, HOST_ROW, GONE),
    (M, ("entries", 0, "gallery"), GONE),
)
TIMED = (M, ("measurement", "emulated"), True)
SIMULATED = (
    (B, ("boards", 3), {"name": "sim", "kind": "rk3588", "transport": "simulator"}),
    (
        M,
        ("entries",),
        [{"name": "sim", "boards": "sim", "quantization": "int8 per-channel asymmetric"}],
    ),
)
SIM = ("boards", 3)
LOCAL_VIM3 = (B, (*VIM3, "transport"), "local")

IDLE: dict[str, Idle] = {
    "calibration without a quantized row": one(DRAWN, "nothing is calibrated", *ONLY_HOST),
    "calibration without a quantized detector": one(
        (M, ("detector_calibration",), {"scenes": {"images": 20}}),
        "no board runs a quantized detector",
        DRAWN_PHOTOS,
    ),
    "a detector before faces that are aligned": one(
        (M, (*VIM3_ROW, "detector"), "same"), "this test set is of aligned faces"
    ),
    "a detector before a detector": Idle(
        (*DETECTS, (M, (*VIM3_ROW, "detector"), "same")),
        (M, (*VIM3_ROW, "detector")),
        "the entry's own model is the detector",
    ),
    "leaks into a rendered set": one(
        (M, ("calibration",), {"folder": {"path": "one/gallery", "allow_leaks": True}}),
        "the test set is rendered",
        RENDERED,
    ),
    "kept images without a link": one(
        (M, ("keep_images",), True), "which keeps no images", *ONLY_HOST
    ),
    "a reference without a mixed row": one(
        (M, ("reference",), "half"),
        "no row is mixed",
        (M, (*VIM3_ROW, "gallery"), GONE),
        (B, ("boards", 3), {"name": "b", "kind": "host-cpu", "transport": "local"}),
        (M, ("entries", 3), {"name": "half", "boards": "b", "quantization": "float32"}),
    ),
    "rounds of substitutes": one(
        (M, ("measurement", "rounds"), 2), "no row is measured on a board", TIMED, *ALL_EMULATED
    ),
    "cooling of substitutes": one(
        (M, ("measurement", "cool_below_c"), 50),
        "no row is measured on a board",
        TIMED,
        *ALL_EMULATED,
    ),
    "clocks of substitutes": one(
        (M, ("measurement", "clocks"), "pinned"),
        "no row is measured on a board",
        TIMED,
        *ALL_EMULATED,
    ),
    "a deadline for cooling alone": one(
        (M, ("measurement", "cool_deadline_s"), 9), "without cool_below_c"
    ),
    "a pause in one block": one(
        (M, ("measurement", "pause_s"), 1),
        "no pause between blocks",
        (M, ("measurement", "blocks"), 1),
    ),
    "clocks that every board overrules": one(
        (M, ("measurement", "clocks"), "pinned"),
        "which outweighs this",
        (B, (*HOST, "clocks"), "untouched"),
        (B, (*NX, "clocks"), "untouched"),
    ),
    "timing of emulated boards that are not timed": one(
        (M, ("measurement", "min_count"), 9), "timed only with `emulated: true`", *ALL_EMULATED
    ),
    "timing of a simulator": one(
        (M, ("measurement", "min_count"), 9), "no row is timed", *SIMULATED
    ),
    "fusion of rendered faces": one((M, ("scoring", "fusion"), "max"), "nothing is fused"),
    "fusion of single images": one(
        (M, ("scoring", "fusion"), "max"),
        "nothing is fused",
        (M, ("test_set",), {"folder": {"path": "one"}}),
    ),
    "one priority for all": one(
        (M, (*HOST_ROW, "priority"), 2),
        "every entry has 2",
        (M, (*VIM3_ROW, "priority"), 2),
        (M, (*NX_ROW, "priority"), 2),
    ),
    "a priority of one entry": one((M, (*HOST_ROW, "priority"), 2), "the only entry", *ONLY_HOST),
    "a mixed float32 row": one(
        (M, (*HOST_ROW, "gallery"), ["float32"]), "whose gallery is its own"
    ),
    "a kind that no board has": one(
        (M, (*NX_ROW, "boards", "kind"), ["jetson-xavier-nx", "rk3588"]), "by kind 'rk3588'"
    ),
    "a name that the tag leaves out": one(
        (M, (*NX_ROW, "boards"), {"name": ["nx", "vim3"], "tag": ["fast"]}), "by name 'vim3'"
    ),
    "an include that fits nothing": one(
        (M, ("include",), [{"board": "nx"}, {"kind": "rk3588"}]), "includes none"
    ),
    "an exclude that fits nothing": one(
        (M, ("exclude",), [{"quantization": "float16"}]), "excludes none"
    ),
    "an exclude of what is not included": one(
        (M, ("exclude",), [{"board": "nx"}]), "excludes none", RULE
    ),
    "a float row's calibrator": one(
        (M, (*HOST_ROW, "quantization"), "float32 entropy"), "not calibrated"
    ),
    "rendered options beside a folder": one(
        (M, ("test_set",), {"source": "folder", "path": "two", "seed": 1}), "unknown key 'seed'"
    ),
    "rendered beside a folder": one(
        (M, ("test_set",), {"folder": "two", "rendered": {"identities": 2}}), "exactly one of"
    ),
    "ssh options of this host": one(
        (B, (*HOST, "transport"), {"local": {"jump": "gate"}}), "unknown key 'jump'"
    ),
    "recovery of this host": one(
        (B, (*HOST, "recovery"), {"reboot": "reboot"}), "neither rebooted"
    ),
    "recovery of a simulator": one(
        (B, (*SIM, "recovery"), {"reboot": "reboot"}), "neither rebooted", *SIMULATED
    ),
    "a pause without a switch": one(
        (B, (*NX, "recovery", "off_s"), 9),
        "switched off and on",
        (B, (*NX, "recovery"), {"reboot": "reboot"}),
    ),
    "booting without a way": one((B, (*NX, "recovery", "boots_in_s"), 9), "nothing boots it"),
    "a host that an emulated board has not": one(
        (B, (*VIM3, "recovery", "power"), ["pdu", "{host}"]), "{host} is empty"
    ),
    "a simulator's python": one((B, (*SIM, "python"), "/p"), "does not count", *SIMULATED),
    "a simulator's workdir": one((B, (*SIM, "workdir"), "/p"), "does not count", *SIMULATED),
    "the usual workdir on this host": one((B, (*HOST, "workdir"), "~/.farm"), "state folder"),
    "clocks of an emulated board": one((B, (*VIM3, "clocks"), "pinned"), "are not held"),
    "a runtime of an emulated board": one(
        (B, (*VIM3, "runtime"), "tengine"), "runs its vendor's twin"
    ),
    "a runtime of a simulator": one(
        (B, (*SIM, "runtime"), "rknn"), "own program, not rknn", *SIMULATED
    ),
    "a runtime that the kind has not": one(
        (B, (*NX, "runtime"), "tengine"), "runs onnxruntime or tensorrt, not tengine"
    ),
    "a runtime that the host has not": one(
        (B, (*HOST, "runtime"), {"name": "tengine"}), "imx8mp, khadas-vim3 runs that"
    ),
    "a runtime against the matrix": one(
        (B, (*VIM3, "runtime"), {"name": "tengine"}),
        "its rows run onnxruntime",
        LOCAL_VIM3,
        (M, (*VIM3_ROW, "toolchain"), "onnxruntime"),
    ),
    "a library of onnxruntime": one(
        (B, (*HOST, "runtime"), {"library": "/l.so"}), "loads no library"
    ),
    "faithful elsewhere": one((B, (*NX, "runtime"), {"faithful": True}), "only onnxruntime"),
    "threads of TensorRT": one((B, (*NX, "runtime"), {"threads": 4}), "no number of threads"),
    "fp16 elsewhere": one((B, (*HOST, "runtime"), {"fp16": True}), "only tensorrt builds"),
    "workspace elsewhere": one(
        (B, (*HOST, "runtime"), {"workspace_mb": 9}), "only tensorrt builds"
    ),
    "too few resamples": one((M, ("scoring", "bootstrap"), 99), "greater than or equal to 100"),
    "a short provider": one(
        (B, (*HOST, "runtime"), {"providers": ["CPU"]}), "did you mean 'CPUExecutionProvider'?"
    ),
    "a misspelt provider": one(
        (B, (*HOST, "runtime"), {"providers": ["CUDAExecutionProvder"]}),
        "did you mean 'CUDAExecutionProvider'?",
    ),
    "a provider twice": one(
        (B, (*HOST, "runtime"), {"providers": ["CPUExecutionProvider"] * 2}), "is defined twice"
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


@pytest.mark.parametrize("name", IDLE)
def test_a_setting_without_an_effect_is_refused_with_its_line(folder: Path, name: str) -> None:
    case, files = IDLE[name], base()
    for change in case.changes:
        put(files, change)
    with pytest.raises(UserError) as caught:
        planned(folder, files)
    message = caught.value.message
    assert case.says in message
    file, path = case.where
    lines = [line for line in message.splitlines() if case.says in line]
    number = int(lines[0].split(f"{file}:")[1].split(":")[0])
    assert number in lines_of(folder / file, path)


def lines_of(path: Path, key: tuple[Any, ...]) -> range:
    """The lines of a key and all below it, the key's own first."""
    text = path.read_text()
    marked = json.loads(text)
    place = marked
    for step in key[:-1]:
        place = place[step]
    value = place[key[-1]]
    place[key[-1]] = "HERE"
    start = json.dumps(marked, indent=1)[: json.dumps(marked, indent=1).index('"HERE"')]
    first = start.count("\n") + 1
    return range(first, first + json.dumps(value, indent=1).count("\n") + 1)


def test_what_says_no_more_than_what_holds_anyway_may_stand(folder: Path) -> None:
    files = base()
    old = planned(folder, files)
    for change in (
        (M, ("keep_images",), False),
        (M, ("measurement",), {"rounds": 1, "clocks": "untouched", "cool_deadline_s": 300.0}),
        (M, ("scoring",), {"seed": 0, "fusion": "mean"}),
        (M, (*NX_ROW, "priority"), 0),
        (B, (*VIM3, "clocks"), "untouched"),
        (B, (*VIM3, "runtime"), {"name": "onnxruntime", "faithful": None}),
        (B, (*NX, "runtime"), {"name": "tensorrt", "fp16": False, "threads": 1}),
    ):
        put(files, change)
    new = planned(folder, files)
    old.pop("clocks"), new.pop("clocks")
    assert new == old


def test_a_boards_runtime_decides_its_toolchain(folder: Path) -> None:
    files = base()
    put(files, LOCAL_VIM3)
    rows = {row[0]: row for row in planned(folder, files)["rows"]}
    assert (rows["vim3"][2], rows["vim3"][4]) == ("", "onnxruntime (CPU)")
    put(files, (B, (*VIM3, "runtime"), {"name": "tengine", "library": "/opt/libtengine-lite.so"}))
    rows = {row[0]: row for row in planned(folder, files)["rows"]}
    # Without Tengine's tools its row is impossible, and onnxruntime never steps in.
    assert "needs the toolchain 'tengine'" in rows["vim3"][2]
    assert rows["vim3"][4] == "Tengine"
    put(files, (B, (*NX, "runtime"), "onnxruntime"))
    found = planned(folder, files)
    rows = {row[0]: row for row in found["rows"]}
    assert rows["nx"][4] == "onnxruntime (CPU)"
    assert found["keys"]["convert/onnxruntime/int8-per-channel-symmetric"]
