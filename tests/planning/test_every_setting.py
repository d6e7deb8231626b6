"""Every key of the three YAML files has an effect, or is refused with its line and why.

The keys are those of the models that read the files: a new key without a case fails here.
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import tempfile
import types
import typing
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML
from scipy.io import savemat

from orchestrator.errors import UserError
from orchestrator.fleet.boards.addressing import address_of
from orchestrator.fleet.boards.recovery import longest_s, rungs
from orchestrator.fleet.emulated.boards import EmulatedAddress
from orchestrator.planning.facts import BoardFacts
from orchestrator.preflight.planner import Plan, encoder_backend, make_plan
from orchestrator.request import Request
from orchestrator.specs import Inventory, Matrix, ModelSpec
from orchestrator.specs.base import Spec

from ..red_detector import detector, manifest, photo

ROOT = Path(__file__).resolve().parents[2]
FACTS = BoardFacts("x86_64", "some cpu", "3.11", {"onnxruntime": "1", "tensorrt": "8.6.1"})
UINT8 = "uint8 per-tensor asymmetric"
INT8 = "int8 per-channel symmetric"
KEY = "ssh-ed25519 AAAA"

M, B, F = "matrix.yaml", "device_inventory.yaml", "models/face.yaml"


def red() -> str:
    """sha256 of the small detector that `photos` writes."""
    with tempfile.TemporaryDirectory() as place:
        return hashlib.sha256(detector(Path(place) / "red.onnx").read_bytes()).hexdigest()


RED = red()
MODEL = YAML(typ="safe").load((ROOT / "models/synthface-mfn.yaml").read_text())


def base() -> dict[str, Any]:
    """A matrix, an inventory and a model manifest, as data."""
    model = copy.deepcopy(MODEL)
    return {
        M: {
            "models": ["face"],
            "test_set": {"rendered": {"identities": 20, "unknown": 10}},
            "entries": [
                {"name": "reference", "boards": "this-host", "quantization": "float32"},
                {
                    "name": "vim3",
                    "boards": "vim3",
                    "quantization": UINT8,
                    "gallery": ["same", "float32"],
                },
                {"name": "jetson", "boards": {"kind": "jetson-xavier-nx"}, "quantization": INT8},
            ],
        },
        B: {
            "boards": [
                {"name": "this-host", "kind": "host-cpu", "transport": "local"},
                {"name": "vim3", "kind": "khadas-vim3", "transport": "emulated"},
                {
                    "name": "nx",
                    "kind": "jetson-xavier-nx",
                    "transport": {"ssh": {"host": "192.0.2.7"}},
                    "tags": ["fast"],
                },
            ],
        },
        F: {**model, "name": "face"},
    }


HOST, VIM3, NX = ("boards", 0), ("boards", 1), ("boards", 2)
HOST_ROW, VIM3_ROW, NX_ROW = ("entries", 0), ("entries", 1), ("entries", 2)
SSH = (*NX, "transport", "ssh")
GONE = object()

Change = tuple[str, tuple[Any, ...], Any]


def put(files: dict[str, Any], change: Change) -> None:
    name, path, value = change[0], change[1], copy.deepcopy(change[2])
    place = files[name]
    for step in path[:-1]:
        place = place.setdefault(step, {}) if isinstance(place, dict) else place[step]
    if change[2] is GONE:
        del place[path[-1]]
    elif isinstance(place, list) and path[-1] == len(place):
        place.append(value)
    else:
        place[path[-1]] = value


def write(folder: Path, files: dict[str, Any]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data, indent=1))  # which is YAML too, a key a line
    if not (folder / "models/synthface-mfn.onnx").exists():
        for name in ("synthface-mfn", "synthface-ir"):
            shutil.copy(ROOT / f"models/{name}.onnx", folder / "models")
        faces(folder)
        photos(folder)


def photos(folder: Path) -> None:
    """Annotated photos in both formats, and WIDER FACE's lists of faces that count."""
    manifest(folder)
    for place, size in (("photos", (64, 48)), ("other", (80, 48))):
        photo(folder / place / "party/1.png", (8, 8), size=size)
    for name, width in (("", 20), ("2", 21)):
        row = f"2 2 {width} 20 0 0 0 0 0 0"
        (folder / f"wider{name}.txt").write_text(f"party/1.png\n1\n{row}\n")
        faces_found = {
            "images": [{"id": 1, "file_name": "party/1.png"}],
            "categories": [{"id": 1, "name": "face"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, width, 20]}],
        }
        (folder / f"coco{name}.json").write_text(json.dumps(faces_found))
    for name in ("easy", "medium", "hard", "none"):
        chosen = np.zeros((0 if name == "none" else 1, 1), np.uint8) + 1
        cells = [np.empty((1, 1), object) for _ in range(5)]
        events, files, faces_of, of_event, listed = cells
        events[0, 0], listed[0, 0], files[0, 0] = "party", "1", listed
        of_event[0, 0], faces_of[0, 0] = chosen, of_event
        savemat(
            folder / f"{name}.mat",
            {"event_list": events, "file_list": files, "gt_list": faces_of},
        )


