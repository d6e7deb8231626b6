"""Cells, graph and keys of the default matrix, and what changes them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UserError
from orchestrator.planning.building import build
from orchestrator.planning.cells import Cell, as_executed, expand, only
from orchestrator.planning.facts import BoardFacts
from orchestrator.planning.graph import Graph, ImageSet
from orchestrator.planning.resolving import resolve
from orchestrator.preflight.capabilities import DeclaredCapabilities, capabilities_of, check_kinds
from orchestrator.preflight.planner import encoder_backend
from orchestrator.specs.inventory import Inventory, load_inventory
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.manifests import load_models
from orchestrator.specs.matrix import load_matrix

ROOT = Path(__file__).resolve().parents[2]
FLOAT32: Any = ("float32", None, None)
INT8: Any = ("int8", "per-channel", "symmetric")
UINT8: Any = ("uint8", "per-tensor", "asymmetric")


def offer(runtime: str, *schemes: Any, missing: str = "") -> DeclaredCapabilities:
    return DeclaredCapabilities(runtime, frozenset(schemes), frozenset({"minmax"}), "1", missing)


OFFERS = {
    "onnxruntime": offer("onnxruntime", FLOAT32, INT8, UINT8),
    "tensorrt": offer("tensorrt", FLOAT32, INT8),
    "tengine": offer("tengine", FLOAT32, UINT8, missing="convert_tool not found; build it"),
    "tensorrt twin": offer("onnxruntime", FLOAT32, INT8),
    "tengine twin": offer("onnxruntime", FLOAT32, UINT8),
    "rknn twin": offer("onnxruntime", ("int8", "per-channel", "asymmetric")),
    "rknn1 twin": offer("onnxruntime", UINT8),
}
INT8_WORDS = "int8 per-channel asymmetric"
INT8_RKNN: Any = ("int8", "per-channel", "asymmetric")
RKNN = DeclaredCapabilities(
    "rknn",
    frozenset({INT8_RKNN}),
    frozenset({"minmax", "mmse"}),
    "2",
    targets=("rk3588",),
    calibrates=True,
    simulator="rknn_simulator",
)
FACTS = BoardFacts("x86_64", "some cpu", "3.11", {"onnxruntime": "1.32.0"})


def rknn_plan(
    tmp_path: Path, kind: str, place: str, offer: DeclaredCapabilities = RKNN, scheme: str = ""
) -> tuple[list[Cell], Graph]:
    """A plan of one board of a kind, with that offer of `rknn`."""
    head = (ROOT / "matrix.yaml").read_text().split("entries:")[0]
    scheme = scheme or INT8_WORDS
    text = f"{head}entries:\n  - {{name: a, boards: here, quantization: {scheme}}}\n"
    (tmp_path / "inventory.yaml").write_text(
        f"boards:\n  - {{name: here, kind: {kind}, transport: {place}}}\n"
    )
    inventory = load_inventory(tmp_path / "inventory.yaml")
    return planned(matrix_of(tmp_path, text), inventory, capabilities={**OFFERS, "rknn": offer})


def matrix_of(tmp_path: Path, text: str | None = None) -> Any:
    """A matrix that has emulated boards timed too, so that their keys can be looked at."""
    source = (ROOT / "matrix.yaml").read_text() if text is None else text
    source = source.replace("measurement:", "measurement:\n  emulated: true", 1)
    assert "emulated: true" in source
    (tmp_path / "matrix.yaml").write_text(source)
    return load_matrix(tmp_path / "matrix.yaml")


def inventory_of(tmp_path: Path, change: tuple[str, str] = ("", "")) -> Inventory:
    text = (ROOT / "device_inventory.yaml").read_text()
    (tmp_path / "device_inventory.yaml").write_text(text.replace(*change) if change[0] else text)
    return load_inventory(tmp_path / "device_inventory.yaml")


def planned(
    matrix: Any,
    inventory: Inventory,
    facts: BoardFacts = FACTS,
    capabilities: dict[str, DeclaredCapabilities] = OFFERS,
) -> tuple[list[Cell], Graph]:
    models = load_models(matrix, verify=False)
    cells = expand(matrix, inventory, load_kinds(), list(models), capabilities)
    sets = {
        (name, role): ImageSet(role, f"{role} 0", 10)
        for name in models
        for role in ("gallery", "probe", "calibration")
    }
    boards = {board.name: board for board in inventory.boards}
    known = dict.fromkeys(boards, facts)
    return cells, build(cells, matrix, models, boards, sets, known, dict.fromkeys(OFFERS, "1"))


class Everything:
    """A store that holds whatever it is asked for, and remembers the keys."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}

    def __call__(self, stage: str, key: str) -> str:
        return f"content of {key}"


