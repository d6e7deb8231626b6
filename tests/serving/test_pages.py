"""What the pages show, and that each link of theirs leads somewhere."""

from __future__ import annotations

import re
import shutil
from html import unescape
from pathlib import Path
from urllib.parse import urldefrag

import pytest
from markupsafe import escape

from orchestrator.reporting.analysis.compare import compare_runs
from orchestrator.reporting.analysis.history import load_run
from orchestrator.reporting.tables.comparison import rows
from orchestrator.reporting.tables.listing import Listed
from orchestrator.serving import templates
from orchestrator.serving.catalogue import Catalogue, Entry
from orchestrator.serving.pages.runs import PAGE, Asked, runs_page
from orchestrator.serving.pages.trends import SHOWN, trend_page
from orchestrator.serving.planning import Planner
from orchestrator.serving.project import Project
from orchestrator.store.fleet_entries import Drained, Reserved, Worked
from orchestrator.store.fleet_log import FleetLog
from tests.reporting.made import Row, Size, make_run

from .site import Page, Site, serving

ROOT = Path(__file__).parents[2]

RUN = "/runs/20260102-000000-bbbb"


def test_every_link_of_every_page_leads_somewhere(site: Site) -> None:
    seen: dict[str, str] = {}
    left = ["/now"]
    while left:
        path = left.pop()
        if path in seen:
            continue
        found = site.get(path)
        if found.status == 404:  # a run's board that is nowhere else
            assert path.startswith("/boards/")
            assert "the inventory has no such board" in found.text
            continue
        assert found.status == 200, path
        seen[path] = found.text
        if "text/html" not in found.headers["content-type"] or path.endswith("/report"):
            continue
        for link in Page(found.text).links:
            address, anchor = urldefrag(unescape(link))
            if anchor and address in seen:
                assert f'id="{anchor}"' in seen[address], link
            if address:
                left.append(address)
    assert {
        "/runs",
        "/trends",
        "/trends?row=vim3",
        "/plan",
        "/boards",
        "/boards/vim3",
        RUN,
        f"{RUN}/report",
    } <= set(seen)
    assert f"{RUN}/row?name=vim3" in seen


def test_a_figure_links_to_where_it_comes_from(site: Site, project: object) -> None:
    page = site.get(RUN).text
    run = load_run(site.project.runs / RUN.rpartition("/")[2])
    row = run.row("vim3")
    assert row is not None
    assert row.rank1.value is not None
    text = f"{100 * row.rank1.value:.2f}"
    assert f'<a href="{RUN}/row?name=vim3#accuracy">{text}</a>' in page
    behind = site.get(f"{RUN}/row?name=vim3").text
    for ident in ("time", "accuracy", "artifact", "difference"):
        assert f'id="{ident}"' in behind
    assert row.provenance["keys"]["measure"] in behind
    assert "lost: no result: rk: the link" in page


def test_a_doubtful_time_is_never_shown_without_its_verdict(site: Site) -> None:
    listed = site.get("/trends").text
    shown = re.findall(r'#time">([^<]+ ms)</a>( <span class="SUSPECT">(\w+)</span>)?', listed)
    assert [each[2] for each in shown].count("SUSPECT") >= 1
    assert "SUSPECT" in site.get("/trends?row=noisy").text
    FleetLog(site.project.runs).append(Drained(board="imx", by="ann@lab"))  # it has a page now
    assert re.search(
        r'#time">[^<]+ ms</a> <span class="SUSPECT">SUSPECT<', site.get("/boards/imx").text
    )


def test_the_list_is_filtered(site: Site) -> None:
    every = site.get("/runs").text
    assert "aaaa" in every
    assert "2 of 2 runs" in every
    few = site.get("/runs?q=jetson").text  # a row that only one of them has
    assert "aaaa" not in few
    assert "1 of 2 runs" in few
    assert "1 of 2 runs" in site.get("/runs?outcome=incomplete").text
    assert "0 of 2 runs" in site.get("/runs?q=none-such").text


def test_a_long_list_has_pages(site: Site, project: object) -> None:
    from orchestrator.reporting.tables.listing import listed

    one = listed(site.project.runs)[0]
    many = [Entry(one, going=False)] * (2 * PAGE + 1)
    found = [runs_page(many, Asked(number=n)) for n in (1, 3, 9)]
    assert [len(page["runs"]) for page in found] == [PAGE, 1, 1]
    assert found[0]["pages_of_list"] == 3


def test_a_board_has_its_history(site: Site) -> None:
    log = FleetLog(site.project.runs)
    for heat in (41.0, 47.5):
        log.append(Worked(board="jetson", by="run x", identity="i", temperature_c=heat))
    log.append(Drained(board="jetson", by="ann@lab", reason="new heat sink"))
    page = site.get("/boards/jetson").text
    assert "drained by ann@lab: new heat sink" in page
    assert "47.5 °C" in page
    assert "data-chart" in page
    assert "draining" in site.get("/boards").text
    assert site.get("/boards/none").status == 404


def test_two_clicks_compare_two_runs(site: Site) -> None:
    first, second = "20260101-000000-aaaa", "20260102-000000-bbbb"
    chosen = next(
        link for link in Page(site.get("/runs").text).links if link.endswith(f"first={first}")
    )
    then = Page(site.get(unescape(chosen)).text).links
    page = site.get(f"/compare?a={first}&b={second}").text
    assert f"/compare?a={first}&b={second}" in [unescape(link) for link in then]
    found = compare_runs(*(load_run(site.project.runs / name) for name in (first, second)))
    for cell in dict(rows(found))["vim3"]:
        assert escape(cell.text) in page
    assert site.get(f"/compare?a={first}&b=none").status == 404


