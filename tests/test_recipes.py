"""The recipes of CONTRIBUTING.md, done as they are written there: each new file is used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.reporting.test_table import result

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FILE = re.compile(r"^`([\w./-]+)`:\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DIFF = re.compile(r"^```diff\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_LINES = 16  # without blank ones
MOST_CHANGED = 5

MATRIX = """\
models: synthface-mfn
test_set:
  rendered: {seed: 0, identities: 8, unknown: 8}
scoring: {far: [1e-1], table_far: 1e-1}
entries:
  - {name: reference, boards: this-host, quantization: float32}
  - {name: new-kind, boards: {kind: my-board}, quantization: float32}
  - {name: new-toolchain, boards: this-host, quantization: float32, toolchain: mine}
"""
ONE_ROW = "\n".join(MATRIX.splitlines()[:6]) + "\n"
INVENTORY = """\
boards:
  - {name: this-host, kind: host-cpu, transport: local}
  - {name: desk, kind: my-board, transport: emulated}
"""
SESSION = """
import sys
from pathlib import Path

import numpy as np

from orchestrator.fleet.boards import smoke_test
from orchestrator.fleet.boards.addressing import address_of
from orchestrator.fleet.boards.board import BoardLink
from orchestrator.fleet.emulated.boards import EmulatedFleet
from orchestrator.specs.inventory import Board

board = Board.model_validate({"name": "desk", "kind": "host-cpu", "transport": "emulated"})
state = Path(sys.argv[1])


class Images:
    def __len__(self):
        return len(smoke_test.images())

    def read(self, start, count):
        return smoke_test.images()[start : start + count]


with EmulatedFleet(state / "emulated") as fleet:
    link = BoardLink(address_of(board, owner="test", state=state, emulated=fleet))
    try:
        assert link.connect().runtimes["mean"].version == "1"
        artifact = smoke_test.artifact("mean", {})
        link.deploy(artifact, smoke_test.model())
        assert link.open(artifact).provider == "CPU"
        blocks = sorted(link.extract(Images(), 8), key=lambda block: block.start)
        print(*np.concatenate([block.rows for block in blocks])[:, 0].tolist())
    finally:
        link.close()
"""
TABLE = """
import sys

from orchestrator.columns import columns
from orchestrator.reporting.tables.table import markdown
from orchestrator.results import CellResult

row = CellResult.model_validate_json(sys.argv[1])
print(markdown([row], {}, ["failed"]))
print(columns()["failed"].values(row))
"""

STAGE = """
from orchestrator.cli.main import main
from orchestrator.execution.local_backend import host_plan, run_here
from orchestrator.request import Request

