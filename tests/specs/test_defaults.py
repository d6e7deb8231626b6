"""The files that come with farm say what they should, and mean what they say."""

import pickle
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from orchestrator.errors import UserError
from orchestrator.images import calibration_rows, gallery_rows, probe_rows
from orchestrator.planning.cells import scheme_name
from orchestrator.specs import (
    Board,
    BoardSelector,
    Entry,
    Inventory,
    Matrix,
    Quantization,
    RenderedSet,
    Rule,
    SshTransportSpec,
    check_references,
    load_inventory,
    load_kinds,
    load_matrix,
    load_models,
)
from orchestrator.toolchains import toolchain

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def inventory():
    return load_inventory(ROOT / "device_inventory.yaml")


@pytest.fixture(scope="module")
def matrix():
    return load_matrix(ROOT / "matrix.yaml")


def rows_of(matrix, inventory):
    """(hardware, quantization, gallery) of every cell, in the table's order."""
    return [
        (board.hardware, quantization.label, gallery)
        for entry in matrix.entries
        for board in entry.boards.select(inventory)
        for quantization in entry.quantization
        for gallery in entry.gallery
    ]


EIGHT = [
    ("This host", "float32", "same"),
    ("Jetson NX", "int8 per-channel symmetric", "same"),
    *(
        (hardware, "uint8 per-tensor asymmetric", gallery)
        for hardware in ("A311D", "NXP-IMX8P", "RV1126")
        for gallery in ("same", "float32")
    ),
]


@pytest.mark.parametrize(
    ("name", "enrolled", "unknown"),
    [("matrix.yaml", 3000, 1000), ("examples/full-size/matrix.yaml", 50_000, 10_000)],
)
def test_eight_rows(name, enrolled, unknown, inventory):
    matrix = load_matrix(ROOT / name)
    check_references(matrix, inventory, load_kinds(), load_models(matrix))
    assert rows_of(matrix, inventory) == EIGHT
    assert matrix.test_set == RenderedSet(identities=enrolled, unknown=unknown, difficulty=1.5)
    assert len(gallery_rows(matrix.test_set)) == enrolled
    assert len(probe_rows(matrix.test_set)) == enrolled + unknown
    assert len(calibration_rows(matrix.calibration)) == 200
    assert matrix.scoring.table_far == 1e-3
    assert matrix.reference_entry is matrix.entries[0]


def test_each_kind_accepts_what_the_matrix_asks_of_it(matrix, inventory):
    for entry in matrix.entries:
        for board in entry.boards.select(inventory):
            for quantization in entry.quantization:
                assert load_kinds()[board.kind].accepts(quantization), (board.name, quantization)


def test_vendors_rules():
    kinds = load_kinds()
    assert kinds["jetson-xavier-nx"].supported == "float32, float16, int8 per-channel symmetric"
    for name in ("khadas-vim3", "imx8mp"):
        assert kinds[name].supported == "uint8 per-tensor asymmetric"
    assert kinds["rv1126"].supported == "float16, uint8 per-tensor asymmetric"
    assert not kinds["rv1126"].accepts(Quantization(dtype="float32"))
    assert all(kind.name == name for name, kind in kinds.items())


def test_rockchips_two_generations_are_never_taken_for_each_other():
    kinds = load_kinds()
    assert (kinds["rv1126"].toolchain, kinds["rv1126"].target) == ("rknn1", "rv1126")
    assert (kinds["rv1126b"].toolchain, kinds["rv1126b"].target) == ("rknn", "rv1126b")
    offered = toolchain("rknn").capabilities.targets
    second = {kind.target for kind in kinds.values() if kind.toolchain == "rknn"}
    assert {"rk3588", "rv1126b"} <= second <= set(offered)
    assert not kinds["rv1126b"].accepts(kinds_scheme("uint8"))
    assert kinds["rv1126b"].accepts(Quantization(dtype="float16"))


def test_no_two_kinds_claim_one_board() -> None:
    claimed: dict[str, list[str]] = {}
    for name, kind in load_kinds().items():
        for pattern in kind.signatures.device_tree:
            claimed.setdefault(pattern, []).append(f"{name}.yaml")
    twice = {pattern: files for pattern, files in claimed.items() if len(files) > 1}
    assert twice == {}, "signatures: device_tree: a board of one kind would be taken for the other"


