"""The report: self-contained, true to the run, drawn in a real browser."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.events import Waiting
from orchestrator.reporting.analysis.conclusion import conclusion
from orchestrator.reporting.analysis.figures import (
    TimesOf,
    cmc_curves,
    det_curves,
    measured,
    numbered,
)
from orchestrator.reporting.analysis.history import Run, load_run
from orchestrator.reporting.analysis.timeline import HEAD, timeline
from orchestrator.reporting.html import explained
from orchestrator.reporting.html.accuracy import pareto
from orchestrator.reporting.html.chart import Chart
from orchestrator.reporting.html.curves import probit
from orchestrator.reporting.html.fleet import gantt, idle_times
from orchestrator.reporting.html.report import report_html, write_report
from orchestrator.reporting.html.times import sustained
from orchestrator.reporting.tables.table import NAMED, footnotes, markdown
from orchestrator.stages.conditions import Conditions
from tests.browser import browsing

from .made import T0, Row, Size, fleet, make_run, raw, sensors, times_ns, troubles


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


def specs(text: str) -> dict[str, Any]:
    """The specification of each chart in the page, by its name."""
    found = re.findall(
        r'<figure data-chart="([^"]*)".*?<script type="application/json">(.*?)</script>',
        text,
        re.DOTALL,
    )
    return {name: json.loads(spec) for name, spec in found}


def data(spec: Any) -> list[dict[str, Any]]:
    """All data of a chart."""
    return [row for rows in spec["datasets"].values() for row in rows]


def without_scripts(text: str) -> str:
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_nothing_is_fetched_and_every_link_leads_somewhere(text: str) -> None:
    page = Page(text)
    assert page.fetched == []
    assert len(page.ids) == len(set(page.ids))
    assert {link for link in page.links if not link.startswith("#")} == set()
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert re.findall(r"url\(|@import", without_scripts(text)) == []
    assert "sourceMappingURL" not in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy[1]


def test_figures_of_the_table_stand_in_it_with_what_executed_them(text: str) -> None:
    rows = re.findall(r"<tr>\s*<td class=\"n\">\d+</td>.*?</tr>", text, re.DOTALL)
    assert len(rows) == 6
    valid, suspect, emulated = rows[1], rows[4], rows[5]
    assert ">20.8 ms</a></td>" in valid
    assert '<small class="SUSPECT">SUSPECT</small>' in suspect
    assert '>–</a> <small class="EMULATED">emulated</small>' in emulated
    assert " ms</a>" not in emulated


def test_the_head_says_what_was_measured_and_what_came_of_it(text: str, folder: Path) -> None:
    assert "<h1>m · 6 boards · 7 rows · " in text
    lead = re.search(r'<p class="lead">(.*?)</p>', text)
    assert lead
    assert lead[1] == conclusion(load_run(folder).results, 7)
    assert "1 of 5 rows is significantly worse than float32" in lead[1]
    assert "This run is not complete: 6 of 7 rows with a result." in text


def test_only_what_is_significant_is_marked(text: str) -> None:
    assert "1 of 5 rows differs significantly from float32" in text
    assert re.findall(r'class="n (worse|better)"', text) == ["worse"]
    assert text.count("</a> ↓ <small>") == 1
    points = [row for row in data(specs(text)["differences-chart"]) if "p" in row]
    assert {row["colour"] for row in points} == {"var(--bad)", "var(--neutral)"}
    assert next(row["row"] for row in points if row["colour"] == "var(--bad)") == "4 Jetson NX"


def test_messages_of_boards_are_text_not_markup(text: str) -> None:
    assert "<broke>" not in text
    assert "the link &lt;broke&gt; &amp; ended" in text
    assert "\x1b" not in text


def test_colours_come_from_the_style_sheet_only(text: str) -> None:
    drawn = specs(text)
    assert list(drawn) == [
        "accuracy-time",
        "differences-chart",
        "det",
        "cmc",
        "latencies",
        "sustained-pace",
        "sustained-temperature",
        "sustained-clock",
        "timeline",
        "fleet-temperature",
        "fleet-clock",
    ]
    assert re.findall(r"#[0-9a-f]{3,6}\b", json.dumps(drawn)) == []
    used = set(re.findall(r"var\(--[a-z0-9-]+\)", json.dumps(drawn)))
    assert "var(--series-0)" in used
    assert all(f"{name[4:-1]}:" in text for name in used)


def test_no_layer_is_drawn_from_nothing(text: str, tmp_path: Path) -> None:
    """Vega complains of the extent of no data, as where no row has a TAR."""
    rows = [Row("ref", reference=True), Row("x", lot=1)]
    few = report_html(load_run(make_run(tmp_path, "a", rows, size=Size(40, 20))))
    assert "n/a" in few
    for spec in (*specs(text).values(), *specs(few).values()):
        assert all(spec["datasets"].values())
        assert {layer["data"]["name"] for layer in spec["layer"]} == set(spec["datasets"])


def test_every_chart_has_a_text_and_its_figures_as_a_table(text: str) -> None:
    figures = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    assert len(figures) == 11
    for figure in figures:
        assert re.search(r'class="chart" role="img" aria-label="[^"]{20,}"', figure)
        assert "<details><summary>Figures of" in figure
        assert "<td>" in figure


def test_the_times_of_two_rows_make_a_chart_and_of_one_a_sentence(
    text: str, tmp_path: Path
) -> None:
    named = {row["name"] for row in data(specs(text)["accuracy-time"]) if row.get("name")}
    assert named == {"1 This host", "2 A311D", "3 A311D*", "4 Jetson NX"}
    folder = make_run(tmp_path, "a", [Row("ref", reference=True), Row("x", executed_by="twin")])
    alone = report_html(load_run(folder))
    assert "accuracy-time" not in specs(alone)
    assert "needs two rows with a valid time of their own board; this run has one (1 A311D" in alone


def test_rows_of_one_hardware_are_named_by_their_quantization(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "a", [Row("ref", reference=True), Row("x"), Row("y", "B")])
    names = numbered(load_run(folder).results)
    assert names["y"] == "3 B"
    assert names["ref"] != names["x"]
    assert names["x"] == "2 A311D uint8 per-tensor asymmetric"


def test_the_mark_of_the_det_is_the_tables_tar(text: str, folder: Path) -> None:
    marks = {row["curve"]: row for row in data(specs(text)["det"]) if "TAR" in row.get("tip", "")}
    row = load_run(folder).results[0]
    assert row.tar.value is not None
    mark = marks["1 This host"]
    assert mark["x"] == row.tar.far_target
    assert mark["y"] == pytest.approx(probit(1 - row.tar.value), abs=1e-4)
    assert mark["low"] < mark["y"] < mark["high"]


def test_the_cmc_says_where_its_axis_starts(text: str) -> None:
    y = specs(text)["cmc"]["layer"][1]["encoding"]["y"]
    start = y["scale"]["domain"][0]
    assert start > 0
    assert f"axis starts at {start}" in y["title"]


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
    chart = gantt(when)
    assert chart is not None
    assert list(chart.series) == ["deploy", "measure", "extract"]
    vim3 = [(span.outcome, span.attempt) for span in when.spans if span.stage == "deploy"]
    assert vim3 == [("retried", 1), ("done", 2)]
    failed = [span.step for span in when.spans if span.outcome == "failed"]
    assert failed == ["extract/lost"]
    assert [(lane, reason) for lane, _, _, reason in when.down] == [("rk", "no answer")]
    assert len(when.telemetry["vim3"]) == 19


def test_an_idle_board_has_the_reported_reason(tmp_path: Path) -> None:
    def waiting(second: float, why: str, subject: str = "") -> Waiting:
        return Waiting(at=T0 + second, boards=("vim3",), why=why, subject=subject)  # type: ignore[arg-type]

    reasons = (waiting(0.5, "ray"), waiting(5, "input", "convert/x"), waiting(7, ""))
    rows = [Row("ref", "This host", "host", reference=True), Row("x", lot=1)]
    when = timeline(load_run(make_run(tmp_path, "a", rows, extra=reasons)).events)
    assert [(w.lane, w.start - T0, w.end - T0, w.reason) for w in when.waits] == [
        ("vim3", 0.5, 5, "starting Ray"),
        ("vim3", 5, 7, "waiting for convert/x"),
    ]
    idle = [each for each in idle_times(when) if each[0] == "vim3"]
    assert [(round(start - T0, 1), round(end - T0, 1), why) for _, start, end, why in idle] == [
        (0, 0.5, "no reason reported; then measure/x"),
        (0.5, 5, "starting Ray"),
        (5, 7, "waiting for convert/x"),
        (7, 11, "no reason reported; then measure/x"),
        (14, 15, "no reason reported; then extract/x"),
    ]


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


MARKS = "document.querySelectorAll('.marks').length"
IN_SIGHT = """new Promise((done) => new IntersectionObserver(
  () => requestAnimationFrame(() => requestAnimationFrame(done))).observe(document.body))"""


@pytest.mark.slow
@pytest.mark.needs("chromium")
def test_in_a_browser_charts_are_drawn_and_nothing_complains(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(load_run(folder), path)
    with browsing(tmp_path / "profile") as browser:
        browser.look(1280, 12000)
        browser.open(f"{path.as_uri()}#p4-accuracy")
        browser.until(f"{MARKS} === 11")
        assert browser.run("document.getElementById('p4').open"), "a link opens what it stands in"
        assert browser.run("document.querySelector('th.n[scope=col] button').textContent") == "#"
        assert browser.complaints == []


@pytest.mark.slow
@pytest.mark.needs("chromium")
def test_charts_out_of_sight_are_drawn_for_print_only(folder: Path, tmp_path: Path) -> None:
    """So that a page of 500 rows opens as fast as one of five."""
    path = tmp_path / "report.html"
    path.write_text(report_html(five_hundred(folder)))
    with browsing(tmp_path / "profile") as browser:
        browser.look(1280, 800)
        browser.open(path.as_uri())
        browser.run(IN_SIGHT)
        assert browser.run(MARKS) == 0
        browser.run("dispatchEvent(new Event('beforeprint'))")
        browser.until(f"{MARKS} === 11")
        assert browser.complaints == []


@pytest.mark.slow
@pytest.mark.needs("chromium")
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing_serious(folder: Path, tmp_path: Path, dark: bool) -> None:
    path = tmp_path / "report.html"
    write_report(load_run(folder), path)
    with browsing(tmp_path / "profile") as browser:
        browser.look(1280, 800, dark=dark)
        browser.open(path.as_uri())
        browser.run("document.querySelectorAll('details').forEach((each) => each.open = true)")
        assert browser.violations() == []


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


def test_the_sustained_charts_say_which_boards_they_show() -> None:
    many = [timed(number) for number in range(9)] + [timed(9, slows_by=0.5)]
    names = {f"row{number}": f"{number} Board" for number in range(11)}
    pace, temperature, clock = sustained([*many, timed(10, "emulated")], names)
    assert "8 of 10 boards, those whose pace changed most; emulated boards and" in pace.caption
    assert "9 Board" in pace.series  # the one that slows down, although it is the last
    assert "10 Board" not in pace.series
    hottest = {chart.ident: line_of(chart, "9 Board") for chart in (temperature, clock)}
    assert hottest["sustained-temperature"] == ("49", "49", "49", "49")
    assert hottest["sustained-clock"] == ("1109", "1109", "1109", "1109")
    few = sustained(many[:3], names)[0]
    assert "boards" not in few.caption
    assert set(few.series) == {f"{number} Board" for number in range(3)}
    assert sustained([timed(10, "emulated")], names) == []


def line_of(chart: Chart, name: str) -> tuple[str, ...]:
    return next(tuple(line[1:]) for line in chart.body if line[0] == name)


def test_the_parts_of_a_time_stand_apart(text: str) -> None:
    table = text[text.index("Where the time of one inference goes") :]
    line = table[table.index("2 A311D") :].split("</tr>")[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL)
    pre, device, post, whole = (float(cell.removesuffix("\u00a0ms")) for cell in cells[:4])
    assert (pre, post) == (0.2, 0.1)
    assert whole == pytest.approx(pre + device + post, abs=0.01)
    assert "mJ (VDD_IN, 9.5 W)" in line
    assert "<td>SUSPECT: too noisy</td>" in table
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
    rows = data(specs(text)["layers-0"])
    assert [(row["row"], row["s"], row["colour"]) for row in rows if "row" in row] == [
        ("1 conv1<b>", 0, "var(--bad)"),
        ("2 fc", 0, "var(--series-0)"),
        ("1 conv1<b>", 1, "var(--bad)"),
        ("2 fc", 1, "var(--series-0)"),
    ]
    assert "<b>" not in text
    path.write_text("{")
    assert "Layers against float32" not in report_html(load_run(folder))


def five_hundred(folder: Path) -> Run:
    """A run of 500 rows made from a real one's result, told apart in all that tells rows apart."""
    run = load_run(folder)
    results = []
    for number in range(500):
        one = run.results[min(number, 1)]
        name = f"jetson-orin-nano-{number:03}"
        apart = hashlib.sha256(name.encode()).hexdigest()
        rank1 = one.rank1.model_copy(update={"value": (one.rank1.value or 0) - number / 1e4})
        assert one.latency is not None
        device = one.latency.device.model_copy(update={"p50_ms": 10 + number / 7})
        keys = one.provenance["keys"]
        changed = {
            "name": name,
            "board": name,
            "hardware": f"Jetson Orin Nano {number:03}",
            "rank1": rank1,
            "latency": one.latency.model_copy(update={"device": device}),
            "verdict": "SUSPECT" if number % 3 == 1 else "VALID",
            "verdict_reason": f"the spread is {number} %" if number % 3 == 1 else "",
            "failed_images": number % 2,
            "warnings": ["few false alarms"],
            "artifact_sha256": apart,
            "provenance": one.provenance
            | {
                "measure": one.provenance["measure"] | {"board_name": name, "raw": apart},
                "keys": keys | {"artifact": apart, "probe": apart[::-1]},
            },
        }
        results.append(one.model_copy(update=changed))
    return replace(run, results=tuple(results))


