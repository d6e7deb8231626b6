"""The store: complete or not there, content decides, damage is noticed."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import TransientError
from orchestrator.store.artifacts import BuildInProgress, Store

KEY = "k" * 64


def test_held_only_after_commit(tmp_path: Path) -> None:
    store = Store(tmp_path)
    part = store.part("quantize", KEY)
    (part / "half.onnx").write_bytes(b"half")
    assert store.lookup("quantize", KEY) is None
    held = store.commit("quantize", KEY, {"model.onnx": b"whole"}, provenance={"by": "test"})
    found = store.lookup("quantize", KEY)
    assert found is not None
    assert found.content == held.content
    assert found.read("model.onnx") == b"whole"
    assert found.manifest["provenance"] == {"by": "test"}


def test_content_is_that_of_the_files_alone(tmp_path: Path) -> None:
    one = Store(tmp_path / "a").commit("x", KEY, {"f": b"1"}, provenance={"at": 1})
    same = Store(tmp_path / "b").commit("x", "other", {"f": b"1"}, provenance={"at": 2})
    other = Store(tmp_path / "c").commit("x", KEY, {"f": b"2"}, provenance={"at": 1})
    renamed = Store(tmp_path / "d").commit("x", KEY, {"g": b"1"}, provenance={"at": 1})
    assert one.content == same.content
    assert len({one.content, other.content, renamed.content}) == 3


def test_files_kept_apart_say_nothing_of_the_content(tmp_path: Path) -> None:
    made = []
    for name, journal in (("a", b"1,2"), ("b", b"2,1")):
        store = Store(tmp_path / name)
        files = {"f": b"same", "journal": journal}
        made.append(store.commit("x", KEY, files, provenance={}, apart=("journal",)).content)
    assert made[0] == made[1]


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, harm: str) -> None:
    held = Store(tmp_path).commit("x", KEY, {"f": b"abc"}, provenance={})
    path = held.file("f")
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(b"abd" if harm == "flip" else b"ab")
    for look in (held.read, held.verify):
        with pytest.raises(TransientError, match="damaged") as caught:
            look("f")
        assert str(path) in caught.value.message


def test_a_manifest_cut_short_is_no_result(tmp_path: Path) -> None:
    store = Store(tmp_path)
    held = store.commit("x", KEY, {"f": b"abc"}, provenance={})
    (held.folder / "manifest.json").write_text('{"content": "12')
    assert store.lookup("x", KEY) is None
    assert store.commit("x", KEY, {"f": b"abc"}, provenance={}).content == held.content


def test_of_two_makers_one_makes_and_the_other_gets_it(tmp_path: Path) -> None:
    made: list[str] = []
    got: list[str] = []
    inside = threading.Event()

    def maker(name: str) -> None:
        store = Store(tmp_path)
        with store.making("x", KEY, name, 20) as held:
            if held is None:
                inside.set()
                made.append(name)
                held = store.commit("x", KEY, {"f": name.encode()}, provenance={})
            got.append(held.read("f").decode())

    first = threading.Thread(target=maker, args=("first",))
    first.start()
    inside.wait(10)
    second = threading.Thread(target=maker, args=("second",))
    second.start()
    first.join(20)
    second.join(20)
    assert made == ["first"]
    assert got == ["first", "first"]


def test_waiting_for_another_run_ends_with_its_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.making("x", KEY, "run 7 pid 1", 1):
        with pytest.raises(TransientError, match="run 7 pid 1"):
            with store.making("x", KEY, "me", 0.3):
                pass


def test_who_waits_takes_over_from_a_killed_maker_with_what_it_had(tmp_path: Path) -> None:
    store, heard, told = Store(tmp_path), *os.pipe()
    maker = os.fork()
    if maker == 0:
        with store.making("x", KEY, "killed", 5):
            (store.part("x", KEY) / "half").write_bytes(b"abc")
            os.write(told, b".")
            signal.pause()
    os.read(heard, 1)
    with pytest.raises(BuildInProgress, match="killed"), store.making("x", KEY, "me", 0.1):
        pass
    os.kill(maker, signal.SIGKILL)
    os.waitpid(maker, 0)
    with store.making("x", KEY, "me", 5) as held:
        assert held is None
        assert (store.part("x", KEY) / "half").read_bytes() == b"abc"


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON, NaN included."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def test_no_flipped_bit_of_a_manifest_changes_what_it_says(tmp_path: Path) -> None:
    store = Store(tmp_path)
    facts = {"rank1": {"value": 0.8833}, "count": 300, "none": float("nan")}
    held = store.commit("x", KEY, {"f": b"abc"}, provenance={"a": "é"}, facts=facts)
    file = held.file("manifest.json")
    written = file.read_bytes()
    said = {name: value for name, value in held.manifest.items() if name != "sum"}
    for number in range(len(written)):
        flipped = bytearray(written)
        flipped[number] ^= 1 << number % 8
        file.write_bytes(flipped)
        found = store.lookup("x", KEY)
        assert found is None or same(said, {n: found.manifest.get(n) for n in said})
    file.write_bytes(written)
    assert store.lookup("x", KEY) is not None