def keys_of(matrix: Any, inventory: Inventory, facts: BoardFacts = FACTS) -> dict[str, str]:
    _, graph = planned(matrix, inventory, facts)
    return resolve(graph, Everything()).keys


def test_the_default_matrix_has_the_eight_published_rows(tmp_path: Path) -> None:
    cells, graph = planned(matrix_of(tmp_path), inventory_of(tmp_path))
    assert [cell.name for cell in cells] == [
        *("this-host", "jetson-xavier-nx", "khadas-vim3", "khadas-vim3*"),
        *("imx8mp", "imx8mp*", "rv1126", "rv1126*"),
    ]
    assert not [cell.reason for cell in cells if cell.reason]
    starred = graph.targets["khadas-vim3*"]
    plain = graph.targets["khadas-vim3"]
    assert starred.probe == plain.probe
    assert starred.gallery == graph.targets["this-host"].gallery


def test_every_step_comes_after_its_inputs(tmp_path: Path) -> None:
    _, graph = planned(matrix_of(tmp_path), inventory_of(tmp_path))
    seen: set[str] = set()
    for step_id in graph.steps:
        assert set(graph.sources(step_id)) <= seen
        seen.add(step_id)


def test_boards_of_one_vendor_share_an_artifact_but_no_feature(tmp_path: Path) -> None:
    keys = keys_of(matrix_of(tmp_path), inventory_of(tmp_path))
    _, graph = planned(matrix_of(tmp_path), inventory_of(tmp_path))
    artifacts = {name: graph.targets[name].artifact for name in graph.targets}
    assert artifacts["khadas-vim3"] == artifacts["imx8mp"]
    assert len({artifacts[n] for n in ("khadas-vim3", "rv1126", "jetson-xavier-nx")}) == 3
    assert keys["extract/khadas-vim3/probe"] != keys["extract/imx8mp/probe"]


def test_an_emulated_board_runs_its_vendors_twin_and_says_so(tmp_path: Path) -> None:
    cells, graph = planned(matrix_of(tmp_path), inventory_of(tmp_path))
    vim3 = next(cell for cell in cells if cell.name == "khadas-vim3")
    assert (vim3.probe.executed_by, vim3.probe.toolchain) == ("twin", "tengine")
    assert vim3.probe.runtime == "onnxruntime"
    for step in graph.steps.values():
        if "khadas-vim3" in step.id and step.stage in ("deploy", "measure", "extract", "score"):
            assert step.executed_by == "twin"
    assert graph.steps[graph.targets["khadas-vim3"].artifact].params["twin"] is True
    assert encoder_backend(vim3.probe) == "Tengine twin (onnxruntime)"


def test_onnxruntime_on_an_emulated_board_is_no_twin(tmp_path: Path) -> None:
    text = (ROOT / "matrix.yaml").read_text()
    plain = text.replace("boards: {kind: rv1126}", "boards: rv1126\n    toolchain: onnxruntime")
    cells, graph = planned(matrix_of(tmp_path, plain), inventory_of(tmp_path))
    row = next(cell for cell in cells if cell.name == "rv1126")
    assert (row.probe.executed_by, row.probe.twin) == ("emulated", False)
    assert graph.steps[graph.targets["rv1126"].artifact].params["twin"] is False
    assert encoder_backend(row.probe) == "onnxruntime (emulated)"


