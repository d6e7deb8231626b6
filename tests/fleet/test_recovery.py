"""Power hooks: an argv template, no shell; what fails is said."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UserError
from orchestrator.fleet.boards.recovery import climb, rungs
from orchestrator.specs.inventory import Board, load_inventory


def board(recovery: dict[str, Any]) -> Board:
    return Board.model_validate(
        {
            "name": "vim3",
            "kind": "khadas-vim3",
            "transport": {"ssh": {"host": "10.0.0.7"}},
            "recovery": recovery,
        }
    )


def test_the_template_is_filled_word_by_word_and_no_shell_reads_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    write = "import sys; open(sys.argv[1], 'a').write(repr(sys.argv[2:]) + '\\n')"
    words = [
        sys.executable,
        "-c",
        write,
        str(log),
        "{action}-{name}@{host}",
        "; touch $HOME/x `id`",
    ]
    assert climb(board({"power": words, "off_s": 0}), "power", None, threading.Event()) == ""
    assert log.read_text().splitlines() == [
        repr([f"{action}-vim3@10.0.0.7", "; touch $HOME/x `id`"]) for action in ("off", "on")
    ]
    once = [sys.executable, "-c", write, str(log)]
    log.unlink()
    assert climb(board({"power": once}), "power", None, threading.Event()) == ""
    assert log.read_text() == "[]\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["/no/such/pdu"], "does not start: No such file"),
        (
            [sys.executable, "-c", "import sys; sys.exit('\\x1b[2Jno outlet 9')"],
            "status 1: no outlet",
        ),
    ],
)
def test_a_hook_that_fails_is_said_in_plain_words(words: list[str], says: str) -> None:
    said = climb(board({"power": words}), "power", None, threading.Event())
    assert says in said
    assert "\x1b" not in said


def test_the_gentler_way_comes_first() -> None:
    assert rungs(board({})) == ()
    assert rungs(board({"power": ["pdu"], "reboot": "sudo -n reboot"})) == ("reboot", "power")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("recovery: {power: pdu off 7}", "a list of words"),
        ("recovery: {power: [pdu, '{acton}']}", "did you mean 'action'"),
        ("recovery: {rebot: x}", "reboot"),
    ],
)
def test_mistakes_are_found_in_the_inventory(tmp_path: Path, entry: str, says: str) -> None:
    file = tmp_path / "inventory.yaml"
    ssh = "transport: {ssh: {host: h}}"
    file.write_text(f"boards:\n  - {{name: a, kind: rv1126, {ssh}, {entry}}}\n")
    with pytest.raises(UserError, match=says):
        load_inventory(file)
    file.write_text(
        "boards:\n  - {name: a, kind: host-cpu, transport: local, recovery: {power: [x]}}\n"
    )
    with pytest.raises(UserError, match="neither rebooted nor switched off"):
        load_inventory(file)
