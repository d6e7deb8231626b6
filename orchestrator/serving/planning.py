"""What a matrix would do, as `farm plan` says it: in a process of its own, which may be ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException

from orchestrator.bundle.checking import check_text
from orchestrator.bundle.uploads import Uploads, private_folder
from orchestrator.errors import UserError
from orchestrator.reporting.durations import between
from orchestrator.serving.project import Project

WITHIN_S = 180
DEPTH = ("*matrix*.yaml", "*/*matrix*.yaml", "*/*/*matrix*.yaml")
HIDDEN = (".", "_")
MATRIX = "matrix.yaml"
AT_ONCE = 2


class Planner:
    """Plans matrices of the project's folder."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._root = project.inventory.resolve().parent
        self._at_once = threading.BoundedSemaphore(AT_ONCE)

    def matrices(self) -> list[str]:
        """Files of the project that are called a matrix, as paths within its folder."""
        found = []
        for pattern in DEPTH:
            for path in sorted(self._root.glob(pattern)):
                name = path.relative_to(self._root)
                hidden = any(part.startswith(HIDDEN) for part in name.parts)
                if not hidden and path.is_file() and path.resolve().is_relative_to(self._root):
                    found.append(name.as_posix())
        return found

    def path(self, matrix: str) -> Path:
        """The file of one of `matrices`."""
        return self._root / matrix

    def plan(self, matrix: str) -> dict[str, Any]:
        """What the page's template fills in.

        Args:
            matrix: one of `matrices`.
        """
        return self._planned(self._root / matrix)

    def plan_text(self, text: str) -> dict[str, Any]:
        """As `plan`, of a matrix that somebody sends: it may name no file, and no code but farm's.

        Models that it names are farm's or the project's.

        Raises:
            HTTPException: too many are being planned.
        """
        if not self._at_once.acquire(blocking=False):
            raise HTTPException(503, f"{AT_ONCE} matrices are being planned; try again in a while")
        uploads = Uploads(self._project.state).root
        private_folder(uploads)
        try:
            with tempfile.TemporaryDirectory(prefix=".plan-", dir=uploads) as name:
                folder = Path(name).resolve()
                (folder / MATRIX).write_text(text)
                if (self._root / "models").is_dir():
                    (folder / "models").symlink_to(self._root / "models")
                try:
                    check_text(folder, MATRIX)
                except UserError as error:
                    found: dict[str, Any] = {"problem": str(error)}
                else:
                    found = self._planned(folder / MATRIX)
                found["problem"] = str(found["problem"]).replace(f"{folder}/", "")
                return found
        finally:
            self._at_once.release()

    def _planned(self, matrix: Path) -> dict[str, Any]:
        words = [sys.executable, "-m", "orchestrator.cli.main", "plan", str(matrix)]
        for option, path in (
            ("--inventory", self._project.inventory),
            ("--state", self._project.state),
            ("--runs", self._project.runs),
        ):
            words += [option, str(path.resolve())]
        running = subprocess.Popen(
            [*words, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            out, err = running.communicate(timeout=WITHIN_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
            running.communicate()
            return {"problem": f"not planned within {WITHIN_S} s: `farm plan` takes its time"}
        try:
            found = json.loads(out)
        except ValueError:
            return {"problem": _without_places(err) or f"farm plan ended with {running.returncode}"}
        return _shown(found)


def _without_places(text: str) -> str:
    """What `farm plan` said, without where the project is on this computer."""
    lines = [line for line in text.splitlines() if not line.startswith("farm: in the project")]
    return "\n".join(lines).removeprefix("farm: ")


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    to_do = {step["id"] for step in found["steps"] if step["to_do"]}
    rows = []
    for row in found["rows"]:
        count = len(to_do & set(row["steps"]))
        why = row["impossible"] or "; ".join(row["not_now"])
        word = "impossible" if row["impossible"] else "not now" if row["not_now"] else ""
        rows.append({**row, "count": count, "word": word, "why": why})
    low, high = found["seconds_between"]
    return {
        "problem": "",
        "rows": rows,
        "steps": found["steps"],
        "to_do": len(to_do),
        "cached": sum(bool(step["cached"]) for step in found["steps"]),
        "takes": between(low, high) if to_do else "",
        "notes": [*found["test_set"]["notes"], *(each["sentence"] for each in found["audit"])],
    }
