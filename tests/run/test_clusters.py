"""Runs that join a Ray cluster: what its nodes see, what travels, and how it ends."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.run.clusters import ADDRESS, Cluster, cluster, is_root
from tests.run.project import FLOAT, HOST, Project, emulated, entry

INT8, UINT8 = "int8 per-channel symmetric", "uint8 per-tensor asymmetric"
SCHEMES = {"b1": INT8, "b2": UINT8}
pytestmark = [pytest.mark.slow, pytest.mark.needs("sshd", "unshare", "nsenter", "ip")]


@pytest.fixture
def joined(tmp_path: Path):  # noqa: ANN201
    if not is_root():
        pytest.skip("only root may connect network namespaces")
    with cluster(tmp_path) as made:
        yield made


def features(project: Project, row: str) -> list[bytes]:
    keys = project.cells()[row]["provenance"]["keys"]
    folders = (project.held("extract", keys[role]) for role in ("gallery", "probe"))
    return [(folder / "features.npy").read_bytes() for folder in folders]


def by_a_head_of_its_own(folder: Path, images: int) -> dict[str, list[bytes]]:
    """Features of the same rows when all is on one host."""
    folder.mkdir()
    alone = Project(folder)
    rows = [f"  - {{name: {n}, boards: this-host, quantization: {SCHEMES[n]}}}\n" for n in SCHEMES]
    alone.write("".join(rows), HOST, images)
    done = alone.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(alone.cells()) == len(SCHEMES)
    return dict(zip(SCHEMES, (features(alone, row) for row in alone.cells()), strict=True))


def test_boards_that_only_another_node_reaches_and_which_sees_nothing_of_the_project(
    joined: Cluster, tmp_path: Path
) -> None:
    rows = FLOAT + entry("vim3", UINT8) + "".join(entry(n, SCHEMES[n]) for n in SCHEMES)
    here = HOST + emulated("vim3", "khadas-vim3")
    boards = "".join(map(joined.board, SCHEMES))

    joined.write(rows, here + boards.replace("lab-b", "lab-c"))
    refused = joined.farm("run", "--ray-address", ADDRESS)
    assert refused.returncode == 2, refused.stdout + refused.stderr
    said = " ".join((refused.stdout + refused.stderr).split())
    assert "drives the site lab-c (boards b1, b2)" in said
    assert "--labels=farm-site=lab-c" in said
    assert "10.77.0.2" in said

    joined.write(rows, here + boards)
    done = joined.farm("run", "--ray-address", ADDRESS)
    assert done.returncode == 0, done.stdout + done.stderr
    cells = joined.cells()
    assert {name: cell["executed_by"] for name, cell in cells.items()} == {
        "this-host": "board",
        "vim3": "twin",
        "b1": "board",
        "b2": "board",
    }
    assert joined.seen_by_second() == ""
    events = (joined.latest / "events.jsonl").read_text()
    assert "driven from node 10.77.0.2" in events
    assert "PRIVATE KEY" not in events

    alone = by_a_head_of_its_own(tmp_path / "alone", 40)
    for name, want in alone.items():
        assert features(joined, name) == want