@pytest.mark.parametrize("place", ["emulated", "{ssh: {host: 10.0.0.9}}"])
def test_a_board_is_not_given_another_vendors_toolchain(tmp_path: Path, place: str) -> None:
    text = (ROOT / "matrix.yaml").read_text()
    wrong = text.replace("boards: {kind: rv1126}", "boards: rv1126\n    toolchain: tengine")
    old = "kind: rv1126\n    transport: emulated"
    inventory = inventory_of(tmp_path, (old, f"kind: rv1126\n    transport: {place}"))
    cells, _ = planned(matrix_of(tmp_path, wrong), inventory)
    reasons = {cell.reason for cell in cells if cell.board == "rv1126"}
    assert reasons == {"rv1126 is a RV1126, which runs rknn1, not tengine"}


def test_a_real_boards_parity_is_held_against_its_twin(tmp_path: Path) -> None:
    old = "kind: jetson-xavier-nx\n    transport: emulated"
    new = "kind: jetson-xavier-nx\n    transport: {ssh: {host: 10.0.0.9}}"
    _, graph = planned(matrix_of(tmp_path), inventory_of(tmp_path, (old, new)))
    name = "jetson-xavier-nx"
    assert graph.steps[graph.targets[name].artifact].params["twin"] is False
    step = graph.steps[f"parity/{name}"]
    assert graph.steps[step.inputs["quantized"]].params["twin"] is True
    assert step.params["same_file"] is False
    assert "quantized" not in graph.steps["parity/this-host"].inputs


def test_one_calibration_serves_every_toolchain(tmp_path: Path) -> None:
    _, graph = planned(matrix_of(tmp_path), inventory_of(tmp_path))
    assert [s for s in graph.steps if s.startswith("calibrate/")] == ["calibrate/minmax"]
    tables = [s.inputs["table"] for s in graph.steps.values() if s.stage == "quantize"]
    assert tables == ["calibrate/minmax"] * 3


def test_swapping_emulated_for_ssh_reuses_nothing_that_was_executed(tmp_path: Path) -> None:
    text = (ROOT / "matrix.yaml").read_text()
    on_cpu = text.replace(
        "boards: {kind: khadas-vim3}", "boards: {kind: khadas-vim3}\n    toolchain: onnxruntime"
    )
    matrix = matrix_of(tmp_path, on_cpu)
    old = "kind: khadas-vim3\n    transport: emulated"
    new = (
        "kind: khadas-vim3\n    transport: {ssh: {host: 10.0.0.9}}\n"
        "    runtime: {name: onnxruntime, faithful: true}"
    )
    before = keys_of(matrix, inventory_of(tmp_path))
    after = keys_of(matrix, inventory_of(tmp_path, (old, new)))
    assert set(before) == set(after)
    executed = [s for s in before if "khadas" in s and re.match("deploy|measure|extract|score", s)]
    assert len(executed) == 6
    assert before["parity/khadas-vim3"] != after["parity/khadas-vim3"]
    for step in executed:
        assert before[step] != after[step], step
    assert before["extract/imx8mp/probe"] == after["extract/imx8mp/probe"]


@pytest.mark.parametrize(
    "facts",
    [
        replace(FACTS, runtimes={"onnxruntime": "1.33.0"}),
        replace(FACTS, machine="aarch64"),
        replace(FACTS, cpu="another cpu"),
    ],
)
def test_another_runtime_or_processor_reuses_no_feature(tmp_path: Path, facts: BoardFacts) -> None:
    matrix, inventory = matrix_of(tmp_path), inventory_of(tmp_path)
    before, after = keys_of(matrix, inventory), keys_of(matrix, inventory, facts)
    for step in before:
        if step.startswith(("measure", "extract", "score")):
            assert before[step] != after[step]
        elif step.startswith(("images", "calibrate", "quantize", "convert")):
            assert before[step] == after[step]


