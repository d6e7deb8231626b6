"""What the pages show, and that each link of theirs leads somewhere."""

from __future__ import annotations

from html import unescape
from urllib.parse import urldefrag

import pytest

from orchestrator.reporting.analysis.history import load_run
from orchestrator.serving.catalogue import Entry
from orchestrator.serving.pages.runs import PAGE, Asked, runs_page
from orchestrator.store.fleet_entries import Drained, Worked
from orchestrator.store.fleet_log import FleetLog

from .site import Page, Site

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
    assert {"/runs", "/boards", "/boards/vim3", RUN, f"{RUN}/report"} <= set(seen)
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


@pytest.mark.parametrize("page", ["x", "-1", "99999999999", "0"])
def test_a_page_that_is_not_there_is_the_nearest(site: Site, page: str) -> None:
    assert site.get(f"/runs?page={page}").status == 200
