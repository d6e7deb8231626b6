"""The index over the logs answers as the logs do, whatever becomes of its file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.errors import TransientError
from orchestrator.store import index
from orchestrator.store.fleet_entries import (
    Added,
    Asked,
    Checked,
    Drained,
    Entry,
    Proof,
    Quarantined,
    Recovering,
    Released,
    Removed,
    Reserved,
    Undrained,
    Unreserved,
    Wiped,
    Worked,
)
from orchestrator.store.fleet_index import counting
from orchestrator.store.fleet_log import FleetLog, fold

IDENTITIES = ("i", "j")


def proofs() -> st.SearchStrategy[tuple[Proof, ...]]:
    proof = st.builds(
        Proof,
        runtime=st.sampled_from(("rknn", "onnxruntime")),
        proved=st.booleans(),
        version=st.sampled_from(("1", "2")),
    )
    return st.lists(proof, max_size=2, unique_by=lambda p: p.runtime).map(tuple)


def lines(board: str = "b") -> st.SearchStrategy[Entry]:
    known = {
        "board": st.just(board),
        "at": st.floats(0, 2e6),
        "identity": st.sampled_from(IDENTITIES),
    }
    told = {
        "proofs": proofs(),
        "versions": st.dictionaries(st.sampled_from(("python", "rknn")), st.just("3"), max_size=2),
        "temperature_c": st.none() | st.just(50.0),
    }
    states = st.sampled_from(("ready", "quarantined", "unreachable", "unproved", "busy"))
    plain = {"board": st.just(board)}
    people = st.sampled_from(("ann", "bob"))
    at = st.floats(0, 2e6)
    someone = {"by": people, "at": at}
    return st.one_of(
        st.builds(Worked, **known, **told),
        st.builds(Checked, **known, **told, state=states, reason=st.just("why")),
        st.builds(Quarantined, **known, reason=st.sampled_from(("hung", "broke"))),
        st.builds(Drained, **plain, by=st.sampled_from(("ann", "bob"))),
        st.builds(Undrained, **plain),
        st.builds(Reserved, **plain, **someone, for_s=st.floats(1, 1e6)),
        st.builds(Unreserved, **plain, at=at, whose=people),
        st.builds(Recovering, **plain, how=st.just("reboot"), reason=st.just("lost")),
        st.builds(Released, **plain, reason=st.just("stale")),
        st.builds(Wiped, **plain),
        st.builds(Asked, **plain, reason=st.just("a check")),
        st.builds(Removed, **plain),
        st.builds(Added, board=st.just(board), identity=st.sampled_from(IDENTITIES)),
    )


PROVED = (Proof(runtime="rknn", proved=True),)
WARM = (50.0, None, 50.0)
BETWEEN = [
    Worked(board="b", at=0.0, identity="i"),
    Worked(board="b", at=0.0, identity="j"),
    Quarantined(board="b", at=0.0, identity="i", reason="hung"),
    Checked(board="b", at=0.0, identity="j", proofs=PROVED, state="ready"),
]


FAILED_CHECK = Checked(board="b", identity="i", state="quarantined", reason="why")


@given(st.lists(lines(), max_size=14), st.floats(0, 3e6))
@example([*BETWEEN[:2], FAILED_CHECK, BETWEEN[3]], 0.0)  # by a check as well
@example([Worked(board="b", at=0.0, identity="i", temperature_c=t) for t in WARM], 0.0)
@example(BETWEEN, 0.0)  # a proof does not reach an entry that was quarantined in between
@example([*BETWEEN, Checked(board="b", identity="i", proofs=PROVED, state="ready")], 0.0)
def test_what_still_counts_folds_to_the_same_standing(entries: list[Entry], now: float) -> None:
    kept = counting(entries)
    for identity in (*IDENTITIES, "another"):
        assert fold(kept, identity, now) == fold(entries, identity, now)
    assert counting(kept) == kept


def test_a_board_that_works_day_by_day_needs_one_line() -> None:
    proved = (Proof(runtime="rknn", proved=True),)
    work = [Worked(at=day, board="b", identity="i", proofs=proved) for day in range(300)]
    assert counting(work) == work[-1:]


@given(st.lists(lines("b") | lines("c"), max_size=10), st.integers(0, 10))
def test_the_index_follows_a_log_that_grows(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("index")
    log, boards = FleetLog(folder), {"b": "i", "c": "j", "new": "i"}
    for number, entry in enumerate(entries):
        log.append(entry)
        if number in (cut, cut + 3):
            log.standings(boards, 1e6)
    want = {
        name: fold([e for e in entries if e.board == name], identity, 1e6)
        for name, identity in boards.items()
    }
    assert log.standings(boards, 1e6) == want
    of_b = [entry for entry in entries if entry.board == "b"]
    assert log.history("b", 3)[-3:] == of_b[-3:]


def work(log: FleetLog, count: int, board: str = "b") -> None:
    for day in range(count):
        log.append(Worked(at=float(day), board=board, identity="i"))


def test_another_log_or_a_damaged_index_is_noticed(tmp_path: Path) -> None:
    log = FleetLog(tmp_path)
    log.append(Added(board="b", identity="i", probe={"model": "x"}))
    work(log, 20)
    assert log.standings({"b": "i"}, 30.0)["b"].proved_at == 19.0
    found = log.history("b", 5)
    assert [e.event for e in found] == ["added"] + ["worked"] * 5
    (tmp_path / index.FILE).write_bytes(b"no database" * 500)
    assert log.standings({"b": "i"}, 30.0)["b"].proved_at == 19.0
    with sqlite3.connect(tmp_path / index.FILE) as database:
        assert database.execute("SELECT count(*), sum(counts) FROM fleet").fetchone() == (21, 2)
        database.execute("PRAGMA user_version = 99")
        database.execute("CREATE TABLE other (x)")
    assert log.standings({"b": "i"}, 30.0)["b"].proved_at == 19.0
    other = FleetLog(tmp_path / "other")
    work(other, 40, "c")
    other.path.replace(log.path)
    standings = log.standings({"b": "i", "c": "i"}, 50.0)
    assert (standings["b"].proved_at, standings["c"].proved_at) == (None, 39.0)
    log.path.unlink()
    assert log.standings({"c": "i"}, 50.0)["c"].reason == "never checked"


def test_where_no_index_can_be_written_the_logs_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = FleetLog(tmp_path)
    work(log, 5)
    (tmp_path / index.FILE).mkdir()
    assert log.standings({"b": "i"}, 30.0)["b"].proved_at == 4.0
    assert len(log.history("b", 3)) == 3
    (tmp_path / index.FILE).rmdir()
    monkeypatch.setattr(index, "PATIENCE_S", 0.05)
    log.standings({"b": "i"}, 30.0)
    with sqlite3.connect(tmp_path / index.FILE, isolation_level=None) as database:
        database.execute("BEGIN IMMEDIATE")
        work(log, 7)
        assert log.standings({"b": "i"}, 30.0)["b"].proved_at == 6.0
    assert (tmp_path / index.FILE).stat().st_mode & 0o077 == 0


def test_a_log_that_cannot_be_read_is_still_an_error(tmp_path: Path) -> None:
    (tmp_path / "fleet.jsonl").mkdir()
    with pytest.raises(TransientError, match="cannot be read"):
        FleetLog(tmp_path).standings({"b": "i"})
