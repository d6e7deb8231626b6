"""What pages may change: only from the server's own forms, each noted with who asked for it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.events import EventReader
from orchestrator.store.fleet_entries import Entry
from orchestrator.store.fleet_log import FleetLog
from orchestrator.store.going import going
from tests.patience import ENDS_S
from tests.reporting.made import Row, Size, make_run
from tests.run.project import FLOAT, HOST, Project, emulated, entry

from .site import ANN, BOB, FORM, Page, Site, serving

ACTIONS = ("drain", "undrain", "check", "reserve", "unreserve")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    make_run(tmp_path, "a", [Row("vim3")], size=Size(40, 20), finish=False)
    (tmp_path / "matrix.yaml").write_text("entries: 3")
    with serving(tmp_path, actions=True) as found:
        yield found


def log(site: Site) -> list[Entry]:
    return list(FleetLog(site.project.runs).entries())


def test_each_action_is_in_the_fleet_log_with_who(site: Site) -> None:
    bob = site.access.keys[1]
    assert site.post("/boards/vim3/drain", why="new \x1b[31mheat sink").status == 303
    assert site.post("/boards/vim3/undrain", bob).status == 303
    assert site.post("/boards/vim3/reserve", bob, **{"for": "2h"}, why="a demo").status == 303
    assert site.post("/boards/vim3/unreserve").status == 303  # hers, not his
    found = [(each.event, each.board, each.by) for each in log(site)]
    assert found == [
        ("drained", "vim3", ANN),
        ("undrained", "vim3", BOB),
        ("reserved", "vim3", BOB),
        ("unreserved", "vim3", ANN),
    ]
    assert "\x1b" not in getattr(log(site)[0], "reason", "")
    page = site.get("/boards/vim3").text
    assert "reserved by bob@lab until " in page
    assert "As ann@lab" in page
    assert "/boards/vim3/unreserve" not in page, "it is not hers to give back"
    his = site.get("/boards/vim3", **site.cookie_of(bob)).text
    assert "/boards/vim3/unreserve" in his


def test_a_program_sends_its_token_in_place_of_a_form(site: Site) -> None:
    send = {"method": "POST", "Content_Type": FORM, "Content_Length": "0"}
    found = site.get(
        "/boards/vim3/drain", admitted=False, Authorization=f"Bearer {site.token}", **send
    )
    assert found.status == 303
    assert [each.by for each in log(site)] == [ANN]
    wrong = {"Authorization": f"Bearer {site.token[:-1]}", **site.cookie}
    assert site.get("/boards/vim3/undrain", **wrong, **send).status == 401
    assert len(log(site)) == 1


@pytest.mark.parametrize("path", [*(f"/boards/vim3/{each}" for each in ACTIONS), "/run"])
def test_no_other_site_can_send_a_form(site: Site, path: str) -> None:
    own = f"http://{site.host}"
    bob = site.access.keys[1]
    send = {"method": "POST", "Content_Type": FORM, "Content_Length": "0"}
    assert site.get(path, **send).status == 403, "a form says where it is from"
    assert site.get(path, Origin="https://evil.example", **send).status == 403
    assert site.get(path, Origin="null", **send).status == 403
    assert site.get(path, Origin=own, **send).status == 403, "the form's own token is missing"
    assert site.get(path, admitted=False, Origin=own, **send).status == 401
    assert site.post(path, form=bob.form).status == 403, "it is another's"
    assert site.post(path, form="").status == 403
    assert site.get(path, Origin=own, method="POST", Content_Type="text/plain").status == 415
    assert site.get(path).status in (404, 405)
    assert log(site) == []


def test_what_is_not_there_cannot_be_changed(site: Site) -> None:
    assert site.post("/boards/none/drain").status == 404
    assert site.post("/boards/vim3/explode").status == 404
    assert site.post("/boards/vim3/reserve", **{"for": "never"}).status == 400
    assert site.post("/boards/..%2f..%2fetc/drain").status == 404
    assert site.post("/runs/a/cancel").status == 404, "it does not go on"
    assert site.post("/runs/none/cancel").status == 404
    assert site.post("/run", matrix="../matrix.yaml").status == 404
    assert site.post("/run", matrix="/etc/passwd").status == 404
    assert log(site) == []


def test_pages_have_forms_only_where_they_may_act(site: Site, tmp_path: Path) -> None:
    with going(tmp_path / "runs" / "a"):
        time.sleep(0.6)  # the list is looked at again
        for path in ("/boards/vim3", "/runs/a"):
            assert "form" in Page(site.get(path).text).elements
        assert "/runs/a/cancel" in site.get("/runs/a").text
        with serving(tmp_path) as only_reads:
            for path in ("/boards/vim3", "/runs/a"):
                assert 'method="post"' not in only_reads.get(path).text
            assert only_reads.post("/boards/vim3/drain").status in (404, 405)


def test_a_run_that_is_refused_says_why(site: Site) -> None:
    found = site.post("/run", matrix="matrix.yaml")
    assert found.status == 409
    assert "matrix.yaml" in found.text
    assert [(each.event, each.by) for each in log(site)] == [("asked", ANN)]
    assert "a run of matrix.yaml" in site.get("/boards").text


@pytest.mark.slow
def test_a_run_is_begun_and_stopped_by_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(tmp_path)
    project.write(FLOAT + entry("rv", "uint8 per-tensor asymmetric"),
                  HOST + emulated("rv", "rv1126"), 4000, 30)  # fmt: skip
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)
    with serving(tmp_path, actions=True) as site:
        assert site.post("/run", matrix="matrix.yaml").status == 303
        end = time.monotonic() + ENDS_S
        while "Stop this run" not in (page := site.get("/now").text):
            assert time.monotonic() < end, page
            time.sleep(0.2)
        (folder,) = {path.resolve() for path in (tmp_path / "runs").glob("2*")}
        assert site.post(f"/runs/{folder.name}/cancel").status == 303
        while not (ended := [e for e in EventReader(folder / "events.jsonl").new()
                             if e.event == "run_finished"]):  # fmt: skip
            assert time.monotonic() < end
            time.sleep(0.2)
        assert ended[0].outcome == "interrupted"
        asked = [each.reason for each in log(site) if each.event == "asked"]
        assert asked == ["a run of matrix.yaml", f"to stop run {folder.name}"]
    shutil.rmtree(tmp_path / ".farm", ignore_errors=True)
