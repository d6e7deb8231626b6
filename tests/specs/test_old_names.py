"""Old names of public keys and fields work for one version, with a warning."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field

from orchestrator.deprecation import OldName, Renamed, declared, with_old_names
from orchestrator.errors import UserError
from orchestrator.specs.base import FileSpec, Many, Spec, load
from orchestrator.version import __version__

ROUNDS = Renamed("turns", "rounds", "0.9")
KEY = Renamed("pubkey", "host_key", "0.9")
LOTS = Renamed("lots", "blocks", "0.9")


class Ssh(Spec):
    type: Literal["ssh"] = "ssh"
    host_key: str
    renamed: ClassVar = (KEY,)


class Local(Spec):
    type: Literal["local"] = "local"


class Block(Spec):
    rounds: int = Field(1, ge=1)
    transport: Annotated[Ssh | Local, Field(discriminator="type")] = Local()
    renamed: ClassVar = (ROUNDS,)


class File(FileSpec):
    blocks: Many[Block]
    renamed: ClassVar = (LOTS,)


def write(folder: Path, text: str) -> Path:
    file = folder / "file.yaml"
    file.write_text(text)
    return file


def test_old_keys_are_read_and_each_warning_has_its_line(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "# a comment\nlots:\n- rounds: 2\n- turns: 3\n  transport: {type: ssh, pubkey: AAAA}\n",
    )
    with pytest.warns(OldName) as seen:
        found = load(File, file)
    assert [block.rounds for block in found.blocks] == [2, 3]
    assert found.blocks[1].transport == Ssh(host_key="AAAA")
    told = [(w.filename, w.lineno, str(w.message)) for w in seen]
    assert told == [
        (str(file), 2, "'lots' is called 'blocks' now; farm 0.9 will not know it"),
        (str(file), 4, "'turns' is called 'rounds' now; farm 0.9 will not know it"),
        (str(file), 5, "'pubkey' is called 'host_key' now; farm 0.9 will not know it"),
    ]


def test_an_error_below_an_old_key_names_its_own_line(tmp_path: Path) -> None:
    file = write(tmp_path, "lots:\n- rounds: 2\n- turns: 0\n")
    with (
        pytest.warns(OldName),
        pytest.raises(UserError, match=r"file\.yaml:3: blocks\[1\]\.rounds"),
    ):
        load(File, file)


def test_a_key_under_both_names_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, "blocks:\n- rounds: 2\n  turns: 2\n")
    with pytest.raises(UserError, match=r"file\.yaml:3: 'turns' is the old name of 'rounds'"):
        load(File, file)


def test_new_names_alone_say_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = load(File, write(tmp_path, "blocks:\n- rounds: 2\n"))
    assert found.blocks[0].rounds == 2


def test_a_printed_field_stands_under_both_names() -> None:
    assert with_old_names({"rounds": 2, "x": 1}, ROUNDS) == {"rounds": 2, "x": 1, "turns": 2}


def test_no_old_name_outlives_its_version() -> None:
    import orchestrator.cli.main
    import orchestrator.specs  # noqa: F401

    here = tuple(int(part) for part in __version__.split(".")[:2])
    for renamed in declared():
        gone = tuple(int(part) for part in renamed.remove_in.split("."))
        assert here < gone, f"remove what reads {renamed.old!r}: {renamed}"