def faces(folder: Path) -> None:
    """Two sets of pictures: two of each enrolled person, and one of each."""
    for name, shots in (("two", 2), ("one", 1)):
        for person in ("ann", "bob"):
            for role, count in (("gallery", shots), ("probe", 1)):
                place = folder / name / role / person
                place.mkdir(parents=True)
                for shot in range(count):
                    seed = len(list(folder.rglob("*.png")))
                    pixels = np.random.default_rng(seed).integers(0, 255, (112, 112, 3))
                    Image.fromarray(pixels.astype(np.uint8)).save(place / f"{shot}.png")
        lines = ["file,identity,role"] + [
            f"{path.relative_to(folder)},{path.parent.name},{path.parent.parent.name}"
            for path in sorted((folder / name).rglob("*.png"))
        ]
        spoilt = folder / "spoilt"
        if not spoilt.exists():
            shutil.copytree(folder / name, spoilt)
            (spoilt / "gallery" / "ann" / "no picture.png").write_bytes(b"no picture")
            leaky = folder / "leaky"
            shutil.copytree(folder / name, leaky)
            shutil.copy(leaky / "gallery/ann/0.png", leaky / "probe/ann/1.png")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


class NoServers:
    """In the place of emulated boards, which are not started for an address."""

    def start(self, name: str) -> EmulatedAddress:
        return EmulatedAddress("127.0.0.1", 1, "farm", Path("key"), KEY)


def observed(plan: Plan) -> dict[str, Any]:
    """All that a plan decides, by what it is about."""
    state = Path(plan.request.state)
    used = {name for cell in plan.cells for name in cell.probe.pool}
    boards = [board for name, board in plan.boards.items() if name in used]
    addresses = {
        board.name: address_of(board, owner="me", state=state, emulated=NoServers())  # type: ignore[arg-type]
        for board in boards
        if board.executed_by != "simulator"
    }
    return {
        "rows": [
            [cell.name, cell.entry, cell.reason, list(cell.probe.pool), encoder_backend(cell.probe)]
            for cell in plan.cells
        ],
        "shown": [
            [plan.hardware(c), plan.boards[c.board].provider, plan.boards[c.board].type]
            for c in plan.cells
        ],
        "keys": {
            step.id: [step.stage, step.inputs, step.params, step.units]
            for step in plan.graph.steps.values()
        },
        "order": {step.id: step.priority for step in plan.graph.steps.values()},
        "reached": {name: asdict(address) for name, address in addresses.items()},
        "loaded": {
            f"{board.name} {name}": board.runtime_for(name).to_options()
            for board in boards
            for name in plan.runtimes(board.name)
        },
        "notes": plan.notes(),
        "leaks": [finding.kind for finding in plan.audit if finding.allowed],
        "domains": plan.domains(),
        "clocks": {board.name: board.clocks for board in boards},
        "recovery": {board.name: [rungs(board), longest_s(board, 1.0)] for board in boards},
        "toolchains": [
            plan.tools,
            {name: [offer.version, offer.missing] for name, offer in plan.capabilities.items()},
        ],
        "figures": plan.matrix.scoring.model_dump(),
        "provenance": {name: model.about for name, model in plan.models.items()},
    }


def planned(folder: Path, files: dict[str, Any]) -> dict[str, Any]:
    write(folder, files)
    request = Request(
        matrix=str(folder / M),
        inventory=str(folder / B),
        state=str(folder / "state"),
        runs=str(folder / "runs"),
    )
    return observed(make_plan(request, facts=FACTS))


@dataclass
class Case:
    """Changing one value changes `what` of the plan, or is refused in words (`says`).

    With `refused_before` it is the value before that is refused. `first` is changed before and
    after, where the key needs something beside it. `shown_by` is the test, `file::name`, of a
    behaviour that no plan shows.
    """

    change: Change | None = None
    what: str = "keys"
    first: tuple[Change, ...] = ()
    says: str = ""
    shown_by: str = ""
    refused_before: str = ""


