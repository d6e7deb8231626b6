"""A wheel works outside the checkout, and installs nothing under a name that others own."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.run.project import FLOAT, HOST, ROOT, Project, emulated, entry


@pytest.mark.slow
def test_a_wheel_runs_outside_the_checkout(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(tmp_path), str(ROOT)],
        check=True,
        timeout=300,
    )
    wheel = next(tmp_path.glob("facefarm-*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"orchestrator", "facefarm"}
    assert "orchestrator/agents/protocol/wire.py" in names
    assert "orchestrator/models/LICENSE" in names
    assert "orchestrator/models/synthdet.onnx" in names
    (entries,) = [name for name in names if name.endswith("entry_points.txt")]
    scripts = zipfile.ZipFile(wheel).read(entries).decode()
    # `pipx run facefarm` looks for a command of the distribution's own name.
    assert "\nfarm = " in scripts
    assert "\nfacefarm = " in scripts
    site = tmp_path / "site"
    subprocess.run(
        [*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, timeout=300
    )
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    project = Wheel(folder)
    project.site = site
    project.write(
        FLOAT + entry("vim3", "uint8 per-tensor asymmetric"),
        HOST + emulated("vim3", "khadas-vim3"),
    )
    where = subprocess.run(
        [sys.executable, "-c", "import orchestrator; print(orchestrator.__file__)"],
        cwd=folder,
        env=project.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(site))
    done = project.farm("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(project.cells()) == {"this-host", "vim3"}


class Wheel(Project):
    """A project run by what a wheel installed."""

    site: Path

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"PYTHONPATH": str(self.site)}
