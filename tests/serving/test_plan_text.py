"""A plan of a matrix that a page sends: as that of a file, of nothing that lies on the server."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.bundle.checking import check_text
from orchestrator.errors import UserError
from tests.bundle.made import ENTRIES, RENDERED

from .site import Page, Site, serving

ROOT = Path(__file__).resolve().parents[2]
OWN = f"models: synthface-ir\n{RENDERED}{ENTRIES}".replace("this-host", "vim3").replace(
    "float32}", "uint8 per-tensor asymmetric}"
)


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("plans")
    shutil.copytree(ROOT / "models", root / "models")
    with serving(root, actions=True) as found:
        yield found


def test_a_text_is_planned_and_stays_in_its_field(takes: Site) -> None:
    found = takes.post("/plan", text=OWN + "# </textarea><script>alert(1)</script>\n")
    assert found.status == 200
    page = Page(found.text)
    assert page.inline == []
    assert page.handlers == []
    assert "/trends?q=vim3" in page.links, "its row"
    assert "float32" not in page.links
    assert "# &lt;/textarea&gt;&lt;script&gt;" in found.text
    assert "Run it as" not in found.text, "it is no file of the project"
    assert "unsafe" not in found.headers["content-security-policy"]
    assert list((takes.project.state / "uploads").iterdir()) == [], "nothing of it stays"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        ("entries: 3", "matrix.yaml:1: "),
        (OWN.replace("rendered: {identities: 4, unknown: 2}", "folder: /etc"), "is a file or fold"),
        (OWN.replace("synthface-ir", "../../x.yaml"), "../../x.yaml is a file or folder"),
        (OWN.replace("asymmetric}", "asymmetric, toolchain: evil}"), "is a plug-in"),
        (OWN.replace("vim3", "nowhere"), "unknown board"),
    ],
)
def test_what_cannot_be_planned_says_why_and_not_where(takes: Site, text: str, words: str) -> None:
    found = takes.post("/plan", text=text)
    assert found.status == 200
    assert words.replace("&", "&amp;") in found.text
    assert str(takes.project.state) not in found.text
    assert ".plan-" not in found.text


def test_only_forms_of_its_own_and_small_ones_are_taken(takes: Site) -> None:
    assert takes.post("/plan", form="", text=OWN).status == 403
    assert takes.post("/plan", form=takes.access.keys[1].form, text=OWN).status == 403
    assert takes.get("/plan", method="POST", Origin="https://evil.example").status == 403
    own = {"Origin": f"http://{takes.host}", "Content_Length": "300000"}
    assert takes.get("/plan", method="POST", **own).status == 413


def test_without_actions_the_page_says_why_there_is_no_field(site: Site) -> None:
    page = site.get("/plan")
    assert "<textarea" not in page.text
    assert "farm serve --allow-actions" in page.text
    refused = site.post("/plan", text=OWN)
    assert refused.status == 403
    assert "farm serve --allow-actions" in refused.text


def test_a_matrix_that_comes_alone_is_checked_before_it_is_planned(tmp_path: Path) -> None:
    (tmp_path / "matrix.yaml").write_text(OWN.replace("synthface-ir", "/etc/x.yml"))
    with pytest.raises(UserError, match="is a file or folder"):
        check_text(tmp_path, "matrix.yaml")
