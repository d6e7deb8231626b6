"""Why boards wait: said once, by name, and as data."""

from __future__ import annotations

from orchestrator.errors import TransientError
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.planning.graph import HEAD_DOMAIN, Graph, Step
from orchestrator.planning.resolving import Resolution
from orchestrator.scheduling.core import messages as m
from orchestrator.scheduling.core.scheduler import Scheduler


class Told:
    """A core whose boards are connected, and what it says of them."""

    def __init__(self, steps: list[Step], domains: dict[str, str], slots: int = 2) -> None:
        self.graph = Graph({step.id: step for step in steps}, {})
        self.core = Scheduler(Deadlines(), slots)
        self.now = 0.0
        ids = list(self.graph.steps)
        every = Resolution(
            keys={s: self.graph.steps[s].params.get("key", s) for s in ids}, todo=ids
        )
        boards = {name: m.BoardProfile(domain) for name, domain in domains.items()}
        self.tell(m.PlanChanged(m.PlanView(self.graph, every, boards)))
        self.tell(m.ConnectedFromStart(tuple(boards)))
        self.started = self.look()

    def tell(self, event: m.Event) -> list[m.Instruction]:
        return self.core.handle(event, self.now)

    def look(self) -> set[str]:
        return {each.step.id for each in self.tell(m.Look()) if isinstance(each, m.Start)}

    def said(self) -> list[tuple[tuple[str, ...], str, str]]:
        found = self.tell(m.Explain())
        assert all(isinstance(each, m.ReportWaiting) for each in found)
        return [
            (each.boards, each.reason.why.value, each.reason.subject)
            if each.reason
            else (each.boards, "", "")
            for each in found
        ]

    def end(self, step_id: str) -> set[str]:
        self.tell(m.Finished(self.graph.steps[step_id]))
        return self.look()


def on(name: str, stage: str, board: str, *sources: str, **more: object) -> Step:
    return Step(name, stage, {}, sources, pool=(board,), board=board, **more)  # type: ignore[arg-type]


def test_an_input_is_named_down_to_the_step_that_runs() -> None:
    steps = [
        Step("images", "images"),
        Step("calibrate", "calibrate", {"i": "images"}),
        Step("quantize/a", "quantize", {"c": "calibrate"}),
        on("extract/a", "extract", "a", "quantize/a"),
        on("extract/b", "extract", "b", "calibrate"),
    ]
    told = Told(steps, {"a": "a", "b": "b"})
    assert told.said() == [(("a", "b"), "input", "images")]  # two boards, one word
    assert told.said() == []
    told.end("images")
    assert told.said() == [(("a", "b"), "input", "calibrate")]
    assert told.end("calibrate") == {"quantize/a", "extract/b"}
    assert told.said() == [(("a",), "input", "quantize/a")]


def test_a_measurement_keeps_its_domain_waiting_and_waits_for_it() -> None:
    here = {"host": HEAD_DOMAIN, "emulated": HEAD_DOMAIN, "real": "real"}
    steps = [
        on("extract/e", "extract", "emulated"),
        on("measure/h", "measure", "host", "extract/e0"),
        Step("extract/e0", "images"),
        on("extract/r", "extract", "real"),
        on("extract/e2", "extract", "emulated", "extract/e"),
    ]
    told = Told(steps, here)
    assert told.started == {"extract/e", "extract/e0", "extract/r"}
    assert told.said() == [(("host",), "input", "extract/e0")]
    assert told.end("extract/e0") == set()
    assert told.said() == [(("host",), "alone", "extract/e")]
    assert told.end("extract/e") == {"measure/h"}
    assert told.said() == [(("emulated",), "measurement", "measure/h")]
    assert told.end("measure/h") == {"extract/e2"}
    assert told.said() == []  # who works needs no word


def test_more_emulated_boards_than_processors_wait_for_one() -> None:
    names = ("a", "b", "c", "d", "e")
    told = Told(
        [on(f"extract/{n}", "extract", n) for n in names], dict.fromkeys(names, HEAD_DOMAIN)
    )
    assert told.started == {"extract/a", "extract/b"}
    assert told.said() == [(("c", "d", "e"), "processors", "extract/a")]
    assert told.end("extract/a") == {"extract/c"}
    assert told.said() == [(("d", "e"), "processors", "extract/b")]
    assert told.end("extract/b") == {"extract/d", "extract/e"}  # the last ones share


def test_a_retry_and_a_twin_are_named() -> None:
    steps = [
        on("extract/a", "extract", "a", params={"key": "k"}),
        on("extract/b", "extract", "b", params={"key": "k"}),
        on("extract/c", "extract", "c"),
    ]
    told = Told(steps, {name: name for name in "abc"})
    assert told.said() == [(("b",), "same", "extract/a")]
    failure = m.Failure(m.FailureKind.TRANSIENT, TransientError("cut"))
    told.tell(m.Failed(steps[2], failure))
    told.tell(m.ReachBoards())
    told.tell(m.Connected("c"))
    told.look()
    assert told.said() == [(("c",), "retry", "extract/c")]


def test_two_hundred_boards_do_not_flood_the_log() -> None:
    """Each change of what all wait for is one word of all of them."""
    count = 200
    names = [f"b{number}" for number in range(count)]
    steps = [Step("images", "images"), Step("calibrate", "calibrate", {"i": "images"})]
    steps += [on(f"extract/{name}", "extract", name, "calibrate") for name in names]
    told = Told(steps, {name: name for name in names})
    words = told.said()
    for _ in range(50):
        told.now += 1.0
        words += told.said()
    told.end("images")
    words += told.said()
    told.end("calibrate")
    words += told.said()
    assert [(len(boards), why, subject) for boards, why, subject in words] == [
        (count, "input", "images"),
        (count, "input", "calibrate"),
    ]


def test_before_ray_is_there_images_are_made_and_take_nobodys_place() -> None:
    steps = [
        Step("convert", "convert"),
        Step("calibrate", "calibrate"),
        Step("images/gallery", "images"),
        Step("images/probe", "images"),
    ]
    core = Scheduler(Deadlines(), 2)
    graph = Graph({step.id: step for step in steps}, {})
    ids = list(graph.steps)
    every = Resolution(keys=dict(zip(ids, ids, strict=True)), todo=ids)
    core.handle(m.PlanChanged(m.PlanView(graph, every, {})), 0.0)

    def started(computes: bool) -> list[str]:
        found = core.handle(m.Look(computes), 0.0)
        return [each.step.id for each in found if isinstance(each, m.Start)]

    assert started(False) == ["images/gallery"]
    assert started(False) == []  # the processes that make images are taken
    assert started(True) == ["calibrate"]
    core.handle(m.Finished(graph.steps["images/gallery"]), 0.0)
    assert started(True) == ["images/probe"]
    core.handle(m.Finished(graph.steps["calibrate"]), 0.0)
    assert started(True) == ["convert"]
