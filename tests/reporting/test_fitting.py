"""No table breaks a word, however narrow the terminal is; columns go in a stated order."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.cli.boards.table import fleet_rows
from orchestrator.cli.results.compare import _published as show_published
from orchestrator.cli.results.compare import rows_table
from orchestrator.cli.results.explain import layers_table
from orchestrator.cli.results.gate import _show as show_judgement
from orchestrator.cli.results.runs import runs_table, trend_table
from orchestrator.cli.run.plan import show_plan
from orchestrator.cli.run.predict import table as predictions
from orchestrator.cli.run.view import print_last_words
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.reporting.analysis.compare import compare_runs
from orchestrator.reporting.analysis.gate import judge, parse_limits
from orchestrator.reporting.analysis.history import load_run
from orchestrator.reporting.live.card import card_table, print_card
from orchestrator.reporting.live.console import first_notes, print_table, results_table
from orchestrator.reporting.live.ending import last_words
from orchestrator.reporting.tables.fitting import Column, fitted, fitting_columns
from orchestrator.reporting.tables.listing import listed, trend
from orchestrator.reporting.tables.table import footnotes
from orchestrator.request import Request
from orchestrator.running import Ended
from orchestrator.specs.inventory import load_inventory
from orchestrator.store.fleet_log import Standing

from .made import T0, Row, Size, fleet, make_run

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (60, 80, 100, 200)
WORD = st.text(st.sampled_from("abcXYZ0-9é"), min_size=1, max_size=14)
TEXT = st.lists(WORD, min_size=1, max_size=5).map(" ".join)


def shown(what: Any, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), highlight=False, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def words_of(texts: list[str]) -> set[str]:
    return {word for text in texts for word in text.split()}


@given(
    st.lists(
        st.tuples(WORD, st.integers(0, 3), st.booleans(), st.booleans()), min_size=1, max_size=6
    ),
    st.data(),
    st.integers(20, 120),
)
def test_every_word_that_is_shown_is_whole_or_marked_as_cut(
    shape: list[tuple[str, int, bool, bool]], data: st.DataObject, width: int
) -> None:
    columns = [Column(*each) for each in shape]
    rows = data.draw(st.lists(st.tuples(*[TEXT for _ in columns]), min_size=1, max_size=4))
    lines = shown(fitted(columns, rows, width), width)
    kept = fitting_columns(columns, rows, width)
    there = words_of([columns[i].name for i in kept] + [row[i] for row in rows for i in kept])
    for word in words_of(lines):
        assert word in there or word.endswith("…"), (word, lines)
    if not any("…" in line for line in lines):
        assert words_of(lines) == there
    gone = [columns[i].drop for i in range(len(columns)) if i not in kept]
    assert all(drop > 0 for drop in gone)
    assert not gone or min(gone) >= max(columns[i].drop for i in kept)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fitting")
    make_run(root, "20260101-120000-aaaa", fleet())
    worse = [Row(r.name, r.hardware, r.board, reference=r.reference, noise=1.3) for r in fleet()]
    make_run(root, "20260102-120000-bbbb", worse, at=T0 + 1e5, size=Size(200, 100), limit=200)
    return root


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("plan")
    matrix = (ROOT / "matrix.yaml").read_text()
    wrong = "kind: rv1126}\n    quantization: int8 per-channel symmetric"
    right = "kind: rv1126}\n    quantization: uint8 per-tensor asymmetric"
    assert right in matrix
    (folder / "matrix.yaml").write_text(matrix.replace(right, wrong))
    (folder / "models").symlink_to(ROOT / "models")
    words = (folder / "matrix.yaml", ROOT / "device_inventory.yaml", folder / ".farm", folder / "r")
    return make_plan(Request(*map(str, words)))


def of_runs(project: Path, _: Plan, width: int) -> Any:
    return runs_table([run.summary for run in listed(project / "runs")], width)


def of_a_row(project: Path, _: Plan, width: int) -> Any:
    return trend_table(trend(project / "runs", "vim3"), width)


def of_compare(project: Path, _: Plan, width: int) -> Any:
    runs = [load_run(project / "runs" / name) for name in sorted_names(project)]
    return rows_table(compare_runs(runs[0], runs[0]), width)


def of_results(project: Path, _: Plan, width: int) -> Any:
    run = load_run(project / "runs" / sorted_names(project)[0])
    return results_table(run.results, ("difference", "size"), width)


def of_boards(_: Path, __: Plan, width: int) -> Any:
    boards = load_inventory(ROOT / "device_inventory.yaml").boards
    standing = Standing(state="quarantined", reason="it answered nothing for 30 s and was given up")
    return fleet_rows(boards, {board.name: standing for board in boards}, {}, width)


def of_layers(_: Path, __: Plan, width: int) -> Any:
    layer = SimpleNamespace(
        name="stage3/block2/conv_depthwise",
        operator="Conv",
        own_db=31.0,
        own_channel_db=12.0,
        own_cosine=0.99981,
        reached_db=20.1,
        reached_cosine=0.98,
    )
    report = SimpleNamespace(layers=[layer])
    found = SimpleNamespace(report=report, is_bad=True, matters=True, named=layer)
    return layers_table(found, width)  # type: ignore[arg-type]


def sorted_names(project: Path) -> list[str]:
    return sorted(path.name for path in (project / "runs").glob("2*"))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("made", "always"),
    [
        (of_runs, ["20260101-120000-aaaa", "incomplete", "6 of 7"]),
        (of_a_row, ["20260101-120000-aaaa", "Rank1", "["]),
        (of_compare, ["vim3*", "Δ Rank1"]),
        (of_results, ["Jetson NX", "A311D*", "Rank1", "TAR@FAR<=1e-2"]),
        (of_boards, ["khadas-vim3", "quarantined", "emulated on this host"]),
        (of_layers, ["stage3/block2/conv_depthwise", "12.0", "20.1"]),
    ],
)
def test_each_table_at_each_width(
    made: Callable[[Path, Plan, int], Any],
    always: list[str],
    width: int,
    project: Path,
    plan: Plan,
) -> None:
    lines = shown(made(project, plan, width), width)
    widest = words_of(shown(made(project, plan, 400), 400))
    assert max(map(len, lines)) <= width
    assert not [word for word in words_of(lines) if word not in widest and "…" not in word]
    text = "\n".join(lines)
    for word in always:
        assert word in text, text
    assert "…" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_the_plan_and_its_prediction_at_each_width(width: int, plan: Plan) -> None:
    console = Console(width=width, file=io.StringIO(), highlight=False, color_system=None)
    show_plan(console, plan, steps=False)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width
    assert "khadas-vim3*" in text
    assert "impossible" in text
    assert " ".join(text.split()).count("RV1126 cannot run int8 per-channel symmetric") == 1
    assert "8 rows; " in text
    assert "extract/" not in text
    assert len(lines) <= 20
    table = [line for line in shown(predictions_of(plan, width), width) if line.strip()]
    assert len(table) == 1 + len(plan.cells)
    assert "khadas-vim3*" in "\n".join(table)


def predictions_of(plan: Plan, width: int) -> Any:
    cells = [replace(cell, reason="not made here") for cell in plan.cells]
    return predictions(replace(plan, cells=cells), width)


@pytest.mark.parametrize("width", range(40, 140, 7))
def test_a_doubtful_time_is_never_shown_without_its_verdict(project: Path, width: int) -> None:
    points = trend(project / "runs", "noisy")
    assert [point["verdict"] for point in points] == ["SUSPECT", "VALID"]
    lines = shown(trend_table(points, width), width)
    (line,) = (each for each in lines if "aaaa" in each or "20260101" in each)
    assert (" ms" not in line) or "SUSPECT" in line.partition(" ms")[2].split()[0]


def test_intervals_stay_as_long_as_the_table_fits(project: Path) -> None:
    run = load_run(project / "runs" / sorted_names(project)[0])
    rows = [row for row in run.results if row.verdict == "VALID"]
    text = "\n".join(shown(results_table(rows, (), 80), 80))
    assert "Hardware" in text
    assert "[" in text
    assert "Provider" not in text
    assert "[" not in "\n".join(shown(results_table(rows, (), 44), 44))


def test_a_console_has_at_most_four_lines_of_footnotes(project: Path) -> None:
    run = load_run(project / "runs" / sorted_names(project)[0])
    for width in WIDTHS:
        console = Console(width=width, file=io.StringIO(), color_system=None)
        print_table(console, run.results, run.failures)
        assert isinstance(console.file, io.StringIO)
        _, _, notes = console.file.getvalue().partition("\n\n")
        lines = notes.splitlines()
        assert len(lines) <= 4, lines
        assert "more notes in table.md" in lines[-1]
        assert max(map(len, lines)) <= width
    assert first_notes(["one", "two"], 80) == ["one", "two"]
    assert first_notes(["a " * 200, "b"], 80) == ["b", "1 more note in table.md"]
    # What no table may be shown without: two lines of each, whatever the room.
    serious, first = "LEAK " + "a " * 200, "1:N over 12"
    shown = first_notes([serious, "3 skipped as unreadable", first, "b " * 200], 80, must=2)
    assert [line[:9] for line in shown[::2]] == ["LEAK a a ", "3 skipped", "1 more no"]
    assert shown[1].endswith(" …")
    assert max(map(len, shown)) <= 80


@given(
    st.lists(st.tuples(*[st.sampled_from(["a", "bb", "cccc dd"])] * 4), min_size=2, max_size=5),
    st.integers(8, 60),
)
def test_columns_that_tell_rows_apart_stay(rows: list[tuple[str, ...]], width: int) -> None:
    columns = [
        Column("Who", names=True),
        Column("Figure", 1),
        Column("How", 3, names=True),
        Column("What", 2, names=True),
    ]
    kept = fitting_columns(columns, rows, width)
    assert len({tuple(row[i] for i in kept if columns[i].names) for row in rows}) == len(
        {(row[0], row[2], row[3]) for row in rows}
    )


def two_of_a_board(project: Path) -> list[Any]:
    """Rows of one board in two quantizations, and in one with two options, all else equal."""
    run = load_run(project / "runs" / sorted_names(project)[0])
    one = next(row for row in run.results if row.name == "vim3")
    other = {"granularity": "per-channel", "symmetry": "symmetric", "name": "vim3-channel"}
    return [one, one.model_copy(update=other), one.model_copy(update={"name": "vim3-equalized"})]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("drawn", [card_table, results_table])
def test_rows_of_one_board_stay_apart(project: Path, drawn: Any, width: int) -> None:
    lines = shown(drawn(two_of_a_board(project), ("difference", "size"), width), width)
    body = [line for line in lines[1:] if line.strip()]
    assert len({" ".join(line.split()) for line in body if "A311D" in line}) == 3
    assert any("vim3-equ" in line for line in body)  # at 60 columns cut off, with a mark
    assert all(len(line) <= width for line in lines)


def test_footnotes_name_the_row_where_a_board_has_several(project: Path) -> None:
    rows = [row.model_copy(update={"warnings": [row.name]}) for row in two_of_a_board(project)]
    notes = footnotes(rows, {})
    for name in ("vim3", "vim3-equalized"):
        named = [note for note in notes if note.endswith(f"({name}): {name}")]
        assert len(named) == 1
        assert named[0].startswith("A311D ")
    assert any(note.endswith(": vim3-channel") and "per-channel" in note for note in notes)


def on_terminal(width: int, say: Callable[[Console], None]) -> list[str]:
    """What a terminal of this width gets, without its colours."""
    console = Console(
        width=width, file=io.StringIO(), force_terminal=True, color_system=None, highlight=False
    )
    say(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def judged_lines(console: Console, project: Path) -> None:
    first, second = (load_run(project / "runs" / name) for name in sorted_names(project)[:2])
    refused = parse_limits(["rank1=0.5", "tar=0.5"], ["p50=10%"])
    show_judgement(judge(compare_runs(first, second), second, refused), second, first, console)


def published_lines(console: Console, project: Path) -> None:
    run = load_run(project / "runs" / sorted_names(project)[0])
    show_published(console, replace(run, results=tuple(two_of_a_board(project))), as_json=False)


def last_lines(console: Console, project: Path) -> None:
    run = load_run(project / "runs" / sorted_names(project)[0])
    words = last_words(run.state, run.name, 0, cached=True)
    words += last_words(run.state, run.name, 1)
    print_last_words(console, words, Ended(run.folder, 0, cached=True, signal=None), run.state)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("say", [judged_lines, published_lines, last_lines])
def test_lines_break_between_words_and_none_is_wider_than_the_terminal(
    project: Path, say: Callable[[Console, Path], None], width: int
) -> None:
    lines = on_terminal(width, lambda console: say(console, project))
    whole = words_of(on_terminal(1000, lambda console: say(console, project)))
    assert words_of(lines) <= whole
    # An address or a path is one word: it is copied, not read.
    assert [line for line in lines if len(line) > width and " " in line.strip()] == []


def test_rows_beside_the_published_table_are_told_apart(project: Path) -> None:
    for width in WIDTHS:
        lines = on_terminal(width, lambda console: published_lines(console, project))
        named = [line.split()[0] for line in lines[1:4]]
        assert named == ["vim3", "vim3-channel", "vim3-equalized"]


def test_the_cards_legend_goes_by_parts_not_by_letters(project: Path) -> None:
    run = load_run(project / "runs" / sorted_names(project)[0])
    for width in range(30, 90, 3):
        lines = on_terminal(width, lambda console: print_card(console, run.results, 7))
        (legend,) = [line for line in lines if line.startswith("Δ: ")]
        assert legend.endswith(("float32's", "points", "point", "significant"))


def test_a_runtime_is_named_once_and_an_empty_column_goes() -> None:
    board = load_inventory(ROOT / "device_inventory.yaml").boards[0]
    versions = {"onnxruntime": "1.32.0", "rknpu": "0.9.2"}
    cool = fleet_rows([board], {board.name: Standing("ready", versions=versions)}, {}, 200)
    text = "\n".join(shown(cool, 200))
    assert text.count("1.32.0") == 1
    assert "rknpu 0.9.2" in text
    assert "°C" not in text
    warm = fleet_rows([board], {board.name: Standing("ready", temperature_c=51.0)}, {}, 200)
    assert "°C" in "\n".join(shown(warm, 200))
