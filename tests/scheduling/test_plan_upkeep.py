"""When a run plans again for boards that were connected."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.events import EventLog
from orchestrator.planning.facts import BoardFacts
from orchestrator.planning.graph import Graph
from orchestrator.planning.resolving import Keys
from orchestrator.planning.stage_facts import STAGE_FACTS
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.request import Request
from orchestrator.scheduling import plan_upkeep
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.steps import Steps
from orchestrator.scheduling.plan_reports import PlanReports
from orchestrator.scheduling.plan_upkeep import LOOK_S, PlanUpkeep
from orchestrator.scheduling.plan_view import plan_view
from orchestrator.scheduling.reporter import Reporter

ROOT = Path(__file__).resolve().parents[2]
HERE = "extract/this-host/probe"
EMULATED = "extract/khadas-vim3/probe"
FACTS = BoardFacts("x86_64", "some processor", "3.11.7", {"onnxruntime": "1.20.1"})


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """The default matrix; every input is in the store, nothing is known of any board."""
    shutil.copytree(ROOT / "models", tmp_path / "models")
    for name in ("matrix.yaml", "device_inventory.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    request = Request(
        matrix=str(tmp_path / "matrix.yaml"),
        inventory=str(tmp_path / "device_inventory.yaml"),
        state=str(tmp_path / "state"),
        runs=str(tmp_path / "runs"),
        limit=20,
    )
    plan = make_plan(request)
    plan.content = lambda stage, key: f"content of {key}"  # type: ignore[method-assign]
    plan.resolve()
    return plan


def slowed(monkeypatch: pytest.MonkeyPatch, plan: Plan, what: str) -> list[float]:
    """The upkeep's clock, which stands still but for a second for each call of the plan's."""
    clock = [0.0]
    monkeypatch.setattr(plan_upkeep.time, "monotonic", lambda: clock[0])
    call = getattr(plan, what)

    def slowly(*asked: object) -> object:
        found = call(*asked)
        clock[0] += 1.0
        return found

    monkeypatch.setattr(plan, what, slowly)
    return clock


@pytest.fixture
def reporter(tmp_path: Path) -> Iterator[Reporter]:
    reporter = Reporter(EventLog(tmp_path / "events.jsonl"))
    yield reporter
    reporter.close()


def upkeep_of(plan: Plan, reporter: Reporter, events: list[m.Event]) -> PlanUpkeep:
    return PlanUpkeep(plan, PlanReports(plan, Steps(), reporter), reporter, events.append)


def test_boards_nothing_was_known_of_are_planned_for_together_a_changed_one_at_once(
    plan: Plan, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = slowed(monkeypatch, plan, "take_facts")
    events: list[m.Event] = []
    upkeep = upkeep_of(plan, reporter, events)

    def has_key(step: str) -> bool:
        return step in plan.resolution.keys

    def connected(board: str, facts: BoardFacts, *, at_once: bool = False) -> None:
        plan.facts[board] = facts
        upkeep.note_board(board, at_once=at_once)
        upkeep.look()

    connected("this-host", FACTS)
    assert has_key(HERE)
    assert len(events) == 1
    assert upkeep.next_look_s == LOOK_S  # nothing waits

    connected("khadas-vim3", FACTS)
    assert not has_key(EMULATED)  # planning took 1 s, so it rests for 4 s
    assert len(events) == 1
    clock[0] += 3.9
    assert 0.0 < upkeep.next_look_s < LOOK_S
    upkeep.look()
    assert not has_key(EMULATED)
    clock[0] += 0.1
    assert upkeep.next_look_s == 0.0
    upkeep.look()
    assert has_key(EMULATED)
    assert len(events) == 2

    before = plan.resolution.keys[HERE]
    other = replace(FACTS, runtimes={"onnxruntime": "1.21.0"})
    connected("this-host", other, at_once=True)  # its old keys would name another runtime's work
    assert plan.resolution.keys[HERE] != before
    assert len(events) == 3


BOARDS = ("one", "two", "jetson", "this-host")
KNOWN = (
    FACTS,
    replace(FACTS, runtimes={"onnxruntime": "1.21.0"}),
    replace(FACTS, identity={"execution": {"program": ["qemu-aarch64"]}}),  # an emulator
)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A pool of two boards, an emulated one, and this host: rows of two schemes."""
    folder = tmp_path_factory.mktemp("fleet")
    shutil.copytree(ROOT / "models", folder / "models")
    boards = "".join(
        f"  - {{name: {name}, kind: {kind}, transport: {transport}}}\n"
        for name, kind, transport in (
            ("this-host", "host-cpu", "local"),
            ("one", "khadas-vim3", "emulated"),
            ("two", "khadas-vim3", "emulated"),
            ("jetson", "jetson-xavier-nx", "emulated"),
        )
    )
    (folder / "device_inventory.yaml").write_text("boards:\n" + boards)
    head = (ROOT / "matrix.yaml").read_text().split("entries:")[0]
    (folder / "matrix.yaml").write_text(
        f"{head}entries:\n"
        "  - {name: f, boards: this-host, quantization: float32}\n"
        "  - {name: v, boards: {kind: khadas-vim3},"
        " quantization: uint8 per-tensor asymmetric, gallery: [same, float32]}\n"
        "  - {name: j, boards: jetson, quantization: int8 per-channel symmetric}\n"
    )
    return make_plan(
        Request(
            matrix=str(folder / "matrix.yaml"),
            inventory=str(folder / "device_inventory.yaml"),
            state=str(folder / "state"),
            runs=str(folder / "runs"),
            limit=20,
        )
    )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(BOARDS), st.sampled_from(KNOWN)),
            st.integers(0, 20),  # which step ends
        ),
        max_size=30,
    ),
    st.lists(st.booleans(), min_size=30, max_size=30),
    st.booleans(),
)
def test_whatever_is_learnt_in_whatever_order_the_plan_is_as_if_it_were_made_with_it(
    fleet: Plan,
    reporter: Reporter,
    happens: list[tuple[str, BoardFacts] | int],
    looks: list[bool],
    files: bool,
) -> None:
    held: dict[str, str] = {}
    plan = replace(fleet, facts={}, _keys=Keys(), _contents={}, _successors=None)
    plan.content = lambda _, key: held.get(key)  # type: ignore[method-assign]
    plan.settle()
    for _ in range(4 * files):  # until what boards are given is there
        for step, key in plan.resolution.keys.items():
            if not plan.graph.steps[step].facts.on_board:
                held[key] = f"output of {step}"
        plan.resolve()
    reports = PlanReports(plan, Steps(), reporter)
    events: list[m.Event] = []
    upkeep = PlanUpkeep(plan, reports, reporter, events.append)
    upkeep.send_plan()
    for event, look in zip(happens, looks, strict=False):
        if isinstance(event, tuple):
            plan.facts[event[0]] = event[1]
            upkeep.note_board(event[0], at_once=True)
        elif plan.resolution.keys:
            last = [step for step in reversed(plan.graph.steps) if step in plan.resolution.keys]
            step = last[event % len(last)]
            if plan.graph.steps[step].facts.stored:
                held[plan.resolution.keys[step]] = f"output of {step}"
            upkeep.note_ended(step)
        if look:
            upkeep.look()
    upkeep.note_board("one", at_once=True)
    upkeep.look()
    anew = replace(plan, graph=Graph({}, {}), _keys=Keys(), _contents={}, _successors=None)
    anew.content = plan.content  # type: ignore[method-assign]
    anew.settle()
    assert plan.cells == anew.cells
    assert plan.graph == anew.graph
    assert list(plan.graph.steps) == list(anew.graph.steps)
    assert plan.resolution == anew.resolution
    assert (plan.leads, plan.ranks) == (anew.leads, anew.ranks)
    assert isinstance(events[-1], m.PlanChanged)
    assert events[-1].plan == plan_view(anew)
    assert reports._reported == {info.id: info for info in anew.step_infos()}


