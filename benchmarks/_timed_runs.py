"""Whole runs on boards whose runtime takes an exact time and no processor, for benchmarks.

A toolchain that `farm` finds as it finds any other distribution's quantizes and converts for real,
and writes a file for the agent's runtime `timed`. The boards are SSH servers of this host with the
real agent, given in the inventory by their address, as real boards are; what they "measure" is the
time they sleep. Everything lies in a temporary folder and stays there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.calibration.table import CalibrationTable
from orchestrator.events import Event, EventReader
from orchestrator.fleet.emulated.boards import EmulatedFleet
from orchestrator.toolchains import Artifact, Conversion, Scheme
from orchestrator.toolchains.vendors.onnxruntime import OnnxRuntimeToolchain

ROOT = Path(__file__).resolve().parents[1]


class TimedToolchain:
    """onnxruntime's quantizer and checks; the file that is deployed only says how long it takes.

    Args:
        ms: milliseconds an image, on a board of pace 1.
    """

    name = "timed"
    capabilities = replace(OnnxRuntimeToolchain.capabilities, runtime="timed")

    def __init__(self, ms: str = "16") -> None:
        self._ms, self._real = float(ms), OnnxRuntimeToolchain()

    def version(self) -> str:
        """That of the real one, and the time."""
        return f"{self._ms:g} ms, {self._real.version()}"

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`."""
        return self._real.quantize(model, table, scheme)

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`; raw pixels go in: preprocessing costs nothing."""
        real = self._real.convert(quantized, conversion)
        dim = int(real.manifest["embedding_size"])
        told = {"ms": self._ms, "dim": dim, "seed": real.sha256}
        height, width = real.manifest["input"]["shape"][2:]
        fed = {
            "input": {
                "name": "image",
                "shape": [1, height, width, 3],
                "dtype": "uint8",
                "layout": "NHWC",
                "normalized_by": "model",
            },
            "output": {"name": "feature", "shape": [1, dim], "dtype": "float32"},
        }
        return Artifact(json.dumps(told).encode(), "json", {**real.manifest, **fed})


@dataclass(frozen=True)
class TimedBoard:
    """A board of a benchmark: `pace` 2 takes half the time an image."""

    name: str
    kind: str = "khadas-vim3"
    site: str = "lab"
    pace: float = 1.0


@dataclass
class Project:
    """A folder with a matrix and an inventory, run as a person would run it."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def latest(self) -> Path:
        """The newest run's folder."""
        return self.folder / "runs" / "latest"

    @property
    def environment(self) -> dict[str, str]:
        """A person's, with the toolchain `timed`."""
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        path = os.pathsep.join((str(ROOT), str(self.folder / "packages")))
        return {**kept, "PYTHONPATH": path, **self.variables}

    def command(self, *words: str) -> list[str]:
        """`farm` with these words."""
        return [sys.executable, "-m", "orchestrator.cli.main", *words]

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """`farm run`, its output in `said.txt`."""
        with open(self.folder / "said.txt", "wb") as said:
            return subprocess.Popen(
                self.command("run", *arguments),
                cwd=self.folder,
                env={**self.environment, "COLUMNS": "160"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )

    def run(self, *arguments: str, timeout_s: float = 900) -> int:
        """`farm run` to its end; returns its exit code."""
        process = self.start(*arguments)
        try:
            return process.wait(timeout_s)
        finally:
            process.kill()

    def events(self) -> list[Event]:
        """Events of the newest run."""
        return list(EventReader(self.latest / "events.jsonl").new())

    def forget(self) -> None:
        """Nothing is known any more: neither results, nor paces, nor who was ready."""
        for name in ("runs", ".farm"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


class Boards:
    """SSH servers of this host as boards of an inventory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.servers = EmulatedFleet(folder)

    def entry(self, board: TimedBoard, more: str = "") -> str:
        """A running board's lines in the inventory."""
        python = sys.executable
        if board.pace != 1:
            place = self._folder / f"python-{board.name}"
            place.write_text(
                f'#!/bin/sh\nFARM_TIMED_PACE={board.pace} exec "{sys.executable}" "$@"\n'
            )
            place.chmod(0o755)
            python = str(place)
        found = self.servers.start(board.name)
        return (
            f"  - name: {board.name}\n    kind: {board.kind}\n    hardware: timed\n"
            f"    site: {board.site}\n    lock: workdir\n    python: {python}\n"
            f"    transport: {{ssh: {{host: {found.host}, port: {found.port},"
            f' user: {found.user}, key: {found.key_file}, host_key: "{found.host_key}"}}}}\n{more}'
        )


@contextmanager
def boards() -> Iterator[tuple[Path, Boards]]:
    """A temporary folder, and boards that end with it."""
    with tempfile.TemporaryDirectory(prefix="farm-b", ignore_cleanup_errors=True) as name:
        made = Boards(Path(name) / "boards")
        try:
            yield Path(name), made
        finally:
            made.servers.close()


def offer_toolchain(folder: Path) -> None:
    """A distribution that offers the toolchain `timed`, in the packages of a project's folder."""
    about = folder / "packages" / "farm_timed-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: farm-timed\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[farm.toolchains]\ntimed = benchmarks._timed_runs:TimedToolchain\n"
    )


def project(
    folder: Path,
    inventory: Iterable[str],
    entries: str,
    *,
    ms: float,
    identities: int,
    unknown: int,
    measurement: str,
    deadlines: Mapping[str, float] | None = None,
) -> Project:
    """Write a project whose rows are made by the toolchain `timed`.

    Without a quantized row the matrix must not name calibration images: farm refuses them.
    """
    quantized = any(dtype in entries for dtype in ("int8", "uint8"))
    offer_toolchain(folder)
    (folder / "device_inventory.yaml").write_text(
        f'toolchains:\n  timed: {{options: {{ms: "{ms}"}}}}\nboards:\n' + "".join(inventory)
    )
    (folder / "matrix.yaml").write_text(
        "models: synthface-ir\n"
        f"test_set: {{rendered: {{seed: 0, identities: {identities}, unknown: {unknown}}}}}\n"
        + ("calibration: {rendered: {images: 16}}\n" if quantized else "")
        + f"measurement: {{{measurement}}}\n"
        "scoring: {far: [1e-1], table_far: 1e-1, bootstrap: 100}\n"
        f"entries:\n{entries}"
    )
    told = {"FARM_DEADLINES": json.dumps(deadlines)} if deadlines else {}
    return Project(folder, told)


def of(kind: str, events: Iterable[Event]) -> list[Any]:
    """Events of one kind."""
    return [event for event in events if event.event == kind]
