"""One table of columns: a file of orchestrator/columns/optional/, read by all who need it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import columns as table
from orchestrator.cli.parsing.options import COLUMNS
from orchestrator.columns import asked, column_names, columns, optional
from orchestrator.columns.texts import DASH
from orchestrator.reporting.analysis.history import Run
from orchestrator.reporting.export import tables
from orchestrator.reporting.live.state import RunState
from orchestrator.reporting.tables.table import footnotes, markdown
from orchestrator.specs.matrix import TablePolicy
from orchestrator.specs.schema import schema_of

from .test_table import result

NEW = """
from orchestrator.columns.base import Column, Part

COLUMN = Column(
    parts=(Part("Failed", lambda result, _: str(result.failed_images), right=True),),
    needed=lambda results: any(result.failed_images > 5 for result in results),
    footnotes=lambda results: [f"{len(results)} rows were looked at."],
    values=lambda result: {"failed": result.failed_images},
)
"""


@pytest.fixture
def new_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A column whose file lies in another folder, found as one of farm's own is."""
    (tmp_path / "failed.py").write_text(NEW)
    monkeypatch.setattr(optional, "__path__", [*optional.__path__, str(tmp_path)])
    table.columns.cache_clear()
    yield
    table.columns.cache_clear()
    sys.modules.pop(f"{optional.__name__}.failed", None)


def test_command_line_matrix_and_schema_have_the_files_of_the_folder():
    files = {path.stem for path in Path(optional.__path__[0]).glob("*.py")} - {"__init__"}
    assert set(column_names()) == set(columns()) == set(COLUMNS) == files
    defined = schema_of("matrix")["$defs"]["TablePolicy"]["properties"]["columns"]
    assert defined["anyOf"][0]["enum"] == list(column_names())
    assert TablePolicy.model_validate({"columns": "size"}).columns == ("size",)
    with pytest.raises(ValueError, match="literal_error"):
        TablePolicy.model_validate({"columns": ["sise"]})


def test_a_row_without_figures_has_every_field_and_a_dash():
    bare = result(emulated=True)
    for name in ("difference", "energy", "memory"):
        assert set(columns()[name].values(bare).values()) == {None}
    for name, column in columns().items():
        fields = column.values(bare)
        assert list(fields) == list(column.values(result())), name
        texts = [part.text(bare, True) for part in asked([name], [bare])]
        assert all(isinstance(text, str) and text for text in texts), f"{name}.py: parts are text"
        if fields and set(fields.values()) == {None}:
            assert set(texts) == {DASH}, name


def test_no_column_takes_a_field_of_the_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(Path("r"), {}, (), RunState(), (result(),), {}, None)
    own = list(columns().values())
    monkeypatch.setattr(tables, "optional_columns", dict)
    fields = list(tables.flat_row(run, run.results[0]))
    fields += [field for column in own for field in column.values(result())]
    twice = {field for field in fields if fields.count(field) > 1}
    named = {n: twice & set(c.values(result())) for n, c in columns().items()}
    taken = {f"{name}.py": found for name, found in named.items() if found}
    assert taken == {}, "the header of results.csv has these fields already"


def test_a_file_in_the_folder_is_a_column_everywhere(new_column: None):
    rows = [result(failed_images=3), result(name="c", hardware="Another")]
    assert "failed" in column_names()
    head, _, first, second, *_ = markdown(rows, {}, ["failed"]).splitlines()
    assert head.endswith("| Failed |")
    assert first.endswith("| 3 |")
    assert second.endswith("| 0 |")
    assert "2 rows were looked at." in footnotes(rows, {})
    assert columns()["failed"].values(rows[0]) == {"failed": 3}
    assert [part.heading for part in asked([], rows)] == []
    assert [part.heading for part in asked([], [result(failed_images=9)])] == ["Failed"]


def test_a_column_of_another_version_is_left_out():
    assert asked(["no-such-column"], [result()]) == []


def test_every_column_is_described() -> None:
    page = (Path(__file__).parents[2] / "docs" / "explanation" / "results.md").read_text()
    missing = [name for name in columns() if f"| `{name}` |" not in page]
    assert missing == [], "give each a line in the table of columns of docs/explanation/results.md"
