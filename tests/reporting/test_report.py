"""The report: self-contained, true to the run, drawn in a real browser."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from orchestrator.reporting.analysis.figures import TimesOf, cmc_curves, det_curves, measured
from orchestrator.reporting.analysis.history import load_run
from orchestrator.reporting.analysis.timeline import HEAD, timeline
from orchestrator.reporting.html import explained
from orchestrator.reporting.html.charts import pareto, sustained
from orchestrator.reporting.html.report import report_html, write_report
from orchestrator.stages.raw_times import Conditions

from .made import Row, Size, fleet, make_run, raw, sensors, times_ns, troubles


class Page(HTMLParser):
    """Identifiers, links, and whatever would be fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "xlink:href"):
                self.links.append(value or "")
            elif name in ("src", "srcset", "data", "poster", "action"):
                self.fetched.append(value or "")
        if tag in ("link", "iframe", "object", "embed", "img"):
            self.fetched.append(tag)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("report"), "a", fleet(), extra=troubles())


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return report_html(load_run(folder))


def test_nothing_is_fetched_and_every_link_leads_somewhere(text: str) -> None:
    page = Page(text)
    assert page.fetched == []
    assert len(page.ids) == len(set(page.ids))
    assert {link for link in page.links if not link.startswith("#")} == set()
    assert {link[1:] for link in page.links} <= set(page.ids)
    outside = re.findall(r"url\((?!#)[^)]*\)|@import", text)
    assert outside == []
    used = set(re.findall(r"url\(#([^)]*)\)", text))
    assert used <= set(page.ids)


def test_figures_of_the_table_stand_in_it_with_what_executed_them(text: str) -> None:
    rows = re.findall(r"<tr>\s*<td class=\"n\">\d+</td>.*?</tr>", text, re.DOTALL)
    assert len(rows) == 6
    valid, stand_in = rows[1], rows[5]
    assert "20.8 ms" in valid
    assert ">board<" in valid
    assert ">emulated<" in stand_in
    assert "ms</a>" not in stand_in
    assert "EMULATED" in stand_in


def test_only_what_is_significant_is_called_real(text: str) -> None:
    assert "1 of 5 rows differ significantly from float32" in text
    assert text.count(">real</small>") == 1
    assert text.count(">noise</small>") == 4


def test_messages_of_boards_are_text_not_markup(text: str) -> None:
    assert "<broke>" not in text
    assert "the link &lt;broke&gt; &amp; ended" in text
    assert "\x1b" not in text


def test_colours_come_from_the_style_sheet_only(text: str) -> None:
    drawings = "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL))
    assert drawings.count("<svg") == 8
    assert re.findall(r"#[0-9a-f]{6}\b", drawings) == []
    assert "var(--series-0)" in drawings


def test_equal_runs_give_equal_bytes(folder: Path, text: str) -> None:
    assert report_html(load_run(folder)) == text


def test_curves_agree_with_the_table(folder: Path) -> None:
    run = load_run(folder)
    at_rank_1 = {name: c.y[0] for c in cmc_curves(run) for name in c.names}
    for row in run.results:
        assert at_rank_1[row.name] == pytest.approx(row.rank1.value)
    det = {name: curve for curve in det_curves(run) for name in curve.names}
    for row in run.results:
        curve = det[row.name]
        miss = curve.y[curve.x <= row.tar.far_target].min()
        assert 1 - miss == pytest.approx(row.tar.value)


def test_rows_of_one_measurement_are_drawn_once(folder: Path) -> None:
    times = measured(load_run(folder))
    assert [t.names for t in times][1] == ("vim3", "vim3*")
    assert [t.on_board for t in times] == [True, True, True, True, False]


def test_the_timeline_has_attempts_failures_and_lost_boards(folder: Path) -> None:
    when = timeline(load_run(folder).events)
    assert HEAD not in when.lanes
    vim3 = [(span.outcome, span.attempt) for span in when.spans if span.stage == "deploy"]
    assert vim3 == [("retried", 1), ("done", 2)]
    failed = [span.step for span in when.spans if span.outcome == "failed"]
    assert failed == ["extract/lost"]
    assert [(lane, reason) for lane, _, _, reason in when.down] == [("rk", "no answer")]
    assert len(when.telemetry["vim3"]) == 19