def test_five_hundred_rows_make_a_page_that_opens(folder: Path, tmp_path: Path) -> None:
    run = five_hundred(folder)
    path = tmp_path / "a b" / "report.html"
    path.parent.mkdir()
    write_report(run, path)
    text = path.read_text()
    assert len(text.encode()) < 2_500_000
    page = Page(text)
    leads = f"../{os.path.relpath(run.folder, tmp_path)}/results.json"
    assert {link for link in page.links if link[:1] != "#"} == {leads}
    assert {link[1:] for link in page.links if link[:1] == "#"} <= set(page.ids)
    # What finds a figure again stays with its row.
    last = text[text.index('<details id="p500">') :]
    assert all(f"{run.results[-1].provenance['keys'][key]}" in last for key in ("probe", "score"))
    bars = [row for row in specs(text)["accuracy-time"]["datasets"].values() if "low" in row[0]]
    assert min(len(rows) for rows in bars) < 20


def test_notes_of_five_hundred_rows_can_be_read_and_table_md_names_all(folder: Path) -> None:
    run = five_hundred(folder)
    notes = footnotes(run.results, dict.fromkeys(map(str, range(90)), "lost"), most=NAMED)
    assert len(notes) < 30
    assert max(map(len, notes)) < 400
    said = " ".join(notes)
    assert "and 494 more rows (see table.md): few false alarms" in said
    assert "161 more rows are SUSPECT (see table.md)." in said
    assert "244 more rows have images that failed (see table.md)." in said
    assert "202 mJ (VDD_IN, 9.5 W); and 494 more (see table.md)" in said  # the energy column
    assert "No result for 0, 1, 2, 3, 4, 5 and 84 more rows (see table.md): lost" in said
    whole = markdown(run.results, {})
    assert all(f"Jetson Orin Nano {number:03}, " in whole for number in range(499))
    assert "more row" not in whole
