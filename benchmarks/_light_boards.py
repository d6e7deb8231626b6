"""Boards that cost their host little: real SSH and the real agent, a runtime that only sleeps.

A toolchain that `farm` finds as it finds any other distribution's quantizes for real and writes a
file for the agent's runtime `timed`. Eight server processes hold all boards. In the inventory they
stand by their address, as real boards do; what they "measure" is the time they sleep, and nothing
of it leaves the temporary folder that it is in.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.calibration.table import CalibrationTable
from orchestrator.events import Event, EventReader
from orchestrator.fleet.emulated import EmulatedFleet
from orchestrator.toolchains import Artifact, Conversion, Scheme
from orchestrator.toolchains.onnxruntime import OnnxRuntimeToolchain

ROOT = Path(__file__).resolve().parents[1]
MATRIX = """\
models: synthface-mfn
test_set: {rendered: {seed: 0, identities: 20, unknown: 10}}
calibration: {rendered: {images: 16}}
measurement:
  {warm_up_count: 2, min_duration_s: 0.5, min_count: 10, max_duration_s: 20, blocks: 1}
scoring: {far: [1e-1], table_far: 1e-1, bootstrap: 100}
entries:
  - {name: all, boards: {tag: fleet}, toolchain: timed, quantization: int8 per-channel symmetric}
"""


class TimedToolchain:
    """onnxruntime's quantizer and checks; the file that is deployed names what it stands for."""

    name = "timed"
    capabilities = replace(OnnxRuntimeToolchain.capabilities, runtime="timed")

    def __init__(self) -> None:
        self._real = OnnxRuntimeToolchain()

    def version(self) -> str:
        """That of the real one."""
        return self._real.version()

    def quantize(self, model: bytes, table: CalibrationTable | None, scheme: Scheme) -> Artifact:
        """See `Toolchain.quantize`."""
        return self._real.quantize(model, table, scheme)

    def convert(self, quantized: bytes, conversion: Conversion | None = None) -> Artifact:
        """See `Toolchain.convert`; raw pixels go in, so that preprocessing costs nothing."""
        real = self._real.convert(quantized, conversion)
        height, width = real.manifest["input"]["shape"][2:]
        image = {"name": "image", "shape": [1, height, width, 3], "dtype": "uint8"}
        image |= {"layout": "NHWC", "normalized_by": "model"}
        feature = {"name": "feature", "shape": [1, 128], "dtype": "float32"}
        told = {**real.manifest, "input": image, "output": feature}
        return Artifact(f"stands for {real.sha256}".encode(), "timed", told)


@dataclass(frozen=True)
class Project:
    """A folder with a matrix and an inventory."""

    folder: Path

    @property
    def latest(self) -> Path:
        """The newest run's folder."""
        return self.folder / "runs" / "latest"

    @property
    def environment(self) -> dict[str, str]:
        """A person's, with the toolchain `timed`."""
        kept = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        return {**kept, "PYTHONPATH": os.pathsep.join((str(ROOT), str(self.folder / "packages")))}

    def command(self, *words: str) -> list[str]:
        """`farm` with these words."""
        return [sys.executable, "-m", "orchestrator.cli.main", *words]

    def events(self) -> list[Event]:
        """Events of the newest run."""
        return list(EventReader(self.latest / "events.jsonl").new())

    def forget(self) -> None:
        """Nothing is known any more: neither results, nor paces, nor who was ready."""
        for name in ("runs", ".farm"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


@contextmanager
def project(boards: int) -> Iterator[Project]:
    """A project of so many running boards, each set up differently, so that none shares a row."""
    with (
        tempfile.TemporaryDirectory(prefix="farm-b") as name,
        EmulatedFleet(Path(name) / "boards") as servers,
    ):
        folder = Path(name) / "project"
        about = folder / "packages" / "farm_timed-1.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: farm-timed\nVersion: 1\n")
        (about / "entry_points.txt").write_text(
            "[farm.toolchains]\ntimed = benchmarks._light_boards:TimedToolchain\n"
        )
        lines = ["boards:\n"]
        for i in range(boards):
            found = servers.start(f"board{i:03}")
            lines.append(
                f"  - name: board{i:03}\n    kind: host-cpu\n    hardware: timed\n"
                f"    tags: [fleet]\n    lock: workdir\n    python: {sys.executable}\n"
                f"    runtime: {{name: onnxruntime, threads: {i + 1}}}\n"
                f"    transport: {{ssh: {{host: {found.host}, port: {found.port},"
                f' user: {found.user}, key: {found.key_file}, host_key: "{found.host_key}"}}}}\n'
            )
        (folder / "device_inventory.yaml").write_text("".join(lines))
        (folder / "matrix.yaml").write_text(MATRIX)
        yield Project(folder)