def test_a_step_that_is_held_is_reported_again_when_its_deploy_is_needed_no_more(
    plan: Plan, reporter: Reporter
) -> None:
    held: set[str] = set()
    plan.content = lambda stage, key: (  # type: ignore[method-assign]
        key if key in held or not STAGE_FACTS[stage].on_board else None
    )
    plan.facts["this-host"] = FACTS
    plan.settle()
    reports = PlanReports(plan, Steps(), reporter)
    here = [s.id for s in plan.graph.steps.values() if s.board == "this-host" and s.facts.executes]
    assert len(here) == 3
    for step in here:
        held.add(plan.resolution.keys[step])
        plan.resolve_after([step])
        reports.plan()
        assert reports._reported == {info.id: info for info in plan.step_infos()}
    assert not {step.split("/")[0] for step in reports._reported[here[0]].sources} & {"deploy"}


def test_after_a_step_its_successors_have_keys_at_once_all_else_is_looked_up_now_and_then(
    plan: Plan, reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: set[str] = set()
    plan.content = lambda stage, key: f"content of {key}" if key in held else None  # type: ignore[method-assign]
    plan.resolve()
    clock = slowed(monkeypatch, plan, "resolve")
    events: list[m.Event] = []
    upkeep = upkeep_of(plan, reporter, events)
    upkeep.send_plan()
    gallery, probe = "images/gallery", "images/probe"

    def ends(step: str) -> None:
        held.add(plan.resolution.keys[step])
        upkeep.note_ended(step)
        upkeep.look()

    ends(gallery)
    assert clock[0] == 1.0  # all was looked up, and is not again for 20 s
    somebody_elses = plan.resolution.keys[probe]
    held.add(somebody_elses)
    ends("images/calibration")
    assert clock[0] == 1.0
    assert plan.resolution.cached("images/calibration")
    assert not plan.resolution.cached(probe)
    assert events[-1] == m.PlanChanged(replace(plan_view(plan), resolution=plan.resolution))
    clock[0] = 20.0
    ends(gallery)
    assert plan.resolution.cached(probe)
