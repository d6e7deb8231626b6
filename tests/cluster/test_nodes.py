"""Which node drives which board, and what is said when none can: pure."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cluster.interfaces import ImageFile
from orchestrator.cluster.joined import ExistingCluster
from orchestrator.cluster.nodes import Node, check_farm, check_sites, reach, site_of
from orchestrator.cluster.probe import look
from orchestrator.cluster.remote_images import SentRows, sent
from orchestrator.errors import UserError
from orchestrator.request import Request, parse_address
from orchestrator.specs.inventory import Board

HERE = Node("a" * 8, "10.0.0.1", "head", "lab-a", cpus=2)
GATE = Node("b" * 8, "10.0.0.2", "gate", "lab-b", cpus=2)
DEAD = Node("c" * 8, "10.0.0.3", "old", "lab-c", alive=False)


def board(name: str, transport: Any = None, **more: Any) -> Board:
    ssh = {"ssh": {"host": "192.0.2.7"}}
    return Board.model_validate(
        {"name": name, "kind": "khadas-vim3", "transport": transport or ssh, **more}
    )


def checked(*boards: Board) -> UserError:
    with pytest.raises(UserError) as caught:
        check_sites(boards, [HERE, GATE, DEAD], HERE, "10.0.0.1:6379")
    return caught.value


def test_a_board_is_driven_from_its_site_and_without_one_from_here() -> None:
    assert site_of(board("x"), HERE) == ""
    assert site_of(board("x", site="lab-a"), HERE) == ""
    assert site_of(board("x", site="lab-b"), HERE) == "lab-b"
    # Even where a node happens to carry the name that a board without a site has.
    assert site_of(board("x"), Node("d", "10.0.0.4", site="other")) == ""
    assert site_of(board("x", "emulated", site="lab-b"), HERE) == ""
    check_sites([board("x"), board("y", site="lab-b")], [HERE, GATE], HERE, "10.0.0.1:6379")


def test_a_site_without_a_node_is_named_with_the_nodes_there_and_what_to_type() -> None:
    error = checked(board("x", site="lab-c"), board("y", site="lab-c"), board("z", site="lab-d"))
    assert "drives the site lab-c (boards x, y)" in error.message
    assert "drives the site lab-d (board z)" in error.message
    assert "10.0.0.1 head (farm-site=lab-a), this host; 10.0.0.2 gate" in error.message
    assert "10.0.0.3" not in error.message
    assert "ray start --address=10.0.0.1:6379 --labels=farm-site=lab-d" in error.hint


def test_what_is_on_this_host_is_not_driven_from_another() -> None:
    error = checked(board("x", "emulated", site="lab-b"))
    assert "x: emulated, so it is on this host, but its site lab-b is that of node" in error.message
    assert "leave `site:` of x out" in error.hint


def test_a_key_in_the_project_is_refused_for_another_node() -> None:
    for place in ({"key": "keys/id"}, {"jump": {"host": "192.0.2.1", "key": "keys/id"}}):
        error = checked(board("x", {"ssh": {"host": "192.0.2.7", **place}}, site="lab-b"))
        assert "x: the key keys/id is a path of this folder" in error.message
        assert "absolute or `~/...`" in error.hint
    fine = board("x", {"ssh": {"host": "192.0.2.7", "key": "~/.ssh/boards"}}, site="lab-b")
    check_sites([fine], [HERE, GATE], HERE, "10.0.0.1:6379")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"python": "3.12"}, "this farm Python"),
        ({"farm": "", "problem": "ModuleNotFoundError: orchestrator"}, "has no farm in"),
        ({"farm": "0.0.1"}, "has farm 0.0.1, this is farm"),
        ({"code": "0" * 64}, "its code differs"),
    ],
)
def test_a_node_with_another_farm_is_refused(change: dict[str, str], words: str) -> None:
    own = look()
    assert own["farm"]
    assert not own["problem"]
    check_farm(GATE, own, own)
    with pytest.raises(UserError, match=words) as caught:
        check_farm(GATE, own | change, own)
    assert caught.value.message.startswith("Ray's node 10.0.0.2 gate (farm-site=lab-b)")
    assert caught.value.hint


@pytest.mark.parametrize("text", ["head", "ray://head:10001", "auto", "head:0", "a:b", "::1:6379"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no address of a Ray cluster"):
        parse_address(text)


def test_addresses() -> None:
    assert parse_address("head.lab:6379") == ("head.lab", 6379)
    assert parse_address("[fe80::1]:6379") == ("fe80::1", 6379)


def test_a_closed_port_is_found_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as open_:
        port = open_.getsockname()[1]
        there = reach(f"localhost:{port}")
        assert (there.address, there.loopback) == (f"127.0.0.1:{port}", True)
    with pytest.raises(UserError, match="no Ray cluster answers at"):
        reach(f"127.0.0.1:{port}")


def test_an_old_request_joins_nothing_and_resume_may_name_another_cluster() -> None:
    told = {"matrix": "m", "inventory": "i", "state": "s", "runs": "r", "only": ()}
    old = Request.from_json(told)
    assert old.ray_address == ""
    joined = old.joining("head:6379")
    assert Request.from_json(joined.to_json()) == joined
    assert joined.joining(None).ray_address == "head:6379"
    assert joined.joining("local").ray_address == ""


@given(
    ranges=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    part=st.integers(1, 9),
    count=st.integers(1, 17),
)
def test_images_that_travelled_are_those_of_the_file(
    ranges: list[int], part: int, count: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cuts = np.cumsum([0, *ranges])
    data = np.arange(cuts[-1] * 12, dtype=np.uint64).astype(np.uint8).reshape(-1, 2, 2, 3)
    path = tmp_path_factory.mktemp("images") / "images.npy"
    np.save(path, data)
    spans = tuple((int(a), int(b)) for a, b in zip(cuts[::2], cuts[1::2], strict=False))
    fetched: list[int] = []

    def fetch(wanted: Any, later: list[Any]) -> Any:
        fetched.append(id(wanted))
        assert len(later) <= 2
        return wanted

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("orchestrator.cluster.remote_images.PART_BYTES", part * 12)
        travelling = sent(ImageFile(str(path), spans), lambda rows: rows)
    for start, stop in spans:
        rows = SentRows(travelling, start, stop, fetch)
        assert (len(rows), rows.image_bytes) == (stop - start, 12)
        before = len(fetched)
        got = [rows.read(at, count) for at in range(0, len(rows), count)]
        assert np.array_equal(np.concatenate(got), data[start:stop])
        # In order, each part is fetched again only where a read crosses into the next.
        assert len(fetched) - before <= 2 * len(rows)


def test_reads_from_several_threads_do_not_mix(tmp_path: Path) -> None:
    data = np.arange(64 * 12, dtype=np.uint16).astype(np.uint8).reshape(-1, 2, 2, 3)
    np.save(tmp_path / "i.npy", data)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("orchestrator.cluster.remote_images.PART_BYTES", 36)
        travelling = sent(ImageFile(str(tmp_path / "i.npy"), ((0, 64),)), lambda rows: rows)
    rows = SentRows(travelling, 0, 64, lambda wanted, later: wanted)
    wrong: list[int] = []

    def read(step: int) -> None:
        for at in range(0, 64, step):
            if not np.array_equal(rows.read(at, step), data[at : at + step]):
                wrong.append(at)

    threads = [threading.Thread(target=read, args=(step,)) for step in (1, 3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def chained(outer: Exception, cause: Exception) -> Exception:
    outer.__cause__ = cause
    return outer


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            RuntimeError(
                "Version mismatch: The cluster was started with:\n    Ray: 2.49.1\n"
                "    Python: 3.12.1\nThis process on h was started with:\n    Ray: 2.60.0\n"
            ),
            "was started with Ray 2.49.1, Python 3.12.1; farm here has Ray",
        ),
        (
            chained(
                ConnectionError("Failed to connect to Ray cluster at h:1"),
                RuntimeError("No node info found matching attributes: ''"),
            ),
            "this host is no node of the Ray cluster at h:1",
        ),
        (ConnectionError("Failed to connect to Ray cluster"), "does not let this driver in"),
    ],
)
def test_what_ray_says_of_a_cluster_is_said_for_a_person(error: Exception, words: str) -> None:
    found = ExistingCluster("h:1").refused(error)
    assert isinstance(found, UserError)
    assert words in found.message
    assert found.hint
