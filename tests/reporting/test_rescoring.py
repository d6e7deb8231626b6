"""farm score: kept runs with another FAR, gallery or confidence; nothing of them is touched."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from orchestrator import scoring
from orchestrator.cli.main import main
from orchestrator.reporting.analysis.history import load_run
from orchestrator.reporting.tables.crosstable import CROSS, cross_tables, print_cross, scored_tables
from orchestrator.reporting.tables.table import interval, percent
from orchestrator.results import Estimate
from orchestrator.stages.score import figures
from orchestrator.stages.score import search as search_features

from .made import POLICY, Row, Size, features, keep_features, make_run

SIZE = Size(150, 50)
ROWS = [
    Row("ref", "This host", "host", reference=True, noise=0.8, enrols=0.3),
    Row("vim3", lot=1, noise=0.95, enrols=0.5),
    Row("nx/int8", "Jetson NX", "nx", lot=2, noise=0.9, enrols=0.4),
]
RUN = "20260101-aa"


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = make_run(tmp_path, RUN, ROWS, size=SIZE)
    keep_features(tmp_path, folder, ROWS, SIZE)
    return tmp_path


def farm_score(
    folder: Path, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, str, str]:
    code = main(["score", *words, "--runs", str(folder / "runs")])
    said = capsys.readouterr()
    return code, said.out, said.err


def scored(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict]:
    code, out, err = farm_score(folder, capsys, RUN, *words, "--json")
    assert code == 0, err
    return {cell["name"]: cell for cell in json.loads(out)["cells"]}


def expected(gallery: Row, probes: Row, **policy: object) -> dict:
    """Brute force beside it: the library on the very features, told the policy."""
    wanted = POLICY | policy
    searches, _ = search_features(
        features(gallery, SIZE)[0], features(probes, SIZE)[1], wanted["fusion"]
    )
    return figures(searches, wanted)


def test_as_it_was_gives_the_same_figures_and_touches_nothing(kept, capsys):
    folder = kept / "runs" / RUN
    before = {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in kept.rglob("*")
        if path.is_file()
    }
    found = scored(kept, capsys)
    for row in load_run(folder).results:
        again = found[row.name]
        assert again["rank1"] == row.rank1.model_dump()
        assert again["tar"] == row.tar.model_dump()
        assert again["difference"] == (row.difference and row.difference.model_dump())
        assert again["test_set"] == row.test_set.model_dump()
    assert all(hashlib.sha256(p.read_bytes()).hexdigest() == h for p, h in before.items())
    beside = folder / "scored" / "as-it-was"
    assert {str(path.relative_to(beside)) for path in beside.rglob("*.*")} == {
        *("results.json", "table.md", "ref.searches.npz"),
        *("vim3.searches.npz", "nx/int8.searches.npz"),
    }
    kept_searches = scoring.Searches.load(beside / "nx/int8.searches.npz")
    assert kept_searches.mate.size == SIZE.mated + SIZE.unknown


def test_another_far_and_confidence_need_no_features(kept, capsys):
    for path in (kept / ".farm" / "store" / "extract").iterdir():
        (path / "features.npy").unlink()
    found = scored(kept, capsys, "--far", "5e-2", "--confidence", "0.8")
    want = expected(ROWS[1], ROWS[1], far=[5e-2, *POLICY["far"]], table_far=5e-2, confidence=0.8)
    for name in ("value", "low", "high", "k", "far_target"):
        assert found["vim3"]["tar"][name] == want["tar"][name]
    assert found["vim3"]["rank1"] == want["rank1"]
    assert [tar["far_target"] for tar in found["vim3"]["tar_all"]] == [5e-2, 1e-1, 1e-2, 1e-3]
    table = next((kept / "runs" / RUN / "scored").glob("*/table.md")).read_text()
    assert "TAR@FAR<=5e-2" in table
    assert "[80 % interval]" in table


def test_the_gallery_of_another_encoder_makes_mixed_rows(kept, capsys):
    found = scored(kept, capsys, "--gallery", "ref")
    for row in ROWS:
        want = expected(ROWS[0], row)
        assert found[row.name]["rank1"] == want["rank1"]
        assert found[row.name]["tar"]["value"] == want["tar"]["value"]
        assert found[row.name]["mixed"] is (row is not ROWS[0])
        assert found[row.name]["hardware"] == row.hardware + "*" * (row is not ROWS[0])
    run = load_run(kept / "runs" / RUN)
    assert found["nx/int8"]["difference"]["rank1"]["value"] == pytest.approx(
        found["nx/int8"]["rank1"]["value"] - found["ref"]["rank1"]["value"]
    )
    plain = {row.name: (row.rank1.value, row.tar.value) for row in run.results}
    vim3 = found["vim3"]
    assert (vim3["rank1"]["value"], vim3["tar"]["value"]) != plain["vim3"]


def test_the_gallery_of_another_run(kept, capsys):
    other = [Row("ref", "This host", "host2", reference=True, noise=0.5, enrols=0.9, lot=5)]
    folder = make_run(kept, "20260202-bb", other, size=SIZE)
    keep_features(kept, folder, other, SIZE)
    found = scored(kept, capsys, "--gallery", "20260202:ref", "--row", "vim3")
    want = expected(other[0], ROWS[1])
    assert list(found) == ["vim3"]
    assert found["vim3"]["rank1"] == want["rank1"]
    assert found["vim3"]["provenance"]["gallery"]["run"] == "20260202-bb"


def test_a_subset_of_the_distractors(tmp_path, capsys):
    folder = make_run(tmp_path, RUN, ROWS[:1], size=SIZE)
    keep_features(tmp_path, folder, ROWS[:1], SIZE)
    code, _, err = farm_score(tmp_path, capsys, RUN, "--distractors", "5")
    assert code == 2
    assert "5 distractors are asked for, the gallery has 0" in err
    found = scored(tmp_path, capsys, "--distractors", "0")
    want = expected(ROWS[0], ROWS[0])
    assert found["ref"]["rank1"] == want["rank1"]
    assert found["ref"]["test_set"]["hash"] != load_run(folder).results[0].test_set.hash


def test_the_cross_table_has_every_pair_and_is_shown(kept, capsys):
    code, out, err = farm_score(kept, capsys, RUN, "--cross", "--json")
    assert code == 0, err
    (table,) = json.loads(out)["tables"]
    pairs = {(pair["gallery"], pair["probe"]): pair for pair in table["pairs"]}
    assert len(pairs) == 9
    for gallery in ROWS:
        for probe in ROWS:
            want = expected(gallery, probe)
            pair = pairs[gallery.hardware, probe.hardware]
            assert pair["rank1"] == want["rank1"]
            assert pair["tar"]["value"] == want["tar"]["value"]
    run = load_run(kept / "runs" / RUN)
    assert not cross_tables(run.results), "the run itself searched no other gallery"
    (shown,) = scored_tables(run.folder / "scored" / CROSS)
    assert shown["head"] == ["Probe", "Executed by", *(f"Gallery by {r.hardware}" for r in ROWS)]
    assert [line[0] for line in shown["body"]] == [row.hardware for row in ROWS]
    assert (
        interval(Estimate.model_validate(pairs["A311D", "Jetson NX"]["rank1"]))
        in (shown["body"][2][3])
    )
    for width in (60, 100, 200):
        out = io.StringIO()
        print_cross(Console(file=out, width=width), run.folder / "scored" / CROSS)
        lines = out.getvalue().splitlines()
        assert all(len(line.rstrip()) <= width for line in lines)
        cell = percent(Estimate.model_validate(pairs["A311D", "Jetson NX"]["rank1"]).value)
        assert any(line.startswith("Jetson NX") and cell in line for line in lines), lines


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--gallery", "vim4"], "did you mean 'vim3'?"),
        (["--row", "nox"], "no finished row 'nox'"),
        (["--bootstrap", "5"], "at least 100"),
        (["--gallery", "a.npy", "a.csv"], "together with --probes"),
        (["--cross", "--gallery", "ref"], "--cross takes every gallery"),
        (["--gallery", "20270101:ref"], "there is no run '20270101'"),
    ],
)
def test_what_cannot_be_is_answered_with_what_can(kept, capsys, words, says):
    code, _, err = farm_score(kept, capsys, RUN, *words)
    assert code == 2
    assert says in err


def test_features_that_are_gone_are_named(kept, capsys):
    key = load_run(kept / "runs" / RUN).results[1].provenance["keys"]["probe"]
    (kept / ".farm" / "store" / "extract" / key / "manifest.json").unlink()
    code, _, err = farm_score(kept, capsys, RUN, "--gallery", "ref")
    assert code == 2
    assert "row 'vim3' of run 20260101-aa: the probe features are not in" in err


def test_rows_of_another_model_are_not_searched_in_its_gallery(kept, capsys):
    events = kept / "runs" / RUN / "events.jsonl"
    lines = events.read_text().splitlines()
    events.write_text(
        "\n".join(
            line.replace("c" * 64, "d" * 64) if '"cell":"nx/int8"' in line else line
            for line in lines
        )
        + "\n"
    )
    code, _, err = farm_score(kept, capsys, RUN, "--gallery", "ref")
    assert code == 2
    assert "another model file or preprocessing" in err


# -- features made elsewhere -----------------------------------------------------------------------


def outside(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["score", *words])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, list[str]]:
    gallery, probes = features(ROWS[1], SIZE)
    for name, side in (("g", gallery), ("p", probes)):
        np.save(tmp_path / f"{name}.npy", side.rows)
        lines = [f"{name}/{i}.png,{who}" for i, who in enumerate(side.ids)]
        (tmp_path / f"{name}.csv").write_text("image,identity\n" + "\n".join(lines) + "\n")
    words = [str(tmp_path / name) for name in ("g.npy", "g.csv", "p.npy", "p.csv")]
    return tmp_path, ["--gallery", *words[:2], "--probes", *words[2:]]


def test_outside_features_score_as_a_run_does(files, capsys):
    folder, words = files
    code, out, err = outside(
        folder, capsys, *words, "--json", "--far", "1e-2", "--bootstrap", "100"
    )
    assert code == 0, err
    want = expected(ROWS[1], ROWS[1], far=[1e-2])
    found = json.loads(out)
    for name in ("rank1", "tar", "gallery", "mated", "unknown"):
        assert found[name] == want[name]
    code, out, _ = outside(folder, capsys, *words, "--output", str(folder / "out"))
    assert "Rank1" in out
    assert "TAR@FAR<=1e-3" in out
    assert {path.name for path in (folder / "out").iterdir()} == {"scores.json", "searches.npz"}


def test_a_failed_outside_row_is_a_miss(files, capsys):
    folder, words = files
    rows = np.load(folder / "p.npy")
    rows[:3] = np.nan
    np.save(folder / "p.npy", rows)
    code, _, err = outside(folder, capsys, *words)
    assert code == 2
    assert "feature row 0 (identity p0) holds NaN or Inf" in err
    marks = [f"p{i},{int(i < 3)}" for i in range(len(rows))]
    (folder / "p.csv").write_text("identity,failed\n" + "\n".join(marks) + "\n")
    code, out, err = outside(folder, capsys, *words, "--json")
    assert code == 0, err
    assert json.loads(out)["failed"] == 3


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: np.save(f / "p.npy", np.ones((200, 3), np.float32)), "two different models?"),
        (lambda f: np.save(f / "p.npy", np.ones((4, 64), np.float32)), "200 identities for the 4"),
        (lambda f: np.save(f / "p.npy", np.ones((200, 64), np.uint8)), "dequantize integer"),
        (lambda f: (f / "p.npy").write_bytes(b"PK"), "not a .npy file"),
        (lambda f: (f / "p.npy").unlink(), "cannot be read: No such file"),
        (lambda f: (f / "p.csv").write_text("image,who\n"), "column 'identity' is missing"),
        (lambda f: (f / "p.csv").write_text("identity,failed\na,2\n"), "p.csv:2: failed must be"),
    ],
)
def test_bad_outside_files_are_named(files, capsys, damage, says):
    folder, words = files
    damage(folder)
    code, _, err = outside(folder, capsys, *words)
    assert code == 2
    assert says in err


def test_ijb_lists_are_pooled_and_scored(tmp_path, capsys):
    """Three templates enrolled, each searched for by a template of two media; one stranger."""
    random = np.random.default_rng(3)
    people = random.normal(size=(4, 16)).astype(np.float32)
    lines, rows = [], []
    for template, person in enumerate([0, 1, 2, 0, 1, 2, 3]):
        for image in range(3):
            lines.append(f"img{len(lines)}.jpg {template} {image // 2}")
            rows.append(people[person] + 0.1 * random.normal(size=16))
    np.save(tmp_path / "f.npy", np.array(rows, np.float32))
    (tmp_path / "tid_mid.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "g.csv").write_text("TEMPLATE_ID,SUBJECT_ID,FILENAME\n0,90,a\n1,91,a\n2,92,a\n")
    probe = "".join(f"{t},{90 + p},x\n" for t, p in [(3, 0), (3, 0), (4, 1), (5, 2), (6, 3)])
    (tmp_path / "p.csv").write_text("TEMPLATE_ID,SUBJECT_ID,FILENAME\n" + probe)
    words = ["--features", str(tmp_path / "f.npy"), "--templates", str(tmp_path / "tid_mid.txt")]
    words += ["--gallery", str(tmp_path / "g.csv"), "--probes", str(tmp_path / "p.csv")]
    code, out, err = outside(tmp_path, capsys, *words, "--json", "--far", "0.5")
    assert code == 0, err
    found = json.loads(out)
    assert (found["gallery"], found["mated"], found["unknown"]) == (3, 3, 1)
    assert found["rank1"]["value"] == 1.0
    (tmp_path / "p.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n3,90\n44,91\n")
    code, _, err = outside(tmp_path, capsys, *words)
    assert code == 2
    assert "template 44 has no image in" in err
    (tmp_path / "p.csv").write_text("TEMPLATE_ID,SUBJECT_ID\n3,90\n3,91\n")
    code, _, err = outside(tmp_path, capsys, *words)
    assert "template 3 is of subject 91, but of 90 before" in err


# -- export ----------------------------------------------------------------------------------------


def test_scores_and_features_are_exported(kept, capsys):
    words = [f"--format={what}-{how}" for what in ("scores", "features") for how in FORMS]
    code = main(["export", RUN, *words, "--output", str(kept / "out"), "--runs", f"{kept}/runs"])
    assert code == 0, capsys.readouterr().err
    gallery, probes = features(ROWS[2], SIZE)
    made, names = kept / "out" / "features", kept / "out" / "scores"
    with np.load(made / "nx/int8.gallery.npz") as file:
        assert np.array_equal(file["features"], gallery.rows)
        assert file["identity"].tolist() == gallery.ids
    with (made / "nx/int8.probe.csv").open() as text:
        lines = list(csv.DictReader(text))
    assert [line["identity"] for line in lines] == probes.ids
    values = [[np.float32(line[f"f{i}"]) for i in range(probes.rows.shape[1])] for line in lines]
    assert np.array_equal(values, probes.rows), "nine digits give the float32 back"
    data = (made / "nx/int8.probe.safetensors").read_bytes()
    length = int.from_bytes(data[:8], "little")
    head = json.loads(data[8 : 8 + length])
    low, high = head["features"]["data_offsets"]
    back = np.frombuffer(data[8 + length + low : 8 + length + high], np.float32)
    assert np.array_equal(back.reshape(head["features"]["shape"]), probes.rows)
    assert json.loads(head["__metadata__"]["identity"]) == probes.ids
    index = json.loads((made / "index.json").read_text())
    assert index["nx/int8"]["probe"] == "nx/int8.probe.safetensors"
    searches, _ = search_features(gallery, probes, "mean")
    with np.load(names / "nx/int8.npz") as file:
        assert np.array_equal(file["mate"], searches.mate, equal_nan=True)
        assert np.array_equal(file["impostor"], searches.impostor)
    with (names / "nx/int8.csv").open() as text:
        lines = list(csv.DictReader(text))
    assert [np.float32(line["impostor"]) for line in lines] == searches.impostor.tolist()


FORMS = ("csv", "npz", "safetensors")
