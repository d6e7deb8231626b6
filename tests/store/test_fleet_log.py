"""A board's state is a fold over an append-only log."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from orchestrator.errors import TransientError
from orchestrator.store.fleet_entries import (
    Added,
    Checked,
    Drained,
    Entry,
    Proof,
    Quarantined,
    Removed,
    Undrained,
    Worked,
)
from orchestrator.store.fleet_log import PROOF_LASTS_S, FleetLog, Standing, fold

NOW = 1_000_000.0


def checked(state: str, reason: str = "", at: float = NOW - 60, identity: str = "i") -> Checked:
    proof = Proof(runtime="rknn", proved=state == "ready", reason=reason)
    return Checked.model_validate(
        {
            "at": at,
            "board": "b",
            "identity": identity,
            "state": state,
            "reason": reason,
            "proofs": (proof,),
            "versions": {"rknn": "1.7.5"},
            "temperature_c": 41.0,
        }
    )


def of(*entries: Entry) -> Standing:
    return fold(entries, "i", NOW)


BROKEN = Quarantined(board="b", identity="i", reason="it hung")
WORKED = Worked(
    at=NOW - 30,
    board="b",
    identity="i",
    proofs=(Proof(runtime="rknn", proved=True, version="1.7.5"),),
    versions={"rknn": "1.7.5"},
)
UNTRIED = Checked(
    at=NOW,
    board="b",
    identity="i",
    state="unproved",
    reason="rknn: no file to prove it with",
    proofs=(Proof(runtime="rknn", proved=False, tried=False, reason="no file to prove it with"),),
)
FOLDS: list[tuple[list[Entry], str, str]] = [
    ([], "unproved", "never checked"),
    ([checked("ready")], "ready", ""),
    ([checked("quarantined", "hangs")], "quarantined", "hangs"),
    ([checked("ready"), BROKEN], "quarantined", "it hung"),
    ([BROKEN, checked("unreachable", "no answer")], "quarantined", "it hung"),
    ([BROKEN, checked("busy", "in use")], "quarantined", "it hung"),
    ([BROKEN, checked("ready")], "ready", ""),
    ([checked("ready"), checked("unreachable", "no answer")], "unreachable", "no answer"),
    ([checked("ready"), checked("busy", "in use")], "ready", ""),
    ([checked("busy", "in use")], "unproved", "when checked: in use"),
    ([checked("ready", identity="other")], "unproved", "its entry changed since it was checked"),
    ([checked("ready"), Removed(board="b")], "unproved", "never checked"),
    ([checked("ready"), Added(board="b", identity="i")], "unproved", "never checked"),
    ([BROKEN, Removed(board="b"), checked("ready")], "ready", ""),
    (
        [checked("ready", at=NOW - PROOF_LASTS_S)],
        "unproved",
        "its last check is more than a week old",
    ),
    (
        [checked("ready"), Drained(board="b", by="ann@lab", reason="demo")],
        "draining",
        "drained by ann@lab: demo",
    ),
    ([checked("ready"), Drained(board="b"), Undrained(board="b")], "ready", ""),
    ([Drained(board="b"), checked("ready")], "draining", "drained by somebody"),
    ([BROKEN, Drained(board="b"), Undrained(board="b")], "quarantined", "it hung"),
    ([WORKED], "ready", ""),
    ([checked("unreachable", "no answer"), WORKED], "ready", ""),
    ([UNTRIED, WORKED], "ready", ""),
    # What was running when a board failed may end well after it.
    ([BROKEN, WORKED], "quarantined", "it hung"),
    (
        [WORKED.model_copy(update={"at": NOW - PROOF_LASTS_S})],
        "unproved",
        "its last check is more than a week old",
    ),
]


@pytest.mark.parametrize(("entries", "state", "reason"), FOLDS)
def test_states_with_reasons(entries: list[Entry], state: str, reason: str) -> None:
    standing = of(*entries)
    assert (standing.state, standing.reason) == (state, reason)
    assert bool(standing.reason) == (standing.state != "ready")


def test_who_gets_work() -> None:
    assert of().refusal("rknn") is None
    assert of().needs_check
    assert not of(checked("ready")).needs_check
    assert of(BROKEN).refusal("rknn") == "it hung"
    assert of(checked("ready"), Drained(board="b", by="x")).refusal() == "drained by x"
    unproved = of(checked("unproved", "no converter"))
    assert unproved.refusal("rknn") == "rknn has not passed a check: no converter"
    assert unproved.refusal("onnxruntime") is None


def test_a_runtime_that_nothing_could_prove_is_proved_by_its_first_work() -> None:
    standing = of(UNTRIED)
    assert standing.refusal("rknn") is None
    assert standing.needs_check
    assert of(UNTRIED, WORKED).proofs["rknn"].proved


def test_what_changes_a_refusal_is_a_command() -> None:
    assert of(BROKEN).remedy("vim3") == "farm boards check vim3"
    assert of(BROKEN, Drained(board="b")).remedy("vim3") == "farm boards undrain vim3"


def test_what_a_check_found_is_kept() -> None:
    standing = of(checked("ready"), checked("unreachable", "no answer", at=NOW - 5))
    assert standing.proved_at == NOW - 60
    assert standing.checked_at == NOW - 5
    assert standing.temperature_c == 41.0
    assert standing.versions == {"rknn": "1.7.5"}


def test_the_log_survives_broken_lines_and_what_it_does_not_know(tmp_path: Path) -> None:
    log = FleetLog(tmp_path / "runs")
    assert list(log.entries()) == []
    log.append(checked("ready"))
    whole = log.path.read_bytes()
    log.path.write_bytes(b'\xff\x00{"event": "unheard-of"}\n[[[[\n' + whole + whole[:20])
    log.append(BROKEN)
    assert [entry.event for entry in log.entries()] == ["checked", "quarantined"]
    assert log.standings({"b": "i", "other": "x"})["b"].state == "quarantined"
    assert log.path.stat().st_mode & 0o077 == 0


def _append(folder: Path, board: str) -> None:
    for number in range(50):
        FleetLog(folder).append(Drained(board=board, reason=f"{number} " + "x" * 5000))


def test_several_processes_append_whole_lines(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=_append, args=(tmp_path, name)) for name in "abc"]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(30)
        assert job.exitcode == 0
    entries = list(FleetLog(tmp_path).entries())
    assert len(entries) == 150
    for name in "abc":
        numbers = [
            e.reason.split()[0] for e in entries if isinstance(e, Drained) and e.board == name
        ]
        assert numbers == [str(n) for n in range(50)]


def test_a_log_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(TransientError, match="cannot be written") as seen:
        FleetLog(tmp_path / "runs").append(BROKEN)
    assert "--runs" in seen.value.hint