def test_the_name_of_a_board_changes_its_latency_but_not_its_features(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path)
    before = keys_of(matrix, inventory_of(tmp_path))
    after = keys_of(matrix, inventory_of(tmp_path, ("name: khadas-vim3", "name: vim3-b")))
    assert before["extract/khadas-vim3/probe"] == after["extract/vim3-b/probe"]
    assert before["measure/khadas-vim3"] != after["measure/vim3-b"]


def test_clocks_are_held_with_leave_only_and_never_for_a_substitute(tmp_path: Path) -> None:
    text = (ROOT / "matrix.yaml").read_text()
    pinned = text.replace("  min_count: 200", "  min_count: 200\n  clocks: pinned")
    pinned = pinned.replace("  min_count: 200", "  min_count: 200\n  cool_below_c: 50")
    matrix = matrix_of(tmp_path, pinned)

    def policy(inventory: Inventory, step: str) -> dict[str, Any]:
        found: dict[str, Any] = planned(matrix, inventory)[1].steps[step].params["policy"]
        return found

    host = policy(inventory_of(tmp_path), "measure/this-host")
    assert (host["clocks"], host["cool_below_c"]) == ("pinned", 50.0)
    substitute = policy(inventory_of(tmp_path), "measure/khadas-vim3")
    assert (substitute["clocks"], substitute["cool_below_c"]) == ("untouched", None)
    protected = ("    kind: host-cpu\n", "    kind: host-cpu\n    clocks: untouched\n")
    assert policy(inventory_of(tmp_path, protected), "measure/this-host")["clocks"] == "untouched"


def test_nothing_held_means_everything_to_do_and_unknown_keys(tmp_path: Path) -> None:
    _, graph = planned(matrix_of(tmp_path), inventory_of(tmp_path))
    found = resolve(graph, lambda stage, key: None)
    assert set(found.todo) == set(graph.steps)
    assert "images/gallery" in found.keys
    assert "score/this-host" not in found.keys


def test_all_held_means_nothing_to_do(tmp_path: Path) -> None:
    _, graph = planned(matrix_of(tmp_path), inventory_of(tmp_path))
    assert resolve(graph, Everything()).todo == []


def test_a_missing_score_needs_no_board(tmp_path: Path) -> None:
    _, graph = planned(matrix_of(tmp_path), inventory_of(tmp_path))
    found = resolve(graph, lambda stage, key: None if stage in ("score", "compare") else f"c{key}")
    assert {step.split("/")[0] for step in found.todo} == {"score", "compare"}


@pytest.mark.parametrize(
    ("quantization", "reason"),
    [
        ("int8 per-channel symmetric", "takes only float16, uint8 per-tensor asymmetric"),
        ("float32", "cannot run float32"),
        ("int8 per-tensor symmetric", "RV1126 cannot run int8 per-tensor symmetric"),
        ("uint8 per-tensor asymmetric entropy", "has no calibrator 'entropy'"),
    ],
)
def test_an_impossible_cell_says_why(tmp_path: Path, quantization: str, reason: str) -> None:
    text = (ROOT / "matrix.yaml").read_text()
    head = text[: text.index("entries:")]
    entries = (
        "entries:\n  - {name: a, boards: this-host, quantization: float32}\n"
        f"  - {{name: b, boards: rv1126, quantization: {quantization}}}\n"
    )
    cells, graph = planned(matrix_of(tmp_path, head + entries), inventory_of(tmp_path))
    assert [cell.name for cell in cells if cell.reason] == ["rv1126"]
    assert reason in cells[1].reason
    assert list(graph.targets) == ["this-host"]


