"""Whole runs over OpenSSH in which a vendor's C library computes: from manifest to features.

The libraries are shims or, where FARM_TENGINE_LIB and FARM_TENGINE_BIN_DIR name them, Tengine's own
on the CPU. Nothing of a shim's can be taken for a vendor's: its row names the hardware "Test shim",
and its own version, which says that it is one, stands in the provenance and in the features' keys.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.fleet.emulated.boards import ensure_key
from orchestrator.images import render
from orchestrator.specs.artifact import ArtifactInterface
from tests.agents.shims import ShimFile, library
from tests.openssh import running_sshd
from tests.run.project import FLOAT, HOST, Project, entry
from tests.run.vendor_tools import install_rknn1, install_tengine
from tests.toolchains import fake_rknn

pytestmark = [pytest.mark.slow, pytest.mark.needs("sshd", "gcc")]

IDENTITIES, UNKNOWN = 12, 10
REAL = [os.environ.get(name, "") for name in ("FARM_TENGINE_LIB", "FARM_TENGINE_BIN_DIR")]


def native(name: str, kind: str, sshd: Any, key: Path, folder: Path, runtime: str) -> str:
    """A board of the inventory with a native runtime."""
    return (
        f"  - name: {name}\n    kind: {kind}\n    hardware: Test shim\n    provider: none\n"
        f"    transport: {{ssh: {{host: 127.0.0.1, port: {sshd.port}, user: {sshd.user},"
        f" key: {key}, host_key: {sshd.host_key}}}}}\n"
        f"    contention_domain: this-host\n    workdir: {folder / name}\n"
        f"    runtime: {runtime}\n"
    )


def faces() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The probes of the run."""
    ids = np.arange(IDENTITIES + UNKNOWN)
    return render(ids, np.ones(len(ids), int), 0, 1.5)


def held(project: Project, row: str) -> tuple[bytes, ArtifactInterface, np.ndarray[Any, Any]]:
    """A row's artifact, what its manifest says, and the features of its probes."""
    keys = project.cells()[row]["provenance"]["keys"]
    folder = project.held("convert", keys["artifact"])
    interface = ArtifactInterface.model_validate_json((folder / "interface.json").read_bytes())
    features = np.load(project.held("extract", keys["probe"]) / "features.npy")
    return (folder / "artifact").read_bytes(), interface, features


@pytest.fixture(scope="module")
def tengine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("native")
    key = folder / "key"
    public = ensure_key(key)
    made = Project(folder / "project")
    made.folder.mkdir()
    made.variables["FARM_TENGINE_BIN_DIR"] = str(install_tengine(folder / "tools"))
    shim = library("tengine")
    with running_sshd(folder, public) as sshd:
        runtime = f"{{name: tengine, library: {shim}}}"
        cpu = f"{{name: tengine, library: {shim}, providers: [CPU]}}"
        made.write(
            FLOAT
            + entry("npu", "uint8 per-tensor asymmetric", ", gallery: [same, float32]")
            + entry("cpu", "uint8 per-tensor asymmetric"),
            HOST
            + native("npu", "khadas-vim3", sshd, key, folder, runtime)
            + native("cpu", "imx8mp", sshd, key, folder, cpu),
            IDENTITIES,
            UNKNOWN,
        )
        done = made.farm("run")
        yield made, done


def test_the_chain_from_manifest_to_features(tengine: Any) -> None:
    project, done = tengine
    assert done.returncode == 0, done.stdout + done.stderr
    images = faces()
    for row in ("npu", "cpu"):
        data, interface, features = held(project, row)
        file = ShimFile.read(data)
        assert interface.input.dtype == interface.output.dtype == "uint8"
        assert interface.input.scale == pytest.approx(file.in_scale, rel=1e-6)
        want = file.features(images)
        # One step of the output where a sum falls on another side of a half.
        assert np.abs(features - want).max() <= 1.001 * file.out_scale
        assert np.mean(features == want) > 0.99
        assert len(np.unique(features)) > 20


def test_the_row_says_what_ran(tengine: Any) -> None:
    project, _ = tengine
    row = project.cells()["npu"]
    assert row["hardware"] == "Test shim"
    assert row["backend"] == "Tengine"
    assert project.cells()["cpu"]["backend"] == "Tengine (CPU)"
    opened = row["provenance"]["probe"]["opened"]
    assert (opened["version"], opened["provider"]) == ("1.5-shim", "TIMVX")
    library_file = row["provenance"]["probe"]["board_facts"]["runtimes"]["tengine"]
    assert library_file.startswith("file ")
    # A PC's time never stands as a board's, whatever the inventory calls it.
    assert row["verdict"] == "SUSPECT"
    assert row["verdict_reasons"][0].startswith("another board: its processor is ")
    assert row["latency"] is None
    # 300 ms of compiling at the first run are no part of the time.
    assert row["latency_host"]["device"]["p99_ms"] < 250


