"""What each key of the three YAML files changes of a plan, a case for each key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML

from .settings_project import (
    GONE,
    HOST,
    HOST_ROW,
    INT8,
    KEY,
    NX,
    NX_ROW,
    RED,
    ROOT,
    SSH,
    UINT8,
    VIM3,
    VIM3_ROW,
    B,
    Change,
    F,
    M,
)


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
DRAWN_PHOTOS = (
    M,
    ("test_set",),
    {"rendered_photos": {"identities": 20, "unknown": 10, "detector": "red"}},
)
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
    for name, value in (
        ("seed", 1),
        ("identities", 21),
        ("distractors", 5),
        ("unknown", 11),
        ("difficulty", 2),
        ("first_identity", 9),
        ("size", [96, 96]),
        ("detector", "synthdet"),
        ("min_score", 0.9),
    ):
        found[f"RenderedPhotosSet.{name}"] = Case(
            (M, ("test_set", "rendered_photos", name), value), first=(DRAWN_PHOTOS,)
        )
    found["RenderedPhotosSet.source"] = Case(TWO, first=(DRAWN_PHOTOS,))
    found["Entry.detector"] = Case(
        (M, (*VIM3_ROW, "detector"), ["this-host", "same", INT8]), "rows", (DRAWN_PHOTOS,)
    )
    found["Matrix.detector_calibration"] = Case(
        (M, ("detector_calibration",), {"folder": {"path": "other"}}),
        first=(DRAWN_PHOTOS, (M, (*VIM3_ROW, "detector"), "same")),
    )
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
    # Whether a processor is installed is this computer's affair: that test has a folder of its own.
    "EmulatedTransportSpec.machine": Case(
        shown_by="tests/planning/test_machines.py::test_two_processors_share_neither_row_nor_key"
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
