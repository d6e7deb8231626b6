"""The pages in a real browser: a run watched to its end, and nothing that complains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.events import (
    BoardChanged,
    CellFinished,
    EventLog,
    EventReader,
    RunFinished,
    StepProgress,
    StepStarted,
    Telemetry,
)
from orchestrator.store.going import going
from tests.browser import Browser, browsing
from tests.reporting.made import Row, Size, fleet, make_run, troubles

from .site import Site, serving

HIDDEN = """Object.defineProperty(document, "hidden", {value: %s, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"))"""
SMALL = Size(40, 20)
PAGES = (
    "/now",
    "/runs?first=a",
    "/runs/a/row?name=vim3",
    "/compare?a=a&b=b",
    "/trends",
    "/trends?row=vim3",
    "/boards",
    "/boards/vim3",
    "/plan",
    "/runs/live",
    "/nowhere",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that are over, and one that goes on."""
    root = tmp_path_factory.mktemp("browser")
    two = [Row("ref", "This host", "host", reference=True), Row("vim3", lot=1)]
    make_run(root, "a", two, size=SMALL)
    make_run(root, "b", fleet(), at=1.7001e9, size=SMALL, extra=troubles())
    make_run(root, "live", two, at=time.time(), size=SMALL, finish=False)
    return root


@pytest.fixture(scope="module")
def site(root: Path) -> Iterator[Site]:
    with going(root / "runs" / "live"), serving(root, actions=True) as found:
        yield found


@pytest.fixture(scope="module")
def browser(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("profile")) as found:
        found.look(1280)
        found.open(f"http://{site.host}/?token={site.token}")
        yield found


def well(browser: Browser, site: Site, *expected: str) -> None:
    """Nothing complained but of what was expected, and nobody else was asked."""
    said = [text for text in browser.complaints if not any(word in text for word in expected)]
    assert said == []
    own = (f"http://{site.host}/", "about:", "data:")
    assert [url for url in browser.asked if not url.startswith(own)] == []


@pytest.mark.slow
@pytest.mark.needs("chromium")
def test_a_run_is_watched_to_its_end(browser: Browser, site: Site, root: Path) -> None:
    log = EventLog(root / "runs" / "live" / "events.jsonl")
    rows = [
        e for e in EventReader(root / "runs/a/events.jsonl").new() if isinstance(e, CellFinished)
    ]
    assert browser.run("location.search") == "", "the token has left the address"
    assert browser.run("document.cookie") == "", "no script can read the cookie"
    text = "document.getElementById('main').innerText"
    browser.until(f"{text}.includes('Run live')")
    log.append(BoardChanged(board="vim3", state="busy", executed_by="board"))
    log.append(Telemetry(board="vim3", temperature_c=71.0, clock_mhz=1800.0))
    log.append(StepStarted(step="measure/vim3", stage="measure", board="vim3"))
    how_far = {"done": 30, "total": 200, "unit": "inferences"}
    log.append(StepProgress(step="measure/vim3", board="vim3", **how_far))
    tile = "[...document.querySelectorAll('.tile')].find((e) => e.innerText.includes('vim3'))"
    browser.until(f"{tile}.innerText.includes('30 of 200 inferences')")
    assert browser.run(f"{tile}.querySelector('progress').value") == 30
    assert browser.run(f"{tile}.innerText.includes('71 °C')")
    changed = rows[1].model_copy(update={"at": time.time()})
    changed.result["rank1"] = {"value": 0.125, "low": 0.1, "high": 0.2}
    log.append(changed)
    browser.until("document.getElementById('results').innerText.includes('12.50')")
    before = site.connections
    browser.run(HIDDEN % "true")
    while site.connections >= before:
        time.sleep(0.02)
    log.append(StepProgress(step="measure/vim3", board="vim3", **how_far | {"done": 170}))
    assert "170 of 200" not in browser.run(text), "a page that nobody sees is not kept up to date"
    browser.run(HIDDEN % "false")
    browser.until(f"{tile}.innerText.includes('170 of 200 inferences')")
    log.append(RunFinished(exit_code=0, outcome="complete"))
    log.close()
    browser.until("document.getElementById('live').innerText === 'The run has ended.'")
    well(browser, site)


@pytest.mark.slow
@pytest.mark.needs("chromium")
def test_axe_finds_nothing_and_pages_fit(browser: Browser, site: Site, root: Path) -> None:
    for number, page in enumerate(PAGES):
        for width, dark in ((1280, False), (400, True)):
            browser.look(width, dark=dark)
            browser.open(f"http://{site.host}{page}")
            assert browser.run("document.documentElement.scrollWidth") <= width, page
        if number % 2:  # half of the pages are audited wide and light
            browser.look(1280)
        assert browser.violations() == [], page
    browser.open(f"http://{site.host}/plan")
    browser.run("document.querySelector('details').open = true")
    file = root / "picked.yaml"
    file.write_text("models: [nothing]\n")
    node = browser.call("Runtime.evaluate", expression="document.getElementById('file')")
    chosen = {"files": [str(file)], "objectId": node["result"]["objectId"]}
    browser.call("DOM.setFileInputFiles", **chosen)
    browser.until("document.getElementById('text').value.includes('[nothing]')")
    assert browser.violations() == []
    browser.run("document.querySelector('form.own').submit()")
    browser.until("document.querySelector('pre.worse')?.innerText.includes('missing key')")
    assert browser.run("document.getElementById('text').value.includes('[nothing]')")
    browser.look(1280, 2000)
    browser.open(f"http://{site.host}/trends?row=vim3")
    charts = browser.run("document.querySelectorAll('figure[data-chart]').length")
    assert charts == 2
    browser.until(f"document.querySelectorAll('.marks').length === {charts}")
    browser.press("Tab")
    assert browser.run("document.activeElement.innerText") == "To the content"
    browser.press("Enter")
    browser.until("location.hash === '#main'")
    well(browser, site, "404")