def test_helpers_change_what_is_made_and_the_row_is_told_apart(tmp_path: Path) -> None:
    text = (ROOT / "matrix.yaml").read_text()
    uint8 = "uint8 per-tensor asymmetric"
    entries = (
        "entries:\n  - {name: a, boards: this-host, quantization: float32}\n  - name: b\n"
        f"    boards: this-host\n    quantization: [{uint8}, {uint8} equalize, "
        f"{uint8} bias-correction]\n"
        "  - {name: c, boards: rv1126, quantization: {dtype: uint8, granularity: per-tensor, "
        "symmetry: asymmetric, keep_float: suggested}}\n"
    )
    cells, graph = planned(
        matrix_of(tmp_path, text[: text.index("entries:")] + entries), inventory_of(tmp_path)
    )
    assert len({cell.name for cell in cells}) == 5
    tables = {
        step.id.split("/")[-1]: (step.inputs["table"], "images" in step.inputs)
        for step in graph.steps.values()
        if step.stage == "quantize" and "onnxruntime" in step.id
    }
    assert tables == {
        "uint8-per-tensor-asymmetric": ("calibrate/minmax", False),
        "uint8-per-tensor-asymmetric-equalize": ("calibrate/minmax-equalized", True),
        "uint8-per-tensor-asymmetric-bias-correction": ("calibrate/minmax", True),
    }


def test_float_layers_where_a_vendor_has_none_are_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OFFERS, "rknn1 twin", replace(OFFERS["rknn1 twin"], keeps_float=False))
    text = (ROOT / "matrix.yaml").read_text()
    entries = (
        "entries:\n  - {name: c, boards: rv1126, quantization: {dtype: uint8, granularity: "
        "per-tensor, symmetry: asymmetric, keep_float: fc}}\n"
    )
    matrix = matrix_of(tmp_path, text[: text.index("entries:")] + entries)
    cells, _ = planned(matrix, inventory_of(tmp_path))
    assert cells[0].reason == "rknn1's files have no float layers; leave keep_float out"


def test_a_scheme_that_the_toolchain_cannot_make_is_impossible(tmp_path: Path) -> None:
    text = (ROOT / "matrix.yaml").read_text()
    entries = (
        "entries:\n  - {name: a, boards: this-host, quantization: uint8 per-channel asymmetric}\n"
    )
    matrix = matrix_of(tmp_path, text[: text.index("entries:")] + entries)
    cells, _ = planned(matrix, inventory_of(tmp_path))
    assert "onnxruntime cannot make uint8 per-channel asymmetric" in cells[0].reason


@pytest.mark.parametrize(
    ("board", "kind", "why"),
    [
        ("rv1126", "rv1126", "toolchain 'rknn1', which this farm does not have"),
        ("khadas-vim3", "khadas-vim3", "'tengine': convert_tool not found; build it"),
    ],
)
def test_a_real_board_without_its_toolchain_is_never_a_silent_twin(
    tmp_path: Path, board: str, kind: str, why: str
) -> None:
    old = f"kind: {kind}\n    transport: emulated"
    inventory = inventory_of(
        tmp_path, (old, f"kind: {kind}\n    transport: {{ssh: {{host: 10.0.0.9}}}}")
    )
    cells, graph = planned(matrix_of(tmp_path), inventory)
    rows = [cell for cell in cells if cell.board == board]
    assert rows
    assert all(why in cell.reason for cell in rows)
    assert {cell.probe.executed_by for cell in rows} == {"board"}
    assert not [step for step in graph.steps if board in step]


def test_only_takes_rows_entries_and_boards_and_names_the_nearest(tmp_path: Path) -> None:
    cells, _ = planned(matrix_of(tmp_path), inventory_of(tmp_path))
    assert [c.name for c in only(cells, ("khadas-vim3*",), "m")] == ["khadas-vim3*"]
    assert [c.name for c in only(cells, ("a311d",), "m")] == ["khadas-vim3", "khadas-vim3*"]
    assert [c.name for c in only(cells, ("rv1126", "this-host"), "m")] == [
        *("rv1126", "rv1126*", "this-host"),
    ]
    with pytest.raises(UserError, match="did you mean 'rv1126'"):
        only(cells, ("rv1128",), "m")