DETECTS = (
    (F, ("task",), "detection"),
    (F, ("file",), "red.onnx"),
    (F, ("sha256",), RED),
    (F, ("input",), {"name": "image", "height": 128, "width": 160, "mean": 0, "std": 1}),
    (F, ("detection",), {"head": "centerface"}),
    (F, ("embedding_size",), GONE),
    (F, ("output",), GONE),
    (M, ("test_set",), {"scenes": {"images": 9, "size": [128, 160]}}),
    (M, (*VIM3_ROW, "gallery"), ["same"]),
)
SCENES = (*DETECTS, (M, ("calibration",), {"scenes": {"images": 20, "size": [128, 160]}}))
WIDER = (*DETECTS, (M, ("test_set",), {"wider": {"images": "photos", "truth": "wider.txt"}}))
TWO = (M, ("test_set",), {"folder": {"path": "two"}})
PHOTOS = (M, ("test_set",), {"photos": {"path": "two", "detector": "red"}})
LISTS = {name: f"{name}.mat" for name in ("easy", "medium", "hard")}
LISTED = (*WIDER, (M, ("test_set", "wider", "lists"), LISTS))
COCO = (*DETECTS, (M, ("test_set",), {"coco": {"images": "photos", "annotations": "coco.json"}}))


def of_sets() -> dict[str, Case]:
    """Cases of the sets that detectors are tested with and calibrated by."""
    found = {
        "ScenesSet.source": Case(WIDER[-1], first=DETECTS),
        "ScenesCalibration.source": Case(
            (M, ("calibration",), {"folder": {"path": "two/probe"}}), first=SCENES
        ),
        "WiderSet.source": Case(DETECTS[-2], first=WIDER),
        "WiderSet.images": Case((M, ("test_set", "wider", "images"), "other"), first=WIDER),
        "WiderSet.truth": Case((M, ("test_set", "wider", "truth"), "wider2.txt"), first=WIDER),
        "WiderSet.lists": Case(LISTED[-1], first=WIDER),
        "CocoSet.source": Case(DETECTS[-2], first=COCO),
        "CocoSet.images": Case((M, ("test_set", "coco", "images"), "other"), first=COCO),
        "CocoSet.annotations": Case(
            (M, ("test_set", "coco", "annotations"), "coco2.json"), first=COCO
        ),
        "CocoSet.category": Case(
            (M, ("test_set", "coco", "category"), "cat"), says="no category 'cat'", first=COCO
        ),
    }
    for name in LISTS:
        found[f"WiderLists.{name}"] = Case(
            (M, ("test_set", "wider", "lists", name), "none.mat"), first=LISTED
        )
    for name, value in (("path", "one"), ("detector", "synthdet"), ("min_score", 0.9)):
        found[f"PhotosSet.{name}"] = Case((M, ("test_set", "photos", name), value), first=(PHOTOS,))
    found["PhotosSet.source"] = Case(TWO, first=(PHOTOS,))
    found["PhotosSet.skip_unreadable"] = Case(
        (M, ("test_set", "photos", "skip_unreadable"), True),
        "notes",
        (PHOTOS, (M, ("test_set", "photos", "path"), "spoilt")),
        refused_before="skip_unreadable: true",
    )
    found["PhotosSet.allow_leaks"] = Case(
        (M, ("test_set", "photos", "allow_leaks"), True),
        "leaks",
        (PHOTOS, (M, ("test_set", "photos", "path"), "leaky")),
        refused_before="1 of 3 probes show",
    )
    values = {"images": 8, "seed": 1, "size": [96, 96], "difficulty": 2}
    for name, value in values.items():
        found[f"ScenesSet.{name}"] = Case((M, ("test_set", "scenes", name), value), first=DETECTS)
        found[f"ScenesCalibration.{name}"] = Case(
            (M, ("calibration", "scenes", name), value), first=SCENES
        )
    for cls, key, first, number in (
        ("ScenesSet", "test_set", DETECTS, 7),
        ("ScenesCalibration", "calibration", SCENES, 2_000_007),
    ):
        found[f"{cls}.first_image"] = Case((M, (key, "scenes", "first_image"), number), first=first)
    return found