def changed_runs(root: Path) -> list[Entry]:
    """The figures of a row over three runs, of which the second has another toolchain."""
    found = []
    for number, version in enumerate(("1.2", "1.3", "1.3")):
        folder = make_run(root, f"r{number}", [Row("vim3", lot=number)], size=Size(40, 20))
        log = folder / "events.jsonl"
        log.write_text(log.read_text().replace('"version":"1.2"', f'"version":"{version}"'))
        found.append(Listed.of(load_run(folder)))
    return [Entry(each, going=False) for each in reversed(found)]


def test_a_trend_has_each_run_and_marks_what_changed(tmp_path: Path) -> None:
    entries = changed_runs(tmp_path)
    page = trend_page(entries, "vim3")
    assert page is not None
    assert [line["changed"] for line in page["lines"]] == [
        [],
        ["toolchain: tengine 1.2 → tengine 1.3"],
        [],
    ]
    rank1, p50 = page["charts"]  # of so few images there is no TAR
    values = next(each for each in rank1.spec["datasets"].values() if "low" in each[0])
    rows = [load_run(entry.listed.folder).results[0] for entry in reversed(entries)]
    assert [each["x"] for each in values] == [1, 2, 3]
    for drawn, row in zip(values, rows, strict=True):
        figures = (row.rank1.value, row.rank1.low, row.rank1.high)
        assert (drawn["y"], drawn["low"], drawn["high"]) == pytest.approx(
            [100 * figure for figure in figures], rel=1e-5
        )
    marks = [each for each in rank1.spec["datasets"].values() if each[0].keys() == {"x", "tip"}]
    assert [each["x"] for each in marks[0]] == [1.5]
    assert rows[0].latency is not None
    blocks = [block.p50_ms for block in rows[0].latency.blocks]
    assert p50.body[0][2:4] == (f"{min(blocks):.2f}", f"{max(blocks):.2f}")
    assert trend_page(entries, "none") is None
    many = trend_page(entries * SHOWN, "vim3")
    assert many is not None
    assert (many["total"], len(many["lines"])) == (3 * SHOWN, SHOWN)


def test_figures_of_two_test_sets_are_not_one_line(tmp_path: Path) -> None:
    for number, size in enumerate((Size(40, 20), Size(30, 20))):
        make_run(tmp_path, f"r{number}", [Row("vim3")], size=size)
    page = trend_page(Catalogue(tmp_path / "runs").entries(), "vim3")
    assert page is not None
    assert page["apart"]
    rank1 = page["charts"][0]
    points = next(each for each in rank1.spec["datasets"].values() if len(each) == 2)
    assert points[0]["colour"] != points[1]["colour"]
    lines = [each for each in rank1.spec["layer"] if each["mark"]["type"] == "line"]
    assert len(lines) == 2


def test_a_plan_is_what_farm_plan_says(tmp_path: Path) -> None:
    shutil.copy(ROOT / "matrix.yaml", tmp_path / "matrix.yaml")
    shutil.copytree(ROOT / "models", tmp_path / "models")
    shutil.copy(ROOT / "device_inventory.yaml", tmp_path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "matrix.yaml").touch()
    (tmp_path / "matrix-elsewhere.yaml").symlink_to("/etc/passwd")
    (tmp_path / "matrix-wrong.yaml").write_text("entries: 3")
    project = Project(tmp_path / "device_inventory.yaml", tmp_path / "runs", tmp_path / ".farm")
    planner = Planner(project)
    assert planner.matrices() == ["matrix-wrong.yaml", "matrix.yaml"]
    found = planner.plan("matrix.yaml")
    names = [row["name"] for row in found["rows"]]
    assert len(names) == len(set(names)) == 8
    assert found["to_do"] == sum(step["to_do"] for step in found["steps"]) > 8
    # What a row needs is its own steps and those that it shares with others.
    assert all(0 < row["count"] < found["to_do"] for row in found["rows"] if not row["word"])
    assert "matrix-wrong.yaml" in planner.plan("matrix-wrong.yaml")["problem"]
    about = {"pages": (), "nav": "", "version": "", "names": [], "matrix": "", "may": None}
    about["text"] = ""
    page = templates.page("plan.html.j2", plan=found, **about)
    assert f"{found['to_do']} to do; takes {found['takes']}" in page
    # Sent as a text, it is the same plan; models are the project's.
    sent = planner.plan_text((tmp_path / "matrix.yaml").read_text())
    assert sent == found
    assert list((tmp_path / ".farm" / "uploads").iterdir()) == []


def test_a_board_shows_what_its_sensors_said_in_its_newest_run(site: Site) -> None:
    page = site.get("/boards/vim3").text
    assert "Temperature in run 20260102-000000-bbbb" in page
    assert "Clock in run 20260102-000000-bbbb" in page
    assert "51 to 69 °C" in page


def test_a_reservation_is_seen_with_who_comes_next(tmp_path: Path) -> None:
    with serving(tmp_path) as site:
        log = FleetLog(tmp_path / "runs")
        log.append(Reserved(board="vim3", by="ann@lab", for_s=7200, reason="new driver"))
        log.append(Reserved(board="vim3", by="bob@lab", for_s=60, reason="a demo"))
        fleet = site.get("/boards").text
        assert "reserved by ann@lab until " in fleet
        assert "1 reservation after it" in fleet
        page = site.get("/boards/vim3").text
        assert page.index("new driver") < page.index("a demo")
        assert "bob@lab" in page


@pytest.mark.parametrize("page", ["x", "-1", "99999999999", "0"])
def test_a_page_that_is_not_there_is_the_nearest(site: Site, page: str) -> None:
    assert site.get(f"/runs?page={page}").status == 200
