"""Runs that are kept: finding, listing, a row over time, export, and the commands for all of it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from orchestrator.cli.main import main
from orchestrator.errors import UserError
from orchestrator.events import EventLog, RunFinished
from orchestrator.reporting.analysis.history import Run, find_run, load_run
from orchestrator.reporting.export.tables import csv_text, junit_xml
from orchestrator.reporting.tables.listing import listed, previous, summary, trend

from .made import T0, Row, Size, fleet, make_run, troubles

ROOT = Path(__file__).resolve().parents[2]
REF = Row("ref", "This host", "host", reference=True, noise=0.8)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Three runs: two alike, one of a part of the test set."""
    make_run(tmp_path, "20260101-aa", [REF, Row("x", lot=1)])
    make_run(tmp_path, "20260102-bb", [REF, Row("x", lot=1)], size=Size(200, 100), limit=200)
    make_run(tmp_path, "20260103-cc", [REF, Row("x", lot=1, noise=1.3)], at=T0 + 1e5)
    return tmp_path


def farm(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main([*words, "--runs", str(folder / "runs")])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_run_is_found_by_name_beginning_path_and_latest(kept: Path) -> None:
    runs = kept / "runs"
    assert find_run(runs, "20260102-bb").name == "20260102-bb"
    assert find_run(runs, "20260102").name == "20260102-bb"
    assert find_run(runs, "latest").name == "20260103-cc"
    assert find_run(Path("elsewhere"), str(runs / "20260101-aa")).name == "20260101-aa"


@pytest.mark.parametrize(
    ("name", "says"),
    [("2026", "3 runs"), ("20260102-bc", "did you mean 20260102-bb?"), ("zz", "runs there: 2026")],
)
def test_a_run_that_is_not_there_is_answered_with_those_that_are(
    kept: Path, name: str, says: str
) -> None:
    with pytest.raises(UserError) as raised:
        find_run(kept / "runs", name)
    assert says in str(raised.value)


def test_the_baseline_is_the_complete_run_before_of_the_same_part(kept: Path) -> None:
    run = load_run(kept / "runs" / "20260103-cc")
    found = previous(kept / "runs", run)
    assert found is not None
    assert found.name == "20260101-aa"
    assert previous(kept / "runs", found) is None


def test_a_log_cut_in_the_middle_of_a_line_is_read_up_to_there(kept: Path) -> None:
    log = kept / "runs" / "20260101-aa" / "events.jsonl"
    log.write_bytes(log.read_bytes()[:-30])
    run = load_run(log.parent)
    assert run.outcome == "unfinished"
    assert summary(run)["rows_done"] == 2
    log.write_bytes(b"{")
    with pytest.raises(UserError, match="not one whole event"):
        load_run(log.parent)


def test_a_row_over_time(kept: Path) -> None:
    points = trend(kept / "runs", "x")
    assert [point["partial"] for point in points] == [False] * 3
    assert points[0]["rank1"]["value"] > points[2]["rank1"]["value"]
    with pytest.raises(UserError, match="rows there: ref, x"):
        trend(kept / "runs", "qqq")


def test_runs_that_did_not_change_are_not_read_again(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, read = kept / "runs", []

    def counted(folder: Path) -> Run:
        read.append(folder.name)
        return load_run(folder)

    monkeypatch.setattr("orchestrator.reporting.tables.listing.load_run", counted)
    first = listed(runs)
    assert read == ["20260101-aa", "20260102-bb", "20260103-cc"]
    assert listed(runs) == first
    assert len(read) == 3
    log = runs / "20260102-bb" / "events.jsonl"
    log.write_bytes(log.read_bytes()[:-30])
    shutil.rmtree(runs / "20260101-aa")
    again = listed(runs)
    assert read[3:] == ["20260102-bb"]
    assert [run.summary["outcome"] for run in again] == ["unfinished", "complete"]
    (runs / "index.sqlite").write_bytes(b"damaged" * 1000)
    assert listed(runs) == again


def test_runs_and_trend_on_the_command_line(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = farm(kept, capsys, "runs")
    assert code == 0
    assert out.count("complete") == 3
    assert "--limit 200" in out
    code, out, _ = farm(kept, capsys, "runs", "--json")
    assert [run["rows"] for run in json.loads(out)] == [2, 2, 2]
    code, out, _ = farm(kept, capsys, "runs", "--row", "x")
    assert "different test sets" in out
    code, out, _ = farm(kept / "none", capsys, "runs")
    assert (code, "no runs" in out) == (0, True)


def test_gate_on_the_command_line_has_its_exit_codes(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = ("--max-drop", "rank1=0.5", "--max-slower", "p50=10%")
    code, out, _ = farm(kept, capsys, "gate", *limits)
    assert code == 3
    assert "20260103-cc against 20260101-aa" in out
    assert "FAIL  x: rank1 changed by -" in out
    code, out, _ = farm(kept, capsys, "gate", "--max-drop", "rank1=90", "--json")
    assert code == 0
    assert json.loads(out)["passed"] is True
    code, _, err = farm(kept, capsys, "gate", "20260101-aa", *limits)
    assert code == 2
    assert "--baseline RUN" in err
    code, _, err = farm(kept, capsys, "gate")
    assert code == 2
    code, _, err = farm(kept, capsys, "gate", "--baseline", "latest", *limits)
    assert (code, "its own baseline" in err) == (2, True)


def test_compare_on_the_command_line(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = farm(kept, capsys, "compare", "20260101", "20260103")
    assert code == 0
    assert "*" in out
    code, out, _ = farm(kept, capsys, "compare", "20260101", "20260102")
    assert "different test sets: not comparable" in " ".join(out.split())
    code, out, _ = farm(kept, capsys, "compare", "20260101", "published")
    assert "Different model and test set: not comparable." in out
    assert "26.58" in out
    assert "A311D" in out
    code, out, _ = farm(kept, capsys, "compare", "published", "20260101", "--json")
    rows = {row["hardware"]: row["published"] for row in json.loads(out)["rows"]}
    assert rows["This host"] is None
    assert rows["A311D"]["rank1"] == 77.83


def test_report_and_export_on_the_command_line(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = farm(kept, capsys, "report", "--json")
    assert code == 0
    assert Path(json.loads(out)["report"]).read_text().startswith("<!doctype html>")
    assert (kept / "runs" / "20260103-cc" / "results.json").exists()
    code, out, _ = farm(kept, capsys, "export", "--format", "csv", "--output", str(kept / "out"))
    assert out.split() == [str(kept / "out" / "results.csv")]
    code, _, err = farm(kept, capsys, "export", "--format", "xyz")
    assert code == 2
    assert "there are: csv, parquet, junit" in err
    (kept / "file").touch()
    code, _, err = farm(kept, capsys, "report", "--output", str(kept / "file" / "x.html"))
    assert (code, "--output FILE" in err) == (1, True)


def test_csv_has_every_row_and_no_stand_ins_time(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path, "a", fleet()))
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(csv_text(run)))}
    assert len(rows) == 6
    assert float(rows["vim3"]["device_p50_ms"]) == pytest.approx(20.8, abs=0.1)
    assert rows["substitute"]["device_p50_ms"] == ""
    assert rows["substitute"]["executed_by"] == "emulated"
    assert float(rows["vim3"]["rank1"]) == run.results[1].rank1.value


def test_parquet_holds_what_csv_holds(tmp_path: Path) -> None:
    from pyarrow import parquet

    from orchestrator.reporting.export.tables import write_parquet

    run = load_run(make_run(tmp_path, "a", fleet()))
    write_parquet(run, tmp_path / "r.parquet")
    columns = parquet.read_table(tmp_path / "r.parquet").to_pydict()
    assert columns["rank1"] == [row.rank1.value for row in run.results]
    assert columns["device_p50_ms"][5] is None


def test_junit_counts_rows_without_result_as_failures(tmp_path: Path) -> None:
    run = load_run(make_run(tmp_path, "a", fleet()))
    suite = ElementTree.fromstring(junit_xml(run)).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("7", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "rk: the link <broke> & ended"


def test_watch_replays_a_run_at_its_pace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(tmp_path, "a", fleet(), extra=troubles())
    begun = time.monotonic()
    code, out, _ = farm(tmp_path, capsys, "watch", "--speed", "100")
    assert 0.6 < time.monotonic() - begun < 10  # 70 s of events
    assert code == 1
    assert "row lost: no result: rk: the link" in out
    assert "deploy/vim3: cut; trying again" in out
    assert "incomplete: 6 of 7 rows" in out
    assert "  lost: the link <broke> & ended" in out
    assert out.rstrip().endswith("`farm resume a` tries only what is missing")


def test_watch_follows_a_run_until_its_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path, "a", [REF], at=time.time(), finish=False)

    def end() -> None:
        time.sleep(0.7)
        log = EventLog(folder / "events.jsonl")
        log.append(RunFinished(exit_code=0, outcome="complete"))
        log.close()

    writer = threading.Thread(target=end)
    writer.start()
    code, out, _ = farm(tmp_path, capsys, "watch")
    writer.join()
    assert code == 0
    assert out.rstrip().endswith("\ncomplete: 1 of 1 row")


def test_reports_are_drawn_by_a_plain_process_without_network(kept: Path) -> None:
    """As a person would: another working folder, no display, an unwritable home."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator.cli.main", "report", "20260101", "--json"],
        cwd=kept,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] > 10_000