RENDERED = (M, ("test_set",), {"rendered": {"identities": 20, "unknown": 10}})
CALIBRATES = (M, ("calibration",), {"folder": {"path": "one/gallery"}})
DRAWN = (M, ("calibration",), {"rendered": {"images": 20}})
RULE = (M, ("include",), [{"kind": ["host-cpu", "khadas-vim3"]}])
JUMP = (B, (*SSH, "jump"), [{"host": "gate"}])
POWER = (B, (*NX, "recovery"), {"power": ["pdu", "{action}"]})
WORDS = {"dtype": "uint8", "granularity": "per-tensor", "symmetry": "asymmetric"}
FULL = (M, (*VIM3_ROW, "quantization"), WORDS)
ON_HOST = (M, (*HOST_ROW, "quantization"), ["float32", WORDS])
HOST8 = (*HOST_ROW, "quantization", 1)
NATIVE = (B, (*NX, "runtime"), {"name": "tensorrt"})
QAT = (
    F,
    ("quantized",),
    {
        "file": "synthface-ir.onnx",
        "sha256": YAML(typ="safe").load((ROOT / "models/synthface-ir.yaml").read_text())["sha256"],
    },
)
CONVERTER = (B, ("toolchains",), {"rknn1": {"python": "/p", "ssh": {"host": "a"}}})
TO_RK = (
    (B, (*NX, "kind"), "rv1126"),
    (M, NX_ROW, {"name": "rk", "boards": "nx", "quantization": UINT8}),
)


def through(place: tuple[Any, ...], host_key: str) -> dict[str, Case]:
    """The keys of a host on the way, which a board's are too."""
    return {
        "host": Case((B, (*place, "host"), "192.0.2.8"), "reached"),
        "port": Case((B, (*place, "port"), 2222), "reached"),
        "user": Case((B, (*place, "user"), "khadas"), "reached"),
        "key": Case((B, (*place, "key"), "~/.ssh/board"), "reached"),
        "host_key": Case((B, (*place, "host_key"), host_key), "reached"),
    }