def test_every_kind_has_a_target_that_its_toolchain_knows() -> None:
    for name, kind in load_kinds().items():
        targets = toolchain(kind.toolchain).capabilities.targets
        if targets:
            assert kind.target in targets, f"{name}.yaml: target: one of {', '.join(targets)}"


def kinds_scheme(dtype: str) -> Quantization:
    return Quantization.model_validate(f"{dtype} per-tensor asymmetric")


def test_default_fleet(inventory):
    assert [b.executed_by for b in inventory.boards] == ["board"] + ["emulated"] * 4
    assert {b.contention_domain for b in inventory.boards} == {"this-host"}
    assert {b.python for b in inventory.boards} == {sys.executable}
    assert [b.runtime.faithful for b in inventory.boards] == [False] + [None] * 4
    assert {b.runtime.name for b in inventory.boards} == {"onnxruntime"}
    assert [b.toolchain_for("auto") for b in inventory.boards] == [
        *("onnxruntime", "tensorrt", "tengine", "tengine", "rknn1"),
    ]


def test_a_native_runtime_runs_on_its_accelerator_unless_the_entry_says_otherwise():
    ssh = {"ssh": {"host": "10.0.0.7"}}
    npu = Board(name="a", kind="khadas-vim3", transport=ssh)
    assert npu.runtime.providers == ("TIMVX",)
    assert npu.libraries == {}
    own = {"library": "/opt/lib/libtengine-lite.so", "providers": ["CPU"], "threads": 4}
    cpu = Board(name="b", kind="khadas-vim3", transport=ssh, runtime=own)
    assert cpu.runtime.providers == ("CPU",)
    assert cpu.libraries == {"tengine": "/opt/lib/libtengine-lite.so"}
    assert cpu.runtime.to_options()["library"] == "/opt/lib/libtengine-lite.so"
    # An ONNX file on that board's CPU is no business of Tengine's options, save its threads.
    other = cpu.runtime_for("onnxruntime")
    assert (other.providers, other.threads) == (("CPUExecutionProvider",), 4)
    assert "library" not in other.to_options()
    assert cpu.runtime_for("tengine") is cpu.runtime


def test_a_real_board_runs_as_its_runtime_does_unless_its_entry_says_otherwise():
    """Its time is that of the fused kernels that it ships with."""
    ssh = {"ssh": {"host": "10.0.0.7"}}
    for said, expected in ((None, False), (False, False), (True, True)):
        board = Board(name="a", kind="host-cpu", transport=ssh, runtime={"faithful": said})
        assert board.runtime.faithful is expected


def test_a_real_board_takes_its_kinds_runtime():
    board = Board.model_validate(
        {"name": "nx-1", "kind": "jetson-xavier-nx", "transport": {"ssh": {"host": "10.0.0.7"}}}
    )
    assert isinstance(board.transport, SshTransportSpec)
    assert (board.executed_by, board.contention_domain, board.python) == (
        "board",
        "nx-1",
        "python3",
    )
    assert (board.runtime.name, board.runtime.faithful) == ("tensorrt", False)
    assert (board.toolchain_for("auto"), board.toolchain_for("onnxruntime")) == (
        "tensorrt",
        "onnxruntime",
    )
    again = Board.model_validate(board.model_dump())
    assert again == board
    assert pickle.loads(pickle.dumps(board)) == board


def test_specifications_survive_pickling_with_their_lines(matrix):
    again = pickle.loads(pickle.dumps(matrix))
    assert again == matrix
    assert again.source.line(("entries", 1, "name")) == matrix.source.line(("entries", 1, "name"))


