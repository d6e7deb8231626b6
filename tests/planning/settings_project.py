"""A matrix, an inventory and a model as data; what a plan of them decides, settings changed."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML
from scipy.io import savemat

from orchestrator.fleet.boards.addressing import address_of
from orchestrator.fleet.boards.recovery import longest_s, rungs
from orchestrator.fleet.emulated.boards import EmulatedAddress
from orchestrator.planning.facts import BoardFacts
from orchestrator.preflight.planner import Plan, encoder_backend, make_plan
from orchestrator.request import Request

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

    def start(self, name: str, *, machine: None = None) -> EmulatedAddress:
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
