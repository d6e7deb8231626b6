"""The command line: quick help, exit codes, and wrong input answered before anything starts."""

from __future__ import annotations

import gc
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("ray", "paramiko", "onnx", "onnxruntime", "numpy", "pydantic", "rich", "ruamel")


def farm(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestrator.cli.main", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "COLUMNS": "160"},
    )


Answer = tuple[int, str, str]
FarmHere = Callable[..., Answer]


@pytest.fixture
def farm_here(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> FarmHere:
    """A command in the project's folder, in this process; exit code, stdout, stderr."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", "160")

    def run(*words: str) -> Answer:
        code = main(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_help_imports_nothing_heavy_and_documents_exit_codes() -> None:
    code = (
        "import sys\nfrom orchestrator.cli.main import main\nassert main(['--help']) == 0\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    for word in ("Exit codes", "130", "wrong input", "resume"):
        assert word in done.stdout


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    done = farm("rnu")
    assert done.returncode == 2
    assert "No such command 'rnu'. Did you mean 'run'?" in done.stderr
    assert "see `farm --help`" in done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the default project that may be spoilt."""
    for name in ("matrix.yaml", "device_inventory.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "models", tmp_path / "models")
    return tmp_path


SPOILT = [
    ("matrix.yaml", "entries:", "entreis:", "did you mean 'entries'"),
    ("matrix.yaml", "identities: 3000", "identites: 3000", "did you mean 'identities'"),
    ("matrix.yaml", "per-channel", "per-chanel", "did you mean 'per-channel'"),
    ("matrix.yaml", "kind: rv1126", "kind: rv1127", "did you mean 'rv1126'"),
    ("matrix.yaml", "models: synthface-ir", "models: synthface-it", "synthface-ir"),
    ("device_inventory.yaml", "transport: local", "transprot: local", "did you mean 'transport'"),
    ("device_inventory.yaml", "kind: imx8mp", "kind: imx8m", "did you mean 'imx8mp'"),
    ("device_inventory.yaml", "transport: local", "password: x", "no secrets in a file"),
    ("models/synthface-ir.yaml", "embedding_size:", "embeding_size:", "'embedding_size'"),
    ("models/synthface-ir.yaml", "file: synthface-ir.onnx", "file: gone.onnx", "does not exist"),
]
BY_A_RUN = (SPOILT[0], SPOILT[5], SPOILT[-1])


@pytest.mark.parametrize(("file", "old", "new", "says"), SPOILT)
def test_a_mistake_names_file_line_and_word(
    project: Path, farm_here: FarmHere, file: str, old: str, new: str, says: str
) -> None:
    path = project / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    line = path.read_text()[: path.read_text().index(new)].count("\n") + 1
    # A run's driver reads the files in a process of its own, as `farm plan` does it here.
    command = "run" if (file, old, new, says) in BY_A_RUN else "plan"
    code, _, error = farm_here(command, "matrix.yaml")
    assert code == 2, error
    assert f"{path.name}:{line}: " in error
    assert says in error
    assert not (project / "runs").exists()
    assert not (project / ".farm").exists()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("height: 112", "height: 96", "takes 3 x 112 x 112"),
        ("embedding_size: 256", "embedding_size: 128", "256 numbers a face"),
        ("name: data", "name: dato", "has the input 'data'"),
    ],
)
def test_a_manifest_that_does_not_fit_its_model_is_refused(
    project: Path, farm_here: FarmHere, old: str, new: str, says: str
) -> None:
    path = project / "models" / "synthface-ir.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    # rendered faces fit only one size, so the size's own test brings its own pictures
    if "height" in old:
        matrix = project / "matrix.yaml"
        head, _, tail = matrix.read_text().partition("test_set:")
        entries = tail[tail.index("measurement:") :]
        matrix.write_text(f"{head}test_set: {{folder: faces}}\n{entries}")
    code, _, error = farm_here("plan", "matrix.yaml")
    assert code == 2, error
    assert "synthface-ir.yaml:" in error
    assert says in error


def test_a_missing_matrix_or_run_is_wrong_input(tmp_path: Path) -> None:
    done = farm("run", "nowhere.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere.yaml" in done.stderr
    assert "Traceback" not in done.stderr
    done = farm("resume", cwd=tmp_path)
    assert done.returncode == 2
    assert "no run 'latest'" in done.stderr


def test_plan_shows_rows_steps_and_an_estimate(project: Path, farm_here: FarmHere) -> None:
    done = farm("plan", cwd=project)
    assert done.returncode == 0, done.stderr
    for word in ("khadas-vim3*", "8 rows", "to do", "takes ", "`farm plan --steps`"):
        assert word in done.stdout
    assert "extract/" not in done.stdout
    _, said, _ = farm_here("plan", "--steps")
    assert "extract/rv1126/probe" in said
    assert said.index("8 rows") < said.index("extract/rv1126/probe")


def test_plan_of_an_impossible_row_says_why_and_ends_with_1(
    project: Path, farm_here: FarmHere
) -> None:
    matrix = project / "matrix.yaml"
    text = matrix.read_text()
    matrix.write_text(
        text.replace(
            "kind: rv1126}\n    quantization: uint8 per-tensor asymmetric",
            "kind: rv1126}\n    quantization: int8 per-channel symmetric",
        )
    )
    code, said, _ = farm_here("plan")
    assert code == 1
    assert "impossible" in said
    assert "RV1126 cannot run int8 per-channel symmetric" in " ".join(said.split())


@pytest.mark.parametrize("words", [["plan"], ["plan", "--json"], ["plan", "--only", "nothing"]])
def test_after_a_plan_garbage_is_looked_for_again(farm_here: FarmHere, words: list[str]) -> None:
    assert gc.isenabled()
    farm_here(*words)
    assert gc.isenabled()


def test_plan_for_programs(farm_here: FarmHere) -> None:
    code, said, error = farm_here("plan", "--json")
    assert code == 0, error
    found = json.loads(said)
    assert [row["executed_by"] for row in found["rows"]]
    steps = {step["id"]: step for step in found["steps"]}
    for row in found["rows"]:
        assert row["impossible"] == ""
        assert set(row["steps"]) <= set(steps)
    assert all(step["to_do"] for step in steps.values() if not step["cached"])
    assert found["seconds"] > 0