CASES: dict[str, Case] = {
    "Matrix.models": Case((M, ("models",), ["face", "synthface-ir"]), "rows"),
    "Matrix.test_set": Case(TWO),
    "Matrix.calibration": Case(DRAWN),
    "Matrix.keep_images": Case(
        shown_by="tests/agents/test_kept.py::test_the_second_encoder_does_not_cross_the_link_again"
    ),
    "Matrix.measurement": Case((M, ("measurement",), {"blocks": 7})),
    "Matrix.scoring": Case((M, ("scoring",), {"bootstrap": 200})),
    "Matrix.table": Case(
        shown_by="tests/reporting/test_table.py::"
        "test_columns_beside_the_published_ones_where_asked_for"
    ),
    "Matrix.entries": Case((M, NX_ROW, GONE), "rows"),
    "Matrix.include": Case(RULE, "rows"),
    "Matrix.exclude": Case((M, ("exclude",), [{"gallery": "float32"}]), "rows"),
    "Matrix.reference": Case(
        (M, ("reference",), "other"),
        first=(
            (M, ("entries", 3), {"name": "other", "boards": "second", "quantization": "float32"}),
            (
                B,
                ("boards", 3),
                {
                    "name": "second",
                    "kind": "host-cpu",
                    "transport": "local",
                    "runtime": {"threads": 2},
                },
            ),
        ),
    ),
    **of_sets(),
    "RenderedSet.source": Case((M, ("test_set",), {"source": "folder", "path": "two"})),
    "RenderedSet.seed": Case((M, ("test_set", "rendered", "seed"), 1)),
    "RenderedSet.identities": Case((M, ("test_set", "rendered", "identities"), 21)),
    "RenderedSet.distractors": Case((M, ("test_set", "rendered", "distractors"), 5)),
    "RenderedSet.unknown": Case((M, ("test_set", "rendered", "unknown"), 11)),
    "RenderedSet.difficulty": Case((M, ("test_set", "rendered", "difficulty"), 1.0)),
    "RenderedSet.first_identity": Case((M, ("test_set", "rendered", "first_identity"), 9)),
    "FolderSet.source": Case((M, ("test_set",), {"list": {"path": "one.csv"}}), first=(TWO,)),
    "FolderSet.path": Case((M, ("test_set", "folder", "path"), "one"), first=(TWO,)),
    "FolderSet.skip_unreadable": Case(
        (M, ("test_set", "folder", "skip_unreadable"), True),
        "notes",
        ((M, ("test_set",), {"folder": {"path": "spoilt"}}),),
        refused_before="skip_unreadable: true",
    ),
    "FolderSet.allow_leaks": Case(
        (M, ("test_set", "folder", "allow_leaks"), True),
        "leaks",
        ((M, ("test_set",), {"folder": {"path": "leaky"}}),),
        refused_before="1 of 3 probes show",
    ),
    "FolderCalibration.allow_leaks": Case(
        (M, ("calibration", "folder", "allow_leaks"), True),
        "leaks",
        (TWO, (M, ("calibration",), {"folder": {"path": "two/gallery"}})),
        refused_before="4 of 4 calibration images",
    ),
    "FolderCalibration.skip_unreadable": Case(
        (M, ("calibration", "folder", "skip_unreadable"), True),
        "keys",
        ((M, ("calibration",), {"folder": {"path": "spoilt/gallery"}}),),
        refused_before="skip_unreadable: true",
    ),
    "RenderedCalibration.source": Case(CALIBRATES),
    "RenderedCalibration.images": Case(
        (M, ("calibration", "rendered", "images"), 21), first=(DRAWN,)
    ),
    "RenderedCalibration.seed": Case((M, ("calibration", "rendered", "seed"), 1), first=(DRAWN,)),
    "RenderedCalibration.difficulty": Case(
        (M, ("calibration", "rendered", "difficulty"), 1), first=(DRAWN,)
    ),
    "RenderedCalibration.first_identity": Case(
        (M, ("calibration", "rendered", "first_identity"), 2_000_009), first=(DRAWN,)
    ),
    "FolderCalibration.source": Case(
        (M, ("calibration",), {"list": {"path": "two.csv"}}), first=(CALIBRATES,)
    ),
    "FolderCalibration.path": Case(
        (M, ("calibration", "folder", "path"), "two/gallery"), first=(CALIBRATES,)
    ),
    "FolderCalibration.images": Case(
        (M, ("calibration", "folder", "images"), 1), first=(CALIBRATES,)
    ),
    "MeasurementPolicy.warm_up_count": Case((M, ("measurement", "warm_up_count"), 3)),
    "MeasurementPolicy.min_duration_s": Case((M, ("measurement", "min_duration_s"), 1.0)),
    "MeasurementPolicy.min_count": Case((M, ("measurement", "min_count"), 9)),
    "MeasurementPolicy.max_duration_s": Case((M, ("measurement", "max_duration_s"), 9.0)),
    "MeasurementPolicy.blocks": Case((M, ("measurement", "blocks"), 2)),
    "MeasurementPolicy.pause_s": Case((M, ("measurement", "pause_s"), 1.0)),
    "MeasurementPolicy.rounds": Case((M, ("measurement", "rounds"), 2)),
    "MeasurementPolicy.cool_below_c": Case((M, ("measurement", "cool_below_c"), 50.0)),
    "MeasurementPolicy.cool_deadline_s": Case(
        (M, ("measurement", "cool_deadline_s"), 9.0),
        first=((M, ("measurement", "cool_below_c"), 50.0),),
    ),
    "MeasurementPolicy.clocks": Case((M, ("measurement", "clocks"), "pinned")),
    "MeasurementPolicy.emulated": Case((M, ("measurement", "emulated"), True)),
    "ScoringPolicy.far": Case((M, ("scoring", "far"), [1e-3, 1e-2]), "figures"),
    "ScoringPolicy.table_far": Case((M, ("scoring", "table_far"), 1e-2), "figures"),
    "ScoringPolicy.confidence": Case((M, ("scoring", "confidence"), 0.9)),
    "ScoringPolicy.bootstrap": Case((M, ("scoring", "bootstrap"), 200)),
    "ScoringPolicy.seed": Case((M, ("scoring", "seed"), 1)),
    "ScoringPolicy.fusion": Case((M, ("scoring", "fusion"), "max"), first=(TWO,)),
    "TablePolicy.columns": Case(
        shown_by="tests/reporting/test_table.py::"
        "test_columns_beside_the_published_ones_where_asked_for"
    ),
    "Entry.name": Case((M, (*HOST_ROW, "name"), "float"), "rows"),
    "Entry.boards": Case((M, (*NX_ROW, "boards"), "this-host"), "rows"),
    "Entry.quantization": Case((M, (*NX_ROW, "quantization"), "float16")),
    "Entry.toolchain": Case((M, (*VIM3_ROW, "toolchain"), "onnxruntime"), "rows"),
    "Entry.gallery": Case((M, (*VIM3_ROW, "gallery"), ["same"]), "rows"),
    "Entry.model": Case(
        (M, (*NX_ROW, "model"), "face"), "rows", ((M, ("models",), ["face", "synthface-ir"]),)
    ),
    "Entry.priority": Case((M, (*NX_ROW, "priority"), 5), "order"),
    "BoardSelector.name": Case((M, (*NX_ROW, "boards"), {"name": "this-host"}), "rows"),
    "BoardSelector.kind": Case((M, (*NX_ROW, "boards", "kind"), "host-cpu"), "rows"),
    "BoardSelector.tag": Case((M, (*VIM3_ROW, "boards"), {"tag": "fast"}), "rows"),
    "BoardSelector.site": Case(
        (M, (*VIM3_ROW, "boards"), {"site": "away", "kind": "khadas-vim3"}),
        "rows",
        (
            (
                B,
                ("boards", 3),
                {
                    "name": "far",
                    "kind": "khadas-vim3",
                    "transport": "emulated",
                    "site": "away",
                },
            ),
        ),
    ),
    "Quantization.dtype": Case((M, (*HOST8, "dtype"), "int8"), first=(ON_HOST,)),
    "Quantization.granularity": Case(
        (M, (*HOST8, "granularity"), "per-channel"),
        first=(ON_HOST, (M, (*HOST8, "dtype"), "int8")),
    ),
    "Quantization.symmetry": Case(
        (M, (*HOST8, "symmetry"), "symmetric"), first=(ON_HOST, (M, (*HOST8, "dtype"), "int8"))
    ),
    "Quantization.calibrator": Case((M, (*HOST8, "calibrator"), "entropy"), first=(ON_HOST,)),
    "Quantization.keep_float": Case((M, (*HOST8, "keep_float"), "suggested"), first=(ON_HOST,)),
    "Quantization.equalize": Case((M, (*HOST8, "equalize"), True), first=(ON_HOST,)),
    "Quantization.bias_correction": Case((M, (*HOST8, "bias_correction"), True), first=(ON_HOST,)),
    "Rule.entry": Case((M, ("exclude",), [{"entry": "jetson"}]), "rows"),
    "Rule.board": Case((M, ("exclude",), [{"board": "nx"}]), "rows"),
    "Rule.kind": Case((M, ("exclude",), [{"kind": "jetson-xavier-nx"}]), "rows"),
    "Rule.toolchain": Case((M, ("exclude",), [{"toolchain": "tengine"}]), "rows"),
    "Rule.quantization": Case((M, ("exclude",), [{"quantization": "int8"}]), "rows"),
    "Rule.gallery": Case((M, ("exclude",), [{"gallery": "float32"}]), "rows"),
    "Rule.model": Case(
        (M, ("exclude",), [{"model": "face"}]),
        "rows",
        ((M, ("models",), ["face", "synthface-ir"]),),
    ),
    "Inventory.boards": Case(
        (B, HOST, {"name": "this-host", "kind": "cuda-gpu", "transport": "local"}), "rows"
    ),
    "Inventory.toolchains": Case(
        (B, ("toolchains",), {"tengine": {"bin_dir": "/b"}}), "toolchains"
    ),
    "Board.name": Case((B, (*NX, "name"), "other"), "rows"),
    "Board.kind": Case(
        (B, (*NX, "kind"), "jetson-orin-nx"),
        first=((M, (*NX_ROW, "boards"), "nx"),),
    ),
    "Board.transport": Case((B, (*NX, "transport"), "emulated"), "rows"),
    "Board.hardware": Case((B, (*NX, "hardware"), "My board"), "shown"),
    "Board.provider": Case((B, (*NX, "provider"), "Me"), "shown"),
    "Board.type": Case((B, (*NX, "type"), "ASIC"), "shown"),
    "Board.site": Case(
        (B, (*NX, "site"), "away"),
        "rows",
        (
            (
                B,
                ("boards", 3),
                {
                    "name": "nx2",
                    "kind": "jetson-xavier-nx",
                    "transport": {"ssh": {"host": "192.0.2.9"}},
                },
            ),
        ),
    ),
    "Board.tags": Case(
        (B, (*VIM3, "tags"), ["fast"]),
        "rows",
        ((M, (*NX_ROW, "boards"), {"tag": "fast"}),),
    ),
    "Board.contention_domain": Case((B, (*NX, "contention_domain"), "rack"), "domains"),
    "Board.python": Case((B, (*NX, "python"), "/opt/python3"), "reached"),
    "Board.workdir": Case((B, (*NX, "workdir"), "/data/farm"), "reached"),
    "Board.lock": Case((B, (*NX, "lock"), "workdir"), "reached"),
    "Board.clocks": Case((B, (*NX, "clocks"), "pinned")),
    "Board.runtime": Case((B, (*NX, "runtime"), "onnxruntime"), "rows"),
    "Board.recovery": Case((B, (*NX, "recovery"), {"reboot": "reboot"}), "recovery"),
    **{f"SshTransportSpec.{name}": case for name, case in through(SSH, KEY).items()},
    "SshTransportSpec.type": Case((B, (*NX, "transport"), {"type": "emulated"}), "rows"),
    "SshTransportSpec.jump": Case(JUMP, "reached"),
    **{
        f"JumpHost.{name}": Case(case.change, case.what, (JUMP,))
        for name, case in through((*SSH, "jump", 0), KEY).items()
    },
    "LocalTransportSpec.type": Case((B, (*HOST, "transport"), {"type": "emulated"}), "rows"),
    "EmulatedTransportSpec.type": Case(
        (B, (*VIM3, "transport"), {"type": "ssh", "host": "192.0.2.3"}), "rows"
    ),
    "SimulatorTransportSpec.type": Case((B, (*VIM3, "transport"), {"type": "simulator"}), "rows"),
    "RuntimeOptions.name": Case((B, (*NX, "runtime", "name"), "onnxruntime"), "rows", (NATIVE,)),
    "RuntimeOptions.providers": Case(
        (B, (*HOST, "runtime"), {"providers": ["OpenVINOExecutionProvider"]}), "loaded"
    ),
    "RuntimeOptions.threads": Case((B, (*HOST, "runtime"), {"threads": 2}), "loaded"),
    "RuntimeOptions.faithful": Case((B, (*VIM3, "runtime"), {"faithful": False}), "loaded"),
    "RuntimeOptions.library": Case(
        (B, (*NX, "runtime", "library"), "/opt/libcudart.so"), "reached", (NATIVE,)
    ),
    "RuntimeOptions.fp16": Case((B, (*NX, "runtime", "fp16"), True), "loaded", (NATIVE,)),
    "RuntimeOptions.workspace_mb": Case(
        (B, (*NX, "runtime", "workspace_mb"), 2048), "loaded", (NATIVE,)
    ),
    "Recovery.reboot": Case((B, (*NX, "recovery"), {"reboot": "reboot"}), "recovery"),
    "Recovery.power": Case(POWER, "recovery"),
    "Recovery.off_s": Case((B, (*NX, "recovery", "off_s"), 9.0), "recovery", (POWER,)),
    "Recovery.boots_in_s": Case(
        shown_by="tests/run/test_recovery.py::"
        "test_a_dead_board_is_switched_on_again_and_a_hung_one_rebooted"
    ),
    "ToolchainSpec.bin_dir": Case(
        (B, ("toolchains",), {"tengine": {"bin_dir": "/b"}}), "toolchains"
    ),
    "ToolchainSpec.python": Case(
        (B, ("toolchains", "rknn1", "python"), "/q"), "toolchains", (CONVERTER,)
    ),
    "ToolchainSpec.ssh": Case(
        (B, ("toolchains", "rknn1", "ssh", "port"), 23), "toolchains", (CONVERTER,)
    ),
    "ToolchainSpec.version": Case(
        (B, ("toolchains", "rknn1", "version"), "1.7.3"), "keys", (CONVERTER, *TO_RK)
    ),
    "ToolchainSpec.pre_compile": Case(
        (B, ("toolchains", "rknn1", "pre_compile"), True), "keys", (CONVERTER, *TO_RK)
    ),
    "ToolchainSpec.options": Case(
        (B, ("toolchains",), {"tengine": {"options": {"bin_dir": "/b"}}}), "toolchains"
    ),
    "ModelSpec.name": Case((F, ("name",), "other"), says="must carry the name 'face'"),
    "ModelSpec.file": Case(
        (F, ("file",), "synthface-ir.onnx"), says="is not the file described here"
    ),
    "ModelSpec.sha256": Case((F, ("sha256",), "0" * 64), says="is not the file described here"),
    "ModelSpec.input": Case((F, ("input", "colour"), "BGR")),
    "ModelSpec.output": Case((F, ("output",), "embeding"), says="did you mean 'embedding'?"),
    "ModelSpec.quantized": Case(
        shown_by="tests/planning/test_as_given.py::test_each_vendor_takes_the_file_or_says_why_not"
    ),
    "QuantizedFile.file": Case(
        (F, ("quantized", "file"), "none.onnx"), says="none.onnx does not exist", first=(QAT,)
    ),
    "QuantizedFile.sha256": Case(
        (F, ("quantized", "sha256"), "0" * 64), says="not the file described here", first=(QAT,)
    ),
    "ModelSpec.embedding_size": Case((F, ("embedding_size",), 64), says="128 numbers a face"),
    "ModelSpec.task": Case(
        (F, ("task",), "detection"), says="a detector's manifest needs detection: {head: NAME}"
    ),
    "ModelSpec.detection": Case(
        (F, ("detection",), {"head": "scrfd"}), says="they are those of 'centerface'", first=DETECTS
    ),
    "DetectionPart.head": Case(
        (F, ("detection", "head"), "scrdf"), says="did you mean 'scrfd'?", first=DETECTS
    ),
    "DetectionPart.outputs": Case(
        (F, ("detection", "outputs"), ["heat", "scale", "marks", "offset"]),
        says="takes them in the order heat, scale, offset, marks",
        first=DETECTS,
    ),
    "DetectionPart.min_score": Case((F, ("detection", "min_score"), 0.1), first=DETECTS),
    "DetectionPart.nms_iou": Case((F, ("detection", "nms_iou"), 0.5), first=DETECTS),
    "ScoringPolicy.false_positives": Case(
        (M, ("scoring", "false_positives"), [1.0]), first=DETECTS
    ),
    "ModelSpec.licence": Case((F, ("licence",), "MIT"), "provenance"),
    "ModelSpec.provenance": Case((F, ("provenance",), "a gift"), "provenance"),
    "ModelSpec.description": Case((F, ("description",), "small"), "provenance"),
    "InputSpec.name": Case((F, ("input", "name"), "data"), says="has the input 'input'"),
    "InputSpec.layout": Case((F, ("input", "layout"), "NHWC"), says="describes 112 x 112 x 3"),
    "InputSpec.height": Case((F, ("input", "height"), 128), says="wants 128 x 112"),
    "InputSpec.width": Case((F, ("input", "width"), 128), says="wants 112 x 128"),
    "InputSpec.colour": Case((F, ("input", "colour"), "BGR")),
    "InputSpec.mean": Case((F, ("input", "mean"), 0)),
    "InputSpec.std": Case((F, ("input", "std"), [1, 2, 3])),
}