def test_two_entries_that_make_one_row_are_refused(tmp_path: Path) -> None:
    text = (ROOT / "matrix.yaml").read_text()
    twice = text + "\n  - {name: again, boards: this-host, quantization: float32}\n"
    with pytest.raises(UserError, match="'float32' and 'again' both make the row 'this-host'"):
        planned(matrix_of(tmp_path, twice), inventory_of(tmp_path))


def test_a_vendor_that_calibrates_gets_the_images_and_its_target(tmp_path: Path) -> None:
    _, graph = rknn_plan(tmp_path, "rk3588", "{ssh: {host: 10.0.0.9}}")
    step = graph.steps[graph.targets["here"].artifact]
    assert step.inputs == {"images": "images/calibration"}
    assert (step.params["target"], step.params["simulate"]) == ("rk3588", False)
    assert step.params["preprocessing"]["std"] == [127.5, 127.5, 127.5]
    # Our own calibration is only for the twin that parity holds it against.
    quantized = [s for s in graph.steps.values() if s.stage == "quantize"]
    assert [s.params["twin"] for s in quantized] == [True]
    assert graph.steps["parity/here"].inputs["quantized"].startswith("convert/rknn-twin/")
    assert graph.targets["here"].measure is not None


def test_a_simulator_executes_on_this_host_and_is_not_measured(tmp_path: Path) -> None:
    cells, graph = rknn_plan(tmp_path, "rk3588", "simulator")
    probe = cells[0].probe
    assert (probe.executed_by, probe.runtime) == ("simulator", "rknn_simulator")
    assert not cells[0].reason
    assert encoder_backend(probe) == "RKNN simulator"
    assert graph.targets["here"].measure is None
    assert not [s for s in graph.steps.values() if s.stage == "measure"]
    assert graph.steps[graph.targets["here"].artifact].params["simulate"] is True
    board, simulated = (
        rknn_plan(tmp_path, "rk3588", place)[1].steps["extract/here/probe"].params
        for place in ("{ssh: {host: 10.0.0.9}}", "simulator")
    )
    assert (board["executed_by"], simulated["executed_by"]) == ("board", "simulator")


@pytest.mark.parametrize(
    ("kind", "place", "scheme", "missing", "reason"),
    [
        ("rk3588", "simulator", "", "farm toolchain install rknn", "farm toolchain install rknn"),
        ("rk3588", "{ssh: {host: h}}", "", "farm toolchain install rknn", "install rknn"),
        ("rv1126b", "simulator", "", "", "makes no file for rv1126b, only for rk3588"),
        ("khadas-vim3", "simulator", "uint8 per-tensor asymmetric", "", "'tengine' has none"),
        (
            "rk3588",
            "simulator",
            "int8 per-channel asymmetric entropy",
            "",
            "no calibrator 'entropy'",
        ),
        ("rk3588", "simulator", "float16", "", "rknn cannot make float16"),
    ],
)
def test_what_a_vendors_toolkit_cannot_do_is_said_before_anything_starts(
    tmp_path: Path, kind: str, place: str, scheme: str, missing: str, reason: str
) -> None:
    cells, graph = rknn_plan(tmp_path, kind, place, replace(RKNN, missing=missing), scheme)
    assert reason in cells[0].reason
    assert not graph.steps


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tengin: {bin_dir: /t}", r"yaml:4: unknown toolchain 'tengin'; did you mean 'tengine'\?"),
        ("tengine: {python: /p}", r"yaml:4: toolchain 'tengine' has no option 'python'"),
        ("rknn1: {pyton: /p}", r"yaml:4: unknown key 'pyton' .*did you mean 'python'"),
        ("rknn1: {python: /p, ssh: {hosst: h}}", r"unknown key 'hosst'.*did you mean 'host'"),
    ],
)
def test_a_mistake_in_the_inventorys_toolchains_is_said_with_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    boards = "boards:\n  - {name: a, kind: rv1126, transport: {ssh: {host: h}}}\ntoolchains:\n"
    (tmp_path / "inventory.yaml").write_text(f"{boards}  {text}\n")
    with pytest.raises(UserError, match=words):
        capabilities_of(load_inventory(tmp_path / "inventory.yaml"))