main(["plan", "--steps", "--json"])
print("\\f")
plan = host_plan(Request("matrix.yaml", "device_inventory.yaml", ".farm", "runs"))
(row,) = plan.graph.targets.values()
assert row.norms in row.figures
run_here(plan, [row.norms], lambda event: None)
print(plan.resolution.keys[row.probe], plan.resolution.keys[row.norms])
"""


def recipes() -> dict[str, tuple[str, str]]:
    """Path and text of the file of each heading `Add a ...`."""
    found = {}
    for title, text in re.findall(r"^## Add a (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S):
        files = FILE.findall(text)
        assert len(files) == 1, f"'Add a {title}' is one new file"
        found[title] = files[0]
    return found


def change(farm: Path, diff: str) -> None:
    """Apply a diff whose hunks, which have no line numbers, each fit in one place."""
    for file in re.split(r"^--- ", diff, flags=re.MULTILINE)[1:]:
        name, _, text = file.partition("\n")
        whole = (farm / name).read_text()
        for hunk in text.split("@@\n"):
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] in " -")
            after = "".join(line[1:] for line in lines if line[0] in " +")
            assert whole.count(before) == 1, f"the recipe of a stage no longer fits {name}: {hunk}"
            whole = whole.replace(before, after)
        (farm / name).write_text(whole)


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of farm with the file of every recipe."""
    copy = tmp_path_factory.mktemp("farm")
    for name in ("agents", "models"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copytree(ROOT / "orchestrator", copy / "orchestrator", symlinks=True)
    for path, text in recipes().values():
        assert not (copy / path).exists(), path
        (copy / path).write_text(text)
    for diff in DIFF.findall(PAGE):
        change(copy, diff)
    return copy


FARM = "import sys; from orchestrator.cli.main import main\n"
COMMANDS = FARM + "for words in sys.argv[1:]: main(words.split()), print('\\f')"


def answers(farm: Path, folder: Path, *commands: str) -> list[str]:
    """What commands of the changed farm print, one after the other in one process."""
    return done(farm, folder, "-c", COMMANDS, *commands).split("\f\n")[:-1]


def done(farm: Path, folder: Path, *words: str) -> str:
    """What a Python of the changed farm prints."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = kept | {"PYTHONPATH": str(farm)}
    ended = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_each_recipe_is_one_short_file() -> None:
    found = recipes()
    assert {"kind of board", "column", "runtime", "toolchain", "command", "stage"} <= set(found)
    for title, (path, text) in found.items():
        assert len([line for line in text.splitlines() if line.strip()]) <= MOST_LINES, title
        assert (ROOT / path).parent.is_dir(), path
    (diff,) = DIFF.findall(PAGE)
    assert len(re.findall(r"^\+", diff, re.MULTILINE)) <= MOST_CHANGED


@pytest.mark.slow
def test_a_new_kind_and_a_new_toolchain_have_rows_in_the_plan(
    changed: Path, tmp_path: Path
) -> None:
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    (tmp_path / "device_inventory.yaml").write_text(INVENTORY)
    told, schema = answers(changed, tmp_path, "plan --json", "schema kind")
    rows = {row["board"]: row for row in json.loads(told)["rows"] if row["board"] == "desk"}
    assert rows["desk"]["impossible"] == ""
    assert rows["desk"]["executed_by"] == "emulated"
    made = [row for row in json.loads(told)["rows"] if "mine" in row["name"]]
    assert [row["impossible"] for row in made] == [""]
    names = json.loads(schema)["properties"]
    assert "mine" in names["toolchain"]["enum"]
    assert "mean" in names["runtime"]["enum"]


def test_a_new_column_is_in_the_table_and_the_exports(changed: Path, tmp_path: Path) -> None:
    row = result(failed_images=3)
    told = done(changed, tmp_path, "-c", TABLE, row.model_dump_json()).splitlines()
    assert told[0].endswith("| Failed |")
    assert told[2].endswith("| 3 |")
    assert told[-1] == "{'failed': 3}"


@pytest.mark.slow
def test_a_new_runtime_runs_on_an_emulated_board(changed: Path, tmp_path: Path) -> None:
    from orchestrator.fleet.boards import smoke_test

    told = done(changed, tmp_path, "-c", SESSION, str(tmp_path))
    prepared = (smoke_test.images().astype(float) - smoke_test.MEAN) / smoke_test.STD
    wanted = prepared.reshape(len(prepared), -1).mean(axis=1)
    assert [float(word) for word in told.split()] == pytest.approx(list(wanted), abs=1e-6)


def test_a_new_command_is_in_the_help_and_runs(changed: Path, tmp_path: Path) -> None:
    page, greeting = answers(changed, tmp_path, "--help", "hello Ada")
    assert "greet somebody" in page
    assert greeting == "Hello, Ada\n"


@pytest.mark.slow
def test_a_new_stage_has_a_step_in_each_row_and_runs(changed: Path, tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(ONE_ROW)
    (tmp_path / "device_inventory.yaml").write_text(INVENTORY)
    told, keys = done(changed, tmp_path, "-c", STAGE).split("\f\n")
    steps = {step["id"]: step for step in json.loads(told)["steps"]}
    assert steps["norms/this-host"]["to_do"]
    probe, norms = keys.split()
    store = tmp_path / ".farm" / "store"
    features = np.load(store / "extract" / probe / "features.npy")
    facts = json.loads((store / "norms" / norms / "manifest.json").read_text())["facts"]
    assert facts["mean"] == pytest.approx(np.linalg.norm(features, axis=1).mean(), rel=1e-6)
