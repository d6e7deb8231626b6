"""Colour order, told by the default model on folders of real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.cli.main import main
from orchestrator.images import gallery_rows, probe_rows
from orchestrator.specs import RenderedSet
from orchestrator.stages.colours import chosen_rows, compare_colours
from tests.audit.test_audit_in_plans import Own

ROOT = Path(__file__).resolve().parents[2]
MODEL = str(ROOT / "models/synthface-ir.yaml")
PEOPLE = 12


@pytest.fixture(scope="module")
def faces() -> dict[str, np.ndarray]:
    """Gallery and probe pixels of the same people."""
    spec = RenderedSet(identities=PEOPLE, difficulty=1.0)
    return {
        "gallery": gallery_rows(spec).images(0, PEOPLE),
        "probe": probe_rows(spec).images(0, PEOPLE),
    }


def written(folder: Path, faces: dict[str, np.ndarray], exchanged: str = "") -> Path:
    """The faces as files, those of a role or of `all` with red and blue exchanged."""
    for role, images in faces.items():
        for who, image in enumerate(images):
            path = folder / role / f"p{who}" / "0.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            turn = -1 if exchanged in (role, "all") else 1
            Image.fromarray(np.ascontiguousarray(image[..., ::turn])).save(path)
    return folder


def colours(capsys, folder: Path) -> list[str]:
    assert main(["data", "check", str(folder), "--model", MODEL, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["findings"]
    return [f["sentence"] for f in told if f["kind"] == "colour-order"]


@pytest.mark.parametrize(
    ("exchanged", "words"),
    [
        ("", None),
        ("all", "fits the images better with red and blue exchanged"),
        ("gallery", "fits the gallery's images better"),
        ("probe", "fits the probes better"),
    ],
)
def test_the_side_that_was_saved_as_bgr_is_named(exchanged, words, faces, tmp_path, capsys) -> None:
    found = colours(capsys, written(tmp_path, faces, exchanged))
    if words is None:
        assert found == []
    else:
        assert len(found) == 1
        assert words in found[0]
        assert f"{PEOPLE} identities" in found[0]


def test_grey_images_have_no_order(faces, tmp_path, capsys) -> None:
    grey = {role: images.mean(axis=3).astype(np.uint8) for role, images in faces.items()}
    alike = {role: np.repeat(images[..., None], 3, axis=3) for role, images in grey.items()}
    assert colours(capsys, written(tmp_path, alike)) == []


def test_a_plan_says_so_once_and_computes_it_once(faces, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    own = Own(tmp_path, capsys)
    written(tmp_path / "faces", faces, "all")
    found = own.audit()
    assert found["colour-order"]["severity"] == "warning"
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / ".farm/audit").iterdir()}
    assert own.audit() == found
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / ".farm/audit").iterdir()} == kept


def test_people_are_chosen_that_have_both_images_and_are_spread_over_the_set() -> None:
    gallery = [f"p{who}" for who in range(100)]
    probes = ["x", *(f"p{who}" for who in range(0, 100, 2)), "p0"]
    enrolled, searched = chosen_rows(gallery, probes, most=5)
    assert [gallery[row] for row in enrolled] == [probes[row] for row in searched]
    assert [gallery[row] for row in enrolled] == ["p0", "p24", "p48", "p72", "p98"]
    assert chosen_rows(["a"], ["b"]) == ([], [])


@pytest.mark.filterwarnings("error")
def test_an_image_without_finite_features_leaves_the_others_judged() -> None:
    random = np.random.default_rng(0)
    people = random.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    people[3] = 255
    weights = random.normal(size=(3 * 8 * 8, 16))

    def embed(fed: np.ndarray) -> np.ndarray:
        found = fed.reshape(-1) @ weights
        return found if fed.mean() < 200 else np.full(16, np.nan)

    told = compare_colours(embed, people, people, colour="RGB", mean=[0.0] * 3, std=[1.0] * 3)
    assert told is not None
    assert told.identities == 11
    assert told.rank1[0] == 1.0
