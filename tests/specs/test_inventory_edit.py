"""A person's inventory survives farm's editing byte for byte."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import UserError
from orchestrator.specs.inventory import load_inventory
from orchestrator.specs.inventory_edit import add_board, remove_board
from orchestrator.specs.transports import SshTransportSpec

ROOT = Path(__file__).resolve().parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBt6MD0YIw2XuP7+1t3c2gH4xxlOA/l58Is5VkStX33V"

HAND_EDITED = """\
# The lab's fleet.   Ask Anna before you drain anything!
%YAML
---
# second thoughts

boards:   # in the order of the shelf
  # the laptop
  - name:   this-host     # aligned   by hand
    kind: "host-cpu"
    transport: local
    tags: [ reference,  x ]   # odd spaces

    # a comment inside, after a gap
  -   {name: flow, kind: 'rv1126', transport: {ssh: {host: 10.0.0.7, port: 0x16}}}
  -
    name: below-the-dash
    kind: imx8mp
    transport:
        ssh:
            host: "board.lab"
            user: root
        # four spaces here
    hardware: >-
      folded
      text

  # Anna's
  - {name: last, kind: rk3588, transport: emulated}
    # belongs to last

# end of the file; no board below
""".replace("%YAML\n", "")


def entry(name: str, **more: Any) -> dict[str, Any]:
    ssh = {"host": "192.168.1.20", "port": 2222, "user": "khadas", "host_key": KEY}
    return {"name": name, "kind": "khadas-vim3", "transport": {"ssh": ssh}, **more}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "device_inventory.yaml"
    path.write_text(HAND_EDITED)
    return path


def names(path: Path) -> list[str]:
    return [board.name for board in load_inventory(path).boards]


def test_an_entry_is_written_where_it_belongs_and_read_back(file: Path) -> None:
    before = load_inventory(file)
    board = add_board(file, entry("vim3-lab", runtime="onnxruntime"))
    assert isinstance(board.transport, SshTransportSpec)
    assert (board.transport.host, board.transport.port) == ("192.168.1.20", 2222)
    assert board.transport.host_key == KEY
    assert load_inventory(file).boards == (*before.boards, board)
    text = file.read_text()
    assert text.endswith("\n\n# end of the file; no board below\n")
    assert "    # belongs to last\n\n  - name: vim3-lab\n    kind: khadas-vim3\n" in text
    added = text[text.index("\n  - name: vim3-lab") : text.index("\n\n# end of")]
    assert text.replace(added + "\n", "", 1) == HAND_EDITED


STYLES = {
    "hand-edited": HAND_EDITED,
    "default": (ROOT / "device_inventory.yaml").read_text(),
    "no newline at the end": "boards:\n- {name: a, kind: rv1126, transport: emulated}",
    "dash at the margin": "boards:\n- name: a\n  kind: rv1126\n  transport: emulated\n#x\n\n\n",
    "close together": "boards:\n"
    + "".join(
        f"    - name: b{i}\n      kind: imx8mp\n      transport: emulated\n" for i in range(3)
    ),
    "windows": "# c\r\nboards:\r\n  - name: a\r\n    kind: rv1126\r\n    transport: emulated\r\n",
    "empty": "# none yet\nboards: []   # soon\n# end\n",
    "document": "%YAML 1.2\n---\nboards:\n - name: a\n   kind: rv1126\n   transport: local\n...\n",
    "byte order mark": "\ufeffboards:\n  - name: a\n    kind: rv1126\n    transport: local\n",
}

NAMES = st.from_regex(r"\A[A-Za-z][A-Za-z0-9_-]{0,8}\Z").filter(
    lambda name: name.lower() not in ("flow", "last", "a", "b0", "b1", "b2", "rv1126", "imx8mp")
)


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    style=st.sampled_from(sorted(STYLES)),
    chosen=st.lists(NAMES, min_size=5, max_size=5, unique_by=str.lower),
    data=st.data(),
)
def test_ten_additions_and_removals_leave_the_file_as_it_was(
    tmp_path: Path, style: str, chosen: list[str], data: st.DataObject
) -> None:
    path = tmp_path / "inventory.yaml"
    original = STYLES[style].encode()
    path.write_bytes(original)
    first = names(path)
    waiting, there = list(chosen), list[str]()
    while waiting or there:
        adds = waiting and (not there or data.draw(st.booleans()))
        if adds:
            there.append(waiting.pop())
            add_board(path, entry(there[-1]))
        else:
            remove_board(path, there.pop(data.draw(st.integers(0, len(there) - 1))))
        assert names(path) == first + there
    assert path.read_bytes() == original


@pytest.mark.parametrize(
    ("name", "lines"), [("this-host", 4), ("flow", 1), ("below-the-dash", 11), ("last", 2)]
)
def test_a_board_of_the_persons_own_is_taken_out_alone(file: Path, name: str, lines: int) -> None:
    before = load_inventory(file)
    remove_board(file, name)
    assert load_inventory(file).boards == tuple(b for b in before.boards if b.name != name)
    text = file.read_text()
    kept = [line for line in HAND_EDITED.splitlines() if line.strip()]
    gone = [line for line in kept if line not in text.splitlines()]
    assert [line for line in text.splitlines() if line.strip()] == [
        line for line in kept if line not in gone
    ]
    for line in ("# second thoughts", "  # the laptop", "  # Anna's", "# end of the file"):
        assert line in text
    assert any(name in line for line in gone)
    assert len(gone) == lines


def test_the_last_board_leaves_an_empty_list(tmp_path: Path) -> None:
    path = tmp_path / "i.yaml"
    add_board(path, entry("only"))
    assert path.read_text().startswith("# The fleet")
    remove_board(path, "only")
    assert names(path) == []


def test_a_list_in_one_line_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "i.yaml"
    text = "boards: [{name: a, kind: rv1126, transport: local}]\n"
    path.write_text(text)
    with pytest.raises(UserError, match="plain list"):
        add_board(path, entry("b"))
    assert path.read_text() == text


def test_an_entry_that_another_refers_to_is_not_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "i.yaml"
    text = (
        "boards:\n"
        "  - name: a\n    kind: rv1126\n    transport: &t {ssh: {host: x.lab}}\n"
        "  - name: b\n    kind: rv1126\n    transport: *t\n"
    )
    path.write_text(text)
    with pytest.raises(UserError):
        remove_board(path, "a")
    assert path.read_text() == text
    remove_board(path, "b")
    assert names(path) == ["a"]


@pytest.mark.parametrize(
    "name", ["../evil", "a/b", "..", ".hidden", "", "a" * 64, "x\x1b[2J", "sp ace", "con\nfig"]
)
def test_names_that_are_paths_or_worse_are_refused(file: Path, name: str) -> None:
    with pytest.raises(UserError) as seen:
        add_board(file, entry(name))
    assert "name" in str(seen.value)
    assert "\x1b" not in str(seen.value)
    assert file.read_text() == HAND_EDITED


@pytest.mark.parametrize("name", ["last", "LAST"])
def test_a_name_stands_once(file: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"there is a board 'last' already \(line 27\)"):
        add_board(file, entry(name))
    with pytest.raises(UserError, match="did you mean 'last'"):
        remove_board(file, "lsat")


def test_a_password_is_refused(file: Path) -> None:
    spoilt = entry("x")
    spoilt["transport"]["ssh"]["password"] = "hunter2"
    with pytest.raises(UserError, match="no secrets in a file") as seen:
        add_board(file, spoilt)
    assert "hunter2" not in str(seen.value)
    assert file.read_text() == HAND_EDITED


def test_text_that_yaml_would_read_as_something_else_is_quoted(file: Path) -> None:
    board = add_board(file, entry("x", hardware="0x10", provider="yes: # no"))
    assert (board.hardware, board.provider) == ("0x10", "yes: # no")


def test_mode_and_link_stay(tmp_path: Path, file: Path) -> None:
    file.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    add_board(link, entry("x"))
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["device_inventory.yaml", "link.yaml"]


def test_a_file_that_somebody_saves_meanwhile_is_not_overwritten(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import orchestrator.specs.inventory_edit as edit

    real = edit._rendered

    def slow(*arguments: Any) -> list[str]:
        file.write_text(HAND_EDITED + "# Anna was here\n")
        return real(*arguments)

    monkeypatch.setattr(edit, "_rendered", slow)
    with pytest.raises(UserError, match="somebody else changed it"):
        add_board(file, entry("x"))
    assert file.read_text() == HAND_EDITED + "# Anna was here\n"