def test_a_run_without_store_or_without_rows_still_has_a_report(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a", [Row("ref", reference=True)])
    (folder / "request.json").unlink()
    assert "The store of this run is not on this computer" in report_html(load_run(folder))
    empty = make_run(tmp_path, "b", [Row("x", fails="no power")], finish=False)
    text = report_html(load_run(empty))
    assert "No row has a result" in text
    assert "no power" in text
    assert "no end in its log" in text


def test_damaged_searches_leave_a_curve_out_and_nothing_else(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a", [Row("ref", reference=True), Row("x", lot=3)])
    run = load_run(folder)
    held = run.held(run.results[1], "score")
    assert held is not None
    held.file("searches.npz").write_bytes(b"damaged")
    assert [curve.names for curve in cmc_curves(run)] == [("ref",)]
    report_html(run)


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ([(1, 0.5), (2, 0.9), (3, 0.8)], [0, 1]),
        ([(1, 0.9), (2, 0.5)], [0]),
        ([(2, 0.9), (1, 0.9)], [1]),
        ([], []),
    ],
)
def test_the_front_is_what_no_row_beats_in_both(
    points: list[tuple[float, float]], front: list[int]
) -> None:
    assert pareto([x for x, _ in points], [y for _, y in points]) == front


@pytest.mark.slow
@pytest.mark.needs("chromium")
def test_in_a_browser_charts_are_drawn_and_nothing_complains(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(load_run(folder), path)
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0"),
            "--dump-dom",
            f"file://{path}#p4-accuracy",
        ],
        capture_output=True,
        text=True,
        timeout=90,
    )
    dom = done.stdout
    assert dom.count("<svg") == 8
    assert re.search(r'<details id="p4" open', dom), "a link to a figure opens what it stands in"
    assert '<th scope="col" class="n"><button type="button">#</button></th>' in dom
    assert "CONSOLE" not in done.stderr, done.stderr


def timed(number: int, executed_by: str = "board", slows_by: float = 0.0) -> TimesOf:
    ns = times_ns(Row(f"row{number}", median_ms=10, spread=0.01, time_lot=number))
    ns = (ns * np.linspace(1, 1 + slows_by, len(ns))).astype(np.int64)
    return TimesOf(
        (f"row{number}",),
        f"board{number}",
        ns / 1e6,
        executed_by == "board",
        executed_by,
        "VALID",
        raw(ns),
        Conditions(sensors(ns, 40.0 + number)),
    )


def test_the_sustained_chart_says_which_boards_it_shows() -> None:
    many = [timed(number) for number in range(9)] + [timed(9, slows_by=0.5)]
    names = {f"row{number}": f"{number} Board" for number in range(11)}
    drawn = sustained([*many, timed(10, "emulated")], names)
    assert "8 of 10 boards, those whose pace changed most; emulated boards and boards" in drawn
    assert "9 Board" in drawn  # the one that slows down, although it is the last
    assert "49 to 49 °C" in drawn
    assert "1109 to 1109 MHz" in drawn
    assert "10 Board" not in drawn
    few = sustained(many[:3], names)
    assert "boards" not in few
    assert all(f"{number} Board" in few for number in range(3))
    assert sustained([timed(10, "emulated")], names) == ""


def test_the_parts_of_a_time_stand_apart(text: str) -> None:
    table = text[text.index("Where the time of one inference goes") :]
    line = table[table.index("2 A311D") :].split("</tr>")[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL)
    pre, device, post, whole = (float(cell) for cell in cells[:4])
    assert (pre, post) == (0.2, 0.1)
    assert whole == pytest.approx(pre + device + post, abs=0.01)
    assert "mJ (VDD_IN, 9.5 W)" in line
    assert "6 RV1126" not in table.split("</table>")[0]


def test_a_kept_explanation_is_drawn_and_a_damaged_one_left_out(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "run", [Row("x", lot=1)], size=Size(40, 20))
    layer = {
        "name": "conv1<b>",
        "operator": "Conv",
        "own_db": 30.0,
        "own_channel_db": 29.0,
        "own_cosine": 0.999,
        "reached_db": 25.0,
        "reached_cosine": 0.998,
    }
    explanation = {
        "cell": "x*",
        "executed_by": "twin",
        "scheme": "uint8",
        "images": 8,
        "effect": None,
        "usual_channel_db": 30.0,
        "first_bad": "conv1<b>",
        "worst": "conv1<b>",
        "layers": [layer, layer | {"name": "fc"}],
    }
    assert "Layers against float32" not in report_html(load_run(folder))
    path = explained.keep(folder, explanation)
    text = report_html(load_run(folder))
    assert "Layers against float32" in text
    assert "First bad layer: conv1&lt;b&gt;." in text
    assert "<b>" not in text
    path.write_text("{")
    assert "Layers against float32" not in report_html(load_run(folder))
