"""A run's view of the fleet log follows what others append, reading each line once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from orchestrator.errors import BoardError, TransientError, UserError
from orchestrator.fleet.boards.entry import identity
from orchestrator.fleet.boards.fleet_book import FleetBook
from orchestrator.fleet.boards.person import person
from orchestrator.specs.inventory import Board
from orchestrator.store.fleet_entries import Drained, Reserved, Undrained
from orchestrator.store.fleet_log import FleetLog

BOARDS = {
    name: Board.model_validate({"name": name, "kind": "rv1126", "transport": "emulated"})
    for name in ("a", "b")
}


def test_what_others_write_is_seen_and_what_the_run_learns_is_written(tmp_path: Path) -> None:
    book, log = FleetBook(tmp_path, "run 1"), FleetLog(tmp_path)
    book.read(BOARDS)
    assert book.needs_check("a")
    assert not book.read(BOARDS)
    log.append(Drained(board="a", by="ann", reason="demo"))
    assert book.read(BOARDS)
    refusal = book.refusal("a", "onnxruntime")
    assert refusal is not None
    assert "demo; `farm boards undrain a`" in refusal.message
    log.append(Undrained(board="a"))
    with open(log.path, "ab") as file:
        file.write(b'{"half a li')
    assert book.read(BOARDS)
    assert book.refusal("a", "onnxruntime") is None

    book.worked(BOARDS["a"], ["onnxruntime"], {"onnxruntime": "1.32"}, 41.0)
    book.failed(BOARDS["b"], BoardError("b: its disk is full"))
    assert book.read(BOARDS)
    assert (book.standing("a").state, book.standing("a").temperature_c) == ("ready", 41.0)
    assert (book.standing("b").state, book.standing("b").reason) == (
        "quarantined",
        "its disk is full",
    )
    book.failed(BOARDS["a"], TransientError("a: no answer"))
    book.read(BOARDS)
    assert book.standing("a").state == "unreachable"
    assert book.refusal("a", "onnxruntime") is None
    book.failed(BOARDS["a"], UserError("a: our key was refused"))
    book.read(BOARDS)
    assert book.standing("a").state == "unproved"
    same = FleetLog(tmp_path).standings({n: identity(b) for n, b in BOARDS.items()})
    assert {name: book.standing(name) for name in BOARDS} == same


def test_a_board_reserved_by_somebody_else_is_theirs_until_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book, log = FleetBook(tmp_path, ""), FleetLog(tmp_path)
    log.append(Reserved(board="a", by=person(), for_s=60, reason="mine"))
    assert book.read(BOARDS)
    assert book.reserved("a") is None
    log.append(Reserved(board="b", by="ann@lab", for_s=60, reason="new driver"))
    assert book.read(BOARDS)
    theirs = book.reserved("b")
    assert theirs is not None
    assert theirs.words.startswith("reserved by ann@lab until ")
    assert theirs.words.endswith(": new driver")
    assert book.refusal("b", None) is None, "it is waited for, not refused"
    assert not book.read(BOARDS)
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    assert book.read(BOARDS), "time alone ends it"
    assert book.reserved("b") is None


def test_a_log_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    book, log = FleetBook(tmp_path, ""), FleetLog(tmp_path)
    log.append(Drained(board="a"))
    book.read(BOARDS)
    log.path.unlink()
    book.read(BOARDS)
    assert book.refusal("a", None) is None
    log.append(Drained(board="b"))
    book.read(BOARDS)
    assert book.refusal("a", None) is None
    assert book.refusal("b", None) is not None


def test_a_board_taken_out_gets_no_work_until_it_is_back(tmp_path: Path) -> None:
    book = FleetBook(tmp_path, "")
    book.remove("a")
    refusal = book.refusal("a", None)
    assert refusal is not None
    assert "taken out of the inventory" in refusal.message
    book.put_back("a")
    assert book.refusal("a", None) is None