def test_specifications_are_frozen(matrix, inventory):
    for spec, field in ((matrix, "entries"), (inventory.boards[0], "name")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(spec, field, "other")


def test_selectors():
    fleet = Inventory(
        boards=[
            Board.model_validate(
                {"name": name, "kind": kind, "transport": "emulated", "tags": tags, "site": site}
            )
            for name, kind, tags, site in (
                ("a", "imx8mp", ["lab"], "ground-floor"),
                ("b", "imx8mp", [], "attic"),
                ("c", "rv1126", ["lab", "new"], "attic"),
            )
        ]
    )

    def names(**axes):
        return "".join(b.name for b in BoardSelector(**axes).select(fleet))

    assert names(kind="imx8mp") == "ab"
    assert names(kind=["imx8mp", "rv1126"]) == "abc"
    assert names(kind="imx8mp", tag="lab") == "a"
    assert names(tag=["new", "lab"]) == "ac"
    assert names(name=["c", "b"]) == "bc"
    assert names(site="attic") == "bc"
    assert names(site=["attic", "ground-floor"], kind="imx8mp") == "ab"


def test_include_and_exclude(inventory):
    cell = {
        "entry": "e",
        "board": inventory.boards[1],
        "toolchain": "onnxruntime",
        "quantization": Quantization.model_validate("int8 per-channel symmetric"),
        "gallery": "same",
        "model": "m",
    }

    def wants(include=(), exclude=()):
        entry = Entry(name="e", boards="this-host", quantization="float32")
        matrix = Matrix(
            models="m",
            test_set={"rendered": {"identities": 1}},
            entries=[entry],
            include=[Rule(**r) for r in include],
            exclude=[Rule(**r) for r in exclude],
        )
        return matrix.wants(**cell)

    assert wants()
    assert wants(include=[{"kind": "jetson-xavier-nx"}])
    assert not wants(include=[{"kind": "rv1126"}])
    assert wants(include=[{"kind": "rv1126"}, {"gallery": ["same", "float32"]}])
    assert not wants(exclude=[{"quantization": "int8"}])
    assert not wants(exclude=[{"quantization": "symmetric per-channel"}])
    assert wants(exclude=[{"quantization": "int8", "gallery": "float32"}])
    assert wants(exclude=[{"quantization": "int8 asymmetric"}])
    assert not wants(include=[{"model": "m"}], exclude=[{"board": "jetson-xavier-nx"}])


@pytest.mark.parametrize(
    "words",
    [
        "float32",
        "int8 per-channel symmetric",
        "uint8 per-tensor asymmetric percentile",
        "uint8 per-tensor asymmetric equalize bias-correction",
    ],
)
def test_words_of_a_quantization_and_its_label_agree(words):
    quantization = Quantization.model_validate(words)
    assert quantization.label == words
    assert Quantization.model_validate(quantization.model_dump()) == quantization


def test_accuracy_helpers_are_axes_of_a_row():
    plain = Quantization.model_validate("uint8 per-tensor asymmetric")
    helped = [
        Quantization.model_validate("uint8 per-tensor asymmetric equalize"),
        Quantization.model_validate(plain.model_dump() | {"bias_correction": True}),
        Quantization.model_validate(plain.model_dump() | {"keep_float": "suggested"}),
    ]
    assert len({scheme_name(q) for q in (plain, *helped)}) == 4
    assert [q.has_helpers for q in (plain, *helped)] == [False, True, True, True]
    assert {q.scheme for q in helped} == {plain.scheme}
    extras = [q.extras for q in (plain, *helped)]
    assert extras == [(), ("equalize",), ("bias-correction",), ("float: suggested",)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "float32", "equalize": True}, "float32 takes no accuracy helper"),
        ({"keep_float": ["suggested", "fc"]}, "names, or 'suggested' alone"),
    ],
)
def test_helpers_that_make_no_sense(change, message):
    words = {"dtype": "uint8", "granularity": "per-tensor", "symmetry": "asymmetric"}
    if change.get("dtype") == "float32":
        words = {}
    with pytest.raises(ValueError, match=message):
        Quantization.model_validate(words | change)
    with pytest.raises(ValueError, match="is defined twice"):
        Quantization.model_validate("uint8 per-tensor asymmetric equalize equalize")


def test_own_faces_example(tmp_path, inventory):
    folder = shutil.copytree(ROOT / "examples" / "own-faces", tmp_path / "own")
    matrix = load_matrix(folder / "matrix.yaml")
    with pytest.raises(UserError, match=r"my-model\.yaml:3: the model file .* does not exist"):
        load_models(matrix)
    runpy.run_path(str(folder / "make_demo.py"))["main"](folder)
    models = load_models(matrix)
    check_references(matrix, inventory, load_kinds(), models)
    model = models["my-model"]
    assert (model.input.size, model.input.colour, model.input.std) == ((96, 80), "BGR", (58.8,) * 3)
    gallery = gallery_rows(matrix.test_set, size=model.input.size)
    probes = probe_rows(matrix.test_set, size=model.input.size)
    assert gallery.images().shape == (12, 96, 80, 3)
    assert probes.images().shape == (32, 96, 80, 3)
    assert len(set(probes.identities) - set(gallery.identities)) == 20
    assert len(calibration_rows(matrix.calibration, size=model.input.size)) == 16
    with pytest.raises(UserError, match="112 x 112 are expected"):
        gallery_rows(matrix.test_set, size=(112, 112)).images()