def test_npu_and_cpu_share_the_file_but_no_features(tengine: Any) -> None:
    project, _ = tengine
    npu, cpu = (project.cells()[row]["provenance"]["keys"] for row in ("npu", "cpu"))
    assert npu["artifact"] == cpu["artifact"]
    assert npu["probe"] != cpu["probe"]


def test_a_second_run_has_nothing_to_do(tengine: Any) -> None:
    project, _ = tengine
    again = project.farm("run")
    assert again.returncode == 0
    assert "nothing was run" in again.stdout


def one_board(
    folder: Path,
    kind: str,
    quoted: str,
    variables: dict[str, str],
    providers: str = "",
    quantization: str = "uint8 per-tensor asymmetric",
) -> Project:
    """A finished run of this host and one board, `npu`, with a library."""
    key = folder / "key"
    public = ensure_key(key)
    made = Project(folder / "project", variables)
    made.folder.mkdir()
    with running_sshd(folder, public) as sshd:
        board = native("npu", kind, sshd, key, folder, f"{{{quoted}{providers}}}")
        entries = FLOAT + entry("npu", quantization)
        made.write(entries, HOST + board, IDENTITIES, UNKNOWN)
        done = made.farm("run")
        assert done.returncode == 0, done.stdout + done.stderr
    return made


def test_rknn_1_from_the_toolkit_to_features(tmp_path: Path) -> None:
    """RV1126: raw pixels to a file that normalizes, and the driver's own time."""
    python = install_rknn1(tmp_path / "toolkit")
    shim = f"name: rknn, library: {library('rknn1')}"
    made = one_board(tmp_path, "rv1126", shim, {"FARM_RKNN1_PYTHON": str(python)})
    data, interface, features = held(made, "npu")
    file = ShimFile.read(data)
    assert (interface.input.normalized_by, interface.input.layout) == ("model", "NHWC")
    assert file.mean == file.std == (127.5, 127.5, 127.5)
    want = file.features(faces())
    assert np.abs(features - want).max() <= 1.001 * file.out_scale
    assert np.mean(features == want) > 0.99
    assert len(np.unique(features)) > 20
    row = made.cells()["npu"]
    assert (row["hardware"], row["backend"]) == ("Test shim", "RKNN")
    assert row["latency_host"]["device"]["p50_ms"] == pytest.approx(4.321)
    opened = row["provenance"]["probe"]["opened"]
    assert opened["version"] == "1.7.5 (shim), driver 0.9.6"
    known = row["provenance"]["probe"]["board_facts"]["runtimes"]["rknn"]
    assert known.startswith("1.7.5 file ")


def test_rknn_2_has_its_simulator_between_twin_and_board(tmp_path: Path) -> None:
    """The substitute's simulator computes the float32 model, its board the shim's sums."""
    file = ShimFile("R", "int8", size=112, dim=256, out_zero=-9, gain=50.0)
    fake_rknn.environment(tmp_path / "toolchains", size=112, dim=256, graph=file.data[12:])
    made = one_board(
        tmp_path,
        "rk3588",
        f"name: rknn, library: {library('rknn2')}",
        {"FARM_TOOLCHAINS": str(tmp_path / "toolchains")},
        quantization="int8 per-channel asymmetric",
    )
    _, _, features = held(made, "npu")
    assert np.mean(features == file.features(faces())) > 0.99
    row = made.cells()["npu"]
    both = "made by rknn-toolkit2 9.9, newer than the board's librknnrt 2.3.2"
    assert [words for words in row["warnings"] if both in words]
    assert both in (made.latest / "table.md").read_text()
    told = row["provenance"]["parity"]
    stages = {stage["stage"]: stage for stage in told["stages"]}
    assert list(stages) == ["float32", "prepared", "twin", "simulator", "executed by board"]
    assert stages["simulator"]["to_float"] > 0.99999 > stages["twin"]["to_float"]
    (words,) = told["warnings"]
    assert "what was executed differs from its simulator: mean cosine" in words
    assert "differs from its simulator" in (made.latest / "table.md").read_text()


@pytest.mark.skipif(not all(REAL), reason="FARM_TENGINE_LIB and FARM_TENGINE_BIN_DIR name nothing")
def test_tengine_itself_on_the_cpu(tmp_path: Path) -> None:
    real = f"name: tengine, library: {REAL[0]}"
    tools = {"FARM_TENGINE_BIN_DIR": REAL[1]}
    made = one_board(tmp_path, "khadas-vim3", real, tools, ", providers: [CPU]")
    _, _, features = held(made, "npu")
    _, _, exact = held(made, "this-host")
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(exact, axis=1)
    cosine = (features * exact).sum(axis=1) / lengths
    assert cosine.mean() > 0.98
    assert made.cells()["npu"]["backend"] == "Tengine (CPU)"