def test_the_inventorys_toolchains_reach_the_plan(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text(
        "boards:\n  - {name: a, kind: rv1126, transport: {ssh: {host: h}}}\n"
        "toolchains:\n  rknn1: {python: /p, version: 1.7.3, ssh: {host: converter}}\n"
    )
    offer = capabilities_of(load_inventory(tmp_path / "inventory.yaml"))["rknn1"]
    assert not offer.missing
    assert "rknn-toolkit 1.7.3" in offer.version
    assert (offer.runtime, offer.targets[0], offer.calibrates) == ("rknn", "rv1126", True)


def test_what_only_emulators_execute_is_emulated_and_a_pool_keeps_its_boards(
    tmp_path: Path,
) -> None:
    ssh = "transport: {ssh: {host: 10.0.0.9}}"
    head = (ROOT / "matrix.yaml").read_text().split("entries:")[0]
    text = (
        f"{head}entries:\n  - {{name: a, boards: {{kind: rk3588}}, quantization: {INT8_WORDS}}}\n"
    )
    boards = "".join(f"  - {{name: {name}, kind: rk3588, {ssh}}}\n" for name in ("one", "two"))
    (tmp_path / "inventory.yaml").write_text("boards:\n" + boards)
    matrix, inventory = matrix_of(tmp_path, text), load_inventory(tmp_path / "inventory.yaml")
    cells, _ = planned(matrix, inventory, capabilities={**OFFERS, "rknn": RKNN})
    assert as_executed(cells, ()) == cells

    (cell,) = as_executed(cells, {"one"})
    assert (cell.probe.executed_by, cell.probe.pool) == ("board", ("two",))
    (cell,) = as_executed(cells, {"one", "two"})
    assert (cell.probe.executed_by, cell.probe.pool) == ("emulated", ("one", "two"))
    assert encoder_backend(cell.probe) == "rknn (emulated)"
    assert as_executed([cell], ()) == cells

    both = {board.name: board for board in inventory.boards}
    models = load_models(matrix, verify=False)
    sets = {
        (name, role): ImageSet(role, role, 10)
        for name in models
        for role in ("gallery", "probe", "calibration")
    }
    known, versions = dict.fromkeys(both, FACTS), dict.fromkeys(OFFERS, "1")
    for emulators, by in (({"one"}, "board"), (set(both), "emulated")):
        made = as_executed(cells, emulators)
        bound = {f"measure/{cell.probe.name}": "one"}
        graph = build(made, matrix, models, both, sets, known, versions | {"rknn": "2"}, bound)
        step = graph.steps[f"measure/{cell.probe.name}"]
        assert (step.executed_by, step.params["executed_by"]) == (by, by)
        assert step.board == ("two" if by == "board" else "one")
        assert graph.steps[f"parity/{cell.probe.name}"].params.get("emulator", False) is (
            by == "emulated"
        )


def test_a_kind_whose_toolchain_feeds_another_runtime_is_refused() -> None:
    inventory, kinds = load_inventory(ROOT / "device_inventory.yaml"), dict(load_kinds())
    capabilities = capabilities_of(inventory)
    check_kinds(inventory, kinds, capabilities)
    kinds["imx8mp"] = kinds["imx8mp"].model_copy(update={"toolchain": "onnxruntime"})
    with pytest.raises(UserError, match=r"tengine never runs: .* run on onnxruntime; .*: tengine"):
        check_kinds(inventory, kinds, capabilities)


def test_every_kind_names_the_runtime_of_its_toolchain() -> None:
    capabilities = capabilities_of(load_inventory(ROOT / "device_inventory.yaml"))
    for kind in load_kinds().values():
        assert capabilities[kind.toolchain].runtime == kind.runtime, kind.name