def keys_of(*roots: type[Spec]) -> Iterator[str]:
    """`Class.key` of all that the files may have below these classes."""
    pending, seen = list(roots), set()
    while pending:
        cls = pending.pop()
        if cls in seen:
            continue
        seen.add(cls)
        for name, info in cls.model_fields.items():
            yield f"{cls.__name__}.{name}"
            pending += specs_in(info.annotation)


def specs_in(annotation: Any) -> list[type[Spec]]:
    if isinstance(annotation, types.GenericAlias) or typing.get_args(annotation):
        return [found for part in typing.get_args(annotation) for found in specs_in(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, Spec) else []


def test_every_key_has_a_case() -> None:
    keys = set(keys_of(Matrix, Inventory, ModelSpec))
    assert len(keys) > 100
    missing = sorted(keys - set(CASES))
    assert not missing, f"say in CASES what {missing} change, and in docs/reference/settings.md"
    assert not set(CASES) - keys


def test_every_key_is_documented() -> None:
    text = (ROOT / "docs/reference/settings.md").read_text()
    missing = {
        key for key in keys_of(Matrix, Inventory, ModelSpec) if f"`{key.split('.')[1]}`" not in text
    }
    assert not {key for key in missing if not key.endswith((".source", ".type"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings")


PLANNED: dict[str, dict[str, Any]] = {}


def before(folder: Path, files: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(files, sort_keys=True)
    if text not in PLANNED:
        PLANNED[text] = planned(folder, files)
    return PLANNED[text]


@pytest.mark.parametrize("key", CASES)
def test_changing_a_setting_changes_what_it_says(folder: Path, key: str) -> None:
    case = CASES[key]
    if case.change is None:
        path, name = case.shown_by.split("::")
        assert f"def {name}(" in (ROOT / path).read_text()
        return
    files = base()
    for change in case.first:
        put(files, change)
    if case.refused_before:
        with pytest.raises(UserError, match=case.refused_before):
            planned(folder, files)
        put(files, case.change)
        assert planned(folder, files)[case.what]
        return
    old = before(folder, files)
    put(files, case.change)
    if case.says:
        with pytest.raises(UserError) as caught:
            planned(folder, files)
        assert case.says in caught.value.message
        assert f"{case.change[0]}:" in caught.value.message or f"{M}:" in caught.value.message
        return
    new = planned(folder, files)
    assert new[case.what] != old[case.what]


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
        (B, (*VIM3, "runtime"), {"name": "onnxruntime", "faithful": True}),
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
