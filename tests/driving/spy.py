"""A spy in every Python process of a run: who plans, and who writes which file.

A folder with it comes first in PYTHONPATH; Python imports it as `sitecustomize` at its start.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from tests.run.project import ROOT

SPY = """
import importlib.util, json, os, sys

def note(what, path=""):
    told = [os.getpid(), " ".join(sys.orig_argv), what, os.path.abspath(os.fsdecode(path))]
    log = os.open(os.environ["FARM_TEST_SPY"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, json.dumps(told).encode() + b"\\n")
    os.close(log)

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.truncate")
busy = False

def hear(event, told):
    global busy
    if busy or event != "open" and event not in CHANGES:
        return
    busy = True
    try:
        path = told[1] if event in ("os.rename", "os.symlink") else told[0]
        writes = event != "open" or told[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and isinstance(path, (str, bytes, os.PathLike)):
            note("writes", path)
    finally:
        busy = False

class Finder:
    def find_spec(self, name, path, target=None):
        if name != "orchestrator.preflight.planner":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            make_plan = module.make_plan

            def noted(*given, **named):
                note("plans")
                return make_plan(*given, **named)

            module.make_plan = noted

        spec.loader.exec_module = exec_module
        return spec

sys.addaudithook(hear)
sys.meta_path.insert(0, Finder())
"""


@dataclass(frozen=True)
class Seen:
    """Something that a process did: `what` is `plans` or `writes`."""

    pid: int
    command: str
    what: str
    path: str


class Spy:
    """What the processes that get `variables` do."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "seen"
        (folder / "spy").mkdir()
        (folder / "spy" / "sitecustomize.py").write_text(SPY)
        path = os.pathsep.join((str(folder / "spy"), str(ROOT)))
        self.variables = {"FARM_TEST_SPY": str(self._log), "PYTHONPATH": path}

    def seen(self) -> list[Seen]:
        """All since the last call."""
        if not self._log.exists():
            return []
        taken = self._log.with_name("taken")
        shutil.move(self._log, taken)
        return [Seen(*json.loads(line)) for line in taken.read_text().splitlines()]
