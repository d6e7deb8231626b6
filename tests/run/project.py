"""A small project for whole runs: few faces, few boards, everything real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.events import Event, EventReader
from tests.patience import ENDS_S

ROOT = Path(__file__).resolve().parents[2]

MATRIX = """\
models: synthface-ir
test_set:
  rendered: {{seed: 0, identities: {identities}, unknown: {unknown}, difficulty: 1.5}}
{calibration}measurement:
  {{warm_up_count: 3, min_duration_s: 0.3, min_count: 20, max_duration_s: 20.0, emulated: true}}
scoring: {{far: [1e-1, 1e-2], table_far: 1e-1, bootstrap: 100}}
entries:
{entries}
"""
CALIBRATION = "calibration:\n  rendered: {images: 16, difficulty: 1.5}\n"
FLOAT = "  - {name: float32, boards: this-host, quantization: float32}\n"
HOST = "  - {name: this-host, kind: host-cpu, transport: local}\n"


def entry(board: str, quantization: str, extra: str = "") -> str:
    """An entry of the matrix for one board, by its name."""
    return f"  - {{name: on-{board}, boards: {board}, quantization: {quantization}{extra}}}\n"


def emulated(board: str, kind: str, extra: str = "") -> str:
    """An emulated board of the inventory."""
    return f"  - {{name: {board}, kind: {kind}, transport: emulated{extra}}}\n"


@dataclass
class Project:
    """A folder with a matrix and an inventory, and the means to run it as a person would."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    # Short, since Ray's sockets lie below; its own, so that no other run is waited for.
    temporary: str = field(default_factory=lambda: tempfile.mkdtemp(prefix="farm-t"))

    def __post_init__(self) -> None:
        weakref.finalize(self, shutil.rmtree, self.temporary, ignore_errors=True)

    def write(self, entries: str, boards: str, identities: int = 40, unknown: int = 20) -> None:
        """Write matrix and inventory."""
        calibration = CALIBRATION if "int8" in entries else ""
        text = MATRIX.format(
            entries=entries, calibration=calibration, identities=identities, unknown=unknown
        )
        (self.folder / "matrix.yaml").write_text(text)
        (self.folder / "device_inventory.yaml").write_text("boards:\n" + boards)

    def command(self, *arguments: str) -> list[str]:
        """The command line of `farm`."""
        return [sys.executable, "-m", "orchestrator.cli.main", *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """A plain environment, so that nothing of the caller's leaks in."""
        kept = {k: os.environ[k] for k in ("PATH", "HOME") if k in os.environ}
        given = {"PYTHONPATH": str(ROOT), "COLUMNS": "160"}
        given |= {"TMPDIR": self.temporary, "FARM_LOCK_FOLDER": self.temporary}
        return kept | given | self.variables

    def farm(self, *arguments: str, timeout: float = ENDS_S) -> subprocess.CompletedProcess[str]:
        """Run `farm` to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def begin(self) -> subprocess.Popen[str]:
        """Start `farm run`; what it says goes into `said.txt`."""
        with open(self.folder / "said.txt", "w") as said:
            return subprocess.Popen(
                self.command("run"),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
            )

    @property
    def latest(self) -> Path:
        """The newest run's folder."""
        return self.folder / "runs" / "latest"

    def events(self) -> list[Event]:
        """Events of the newest run since it was begun or last resumed."""
        found = list(EventReader(self.latest / "events.jsonl").new())
        begun = [i for i, event in enumerate(found) if event.event == "run_started"]
        return found[begun[-1] :] if begun else found

    def results(self) -> dict[str, Any]:
        """results.json of the newest run."""
        found: dict[str, Any] = json.loads((self.latest / "results.json").read_text())
        return found

    def cells(self) -> dict[str, Any]:
        """Rows of the newest run by name."""
        return {cell["name"]: cell for cell in self.results()["cells"]}

    def held(self, stage: str, key: str) -> Path:
        """Folder of something in the store."""
        return self.folder / ".farm" / "store" / stage / key

    def keys(self) -> dict[str, str]:
        """Key of each step that the newest run finished."""
        return {e.step: e.key for e in self.events() if e.event == "step_finished"}
