"""`farm toolchain install`: steps, what is left of an attempt that fails, and plain answers.

Whole installations are of a tiny distribution from a folder of wheels; the real one is in
test_rknn_real.
"""

from __future__ import annotations

import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import environments, installations
from orchestrator.cli.main import main
from orchestrator.errors import ToolchainError, TransientError, UserError
from orchestrator.toolchains import installing, recipes
from orchestrator.toolchains.recipes import Recipe

TINY = Recipe(
    name="tiny",
    package="tiny-kit",
    version="1.0",
    title="a kit",
    licence="of its makers",
    gigabytes=(0.1, 0.2),
    pythons=(sys.version_info[1],),
    machines=("x86_64", "aarch64"),
    first=("tiny-need",),
    torch=False,
    after_torch=(),
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FARM_TOOLCHAINS", str(tmp_path / "toolchains"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return tmp_path / "toolchains"


def wheel(folder: Path, name: str) -> None:
    """A distribution with one empty module."""
    folder.mkdir(exist_ok=True)
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(
            f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")


def plan(folder: Path, recipe: Recipe = TINY) -> installing.Plan:
    base = getattr(sys, "_base_executable", sys.executable)
    return installing.Plan(recipe, base, sys.version_info[1], "", False, (str(folder),))


@pytest.mark.slow
def test_an_attempt_that_fails_leaves_nothing_installed_and_is_gone_on_with(
    root: Path, tmp_path: Path
):
    wheels = tmp_path / "wheels"
    wheel(wheels, "tiny_need")
    with pytest.raises(TransientError, match=r"could not install tiny-kit.*No matching") as caught:
        installing.install(plan(wheels), lambda made: {}, lambda line: None)
    assert "--find-links DIR" in caught.value.hint
    assert environments.find("tiny") is None
    assert installing.unfinished("tiny")

    wheel(wheels, "tiny_kit")
    said: list[str] = []

    def broken(made: environments.Environment) -> dict:
        raise ToolchainError("it does not convert")

    with pytest.raises(ToolchainError, match="does not convert"):
        installing.install(plan(wheels), broken, said.append)
    assert "what it needs: there already" in said
    assert not any("virtual environment" in line for line in said)
    assert environments.find("tiny") is None, "what was not proved is not installed"

    said.clear()
    made = installing.install(plan(wheels), lambda made: {"cosine": 1.0}, said.append)
    assert "tiny-kit: there already" in said
    assert made == environments.find("tiny")
    assert (made.packages["tiny_kit"], made.packages["tiny_need"]) == ("1.0", "1.0")
    assert made.verified == {"cosine": 1.0}
    assert not installing.unfinished("tiny")

    Path(made.python).unlink()
    assert environments.find("tiny") is None, "an interpreter that is gone is no environment"
    assert installing.remove("tiny")
    assert not (root / "tiny").exists()
    assert not installing.remove("tiny")


def test_two_at_once_are_refused(root: Path, tmp_path: Path):
    (root / "tiny").mkdir(parents=True)
    with installations.alone(root / "tiny"), pytest.raises(UserError, match="another process"):
        installing.install(plan(tmp_path), lambda made: {}, lambda line: None)


def test_no_room_is_said_before_anything_is_made(root: Path, tmp_path: Path):
    huge = replace(TINY, gigabytes=(1e6, 1e6))
    with pytest.raises(UserError, match="GB are needed") as caught:
        installing.install(plan(tmp_path, huge), lambda made: {}, lambda line: None)
    assert "FARM_TOOLCHAINS=" in caught.value.hint
    assert not (root / "tiny" / "venv").exists()


def test_a_computer_or_python_without_wheels_is_told_what_has_them(root: Path, monkeypatch):
    with pytest.raises(
        UserError, match=r"needs Python 3\.8, 3\.9, 3\.10, 3\.11, 3\.12; /bin/sh is no"
    ):
        installing.installation_plan(recipes.RKNN, python="/bin/sh")
    with pytest.raises(UserError, match="no such folder"):
        installing.installation_plan(recipes.RKNN, find_links=["/no/such/folder"])
    monkeypatch.setattr(installing.platform, "machine", lambda: "riscv64")
    with pytest.raises(UserError, match="no wheels for Linux on riscv64, only for Linux on x86_64"):
        installing.installation_plan(recipes.RKNN)


@pytest.mark.parametrize(
    ("available", "torch", "cpu"),
    [
        (("2.15.0", "2.13.0+cpu", "2.13.0"), "torch==2.13.0+cpu", True),
        (("2.15.0", "2.13.0"), "torch<=2.4.0", False),
    ],
)
def test_a_cpu_build_of_torch_is_preferred(monkeypatch, root: Path, available, torch, cpu):
    def versions(package: str, minor: int, folders: object) -> tuple[tuple[str, ...], str]:
        return (available, "") if package == "torch" else (("2.5.0", "2.3.2"), "")

    monkeypatch.setattr(installing, "_versions", versions)
    monkeypatch.setattr(installing.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(installing, "interpreters", lambda *_: iter([(11, "/p")]))
    made = installing.installation_plan(recipes.RKNN)
    assert (made.torch, made.cpu) == (torch, cpu)
    assert made.gigabytes == (1.6 if cpu else 7.0)
    names = [name for name, _ in made.steps]
    assert names[:2] == ["what it needs", "rknn-toolkit2"]
    assert ("what torch needs" in names) is cpu


def test_an_index_that_is_out_of_reach_is_said_with_the_way_around(monkeypatch, root: Path):
    monkeypatch.setattr(installing, "_versions", lambda *_: ((), "No matching distribution"))
    monkeypatch.setattr(installing, "interpreters", lambda *_: iter([(11, "/p"), (10, "/q")]))
    monkeypatch.setattr(installing.platform, "machine", lambda: "x86_64")
    with pytest.raises(
        TransientError, match=r"no wheel of rknn-toolkit2 2\.5\.0 for Python 3.11, 3.10"
    ) as e:
        installing.installation_plan(recipes.RKNN)
    assert "--find-links DIR" in e.value.hint


def test_the_command_line(root: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["toolchain", "install", "rkn"]) == 2
    assert "did you mean 'rknn'" in capsys.readouterr().err
    assert main(["toolchain", "install", "tengine"]) == 2
    assert "not one that farm installs" in capsys.readouterr().err
    assert main(["toolchain", "list"]) == 0
    out = capsys.readouterr().out
    assert "rknn         lacks rknn-toolkit2; farm toolchain install rknn" in out
    assert main(["toolchain", "remove", "rknn"]) == 0
    assert "is not installed" in capsys.readouterr().out


def test_nobody_agrees_to_a_licence_unasked(root: Path, monkeypatch, capsys):
    known = installing.Plan(recipes.RKNN, "/p", 11, "torch==2.13.0+cpu", True, ())
    monkeypatch.setattr(installing, "installation_plan", lambda *_, **__: known)
    assert main(["toolchain", "install", "rknn"]) == 2
    told = capsys.readouterr()
    assert "RKNN SDK License" in told.out
    assert "about 1.6 GB" in told.out
    assert "say --yes" in told.err
    assert not (root / "rknn").exists()
