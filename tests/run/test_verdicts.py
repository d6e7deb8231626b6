"""A whole run over OpenSSH: what is wrong with a board's time stands in the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestrator.fleet.emulated.boards import ensure_key
from tests.openssh import running_sshd
from tests.run.boards import THERMAL, make_board
from tests.run.project import FLOAT, HOST, Project, entry

pytestmark = [pytest.mark.slow, pytest.mark.needs("sshd")]

CUDA = "{name: onnxruntime, providers: [CUDAExecutionProvider]}"
PI = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4",
    "proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711",
}
# The PC's, below QEMU's user mode.
QEMU = {"proc/cpuinfo": "vendor_id : AuthenticAMD\nmodel name : a PC's\nflags : fpu sse2"}
MIN_FREQ = "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("verdicts")
    key = folder / "key"
    public = ensure_key(key)
    made = Project(folder / "project")
    made.folder.mkdir()
    boards = folder / "boards"
    with running_sshd(folder, public) as sshd:
        hot = {f"{THERMAL}/cooling_device0/cur_state": "3"}
        inventory = [
            make_board(boards, "calm", sshd, key, more="    clocks: pinned\n"),
            make_board(boards, "hot", sshd, key, sysfs=hot),
            make_board(boards, "noisy", sshd, key, jitter_s=0.02),
            make_board(boards, "fallback", sshd, key, runtime=CUDA),
            make_board(boards, "arm", sshd, key, sysfs=QEMU, kind="khadas-vim3", machine="aarch64"),
            make_board(boards, "pi", sshd, key, sysfs=PI, kind="khadas-vim3", machine="aarch64"),
        ]
        entries = [entry(name, "float32") for name in ("calm", "hot", "noisy", "fallback")]
        entries += [entry(name, "float32", ", toolchain: onnxruntime") for name in ("pi", "arm")]
        entries.append("  - {name: int8, boards: calm, quantization: int8 per-tensor symmetric}\n")
        made.write(FLOAT + "".join(entries), HOST + "".join(inventory), 12, 10)
        matrix = made.folder / "matrix.yaml"
        matrix.write_text(matrix.read_text().replace("20.0,", "20.0, rounds: 2, blocks: 4,"))
        done = made.farm("run")
        (made.folder / "said.txt").write_text(done.stdout + done.stderr)
        yield made, done, boards


def line(project: Project, hardware: str) -> list[str]:
    table = (project.latest / "table.md").read_text().splitlines()
    found = next(each for each in table if each.startswith(f"| {hardware} "))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_encoders_of_one_board_take_turns(project: Any) -> None:
    made, _, _ = project
    rows = [row for row in made.cells().values() if row["board"] == "calm"]
    assert {row["dtype"] for row in rows} == {"float32", "int8"}
    for row in rows:
        measured = row["provenance"]["measure"]
        assert len(measured["turns"]) == 2
        assert measured["measured"]["rounds"] == 2
        assert len(row["latency"]["blocks"]) == 4
        folder = made.held("measure", row["provenance"]["keys"]["measure"])
        times = np.load(folder / "times.npz")
        ends = times["begin_ns"] + times["end_to_end_ns"]
        turn = times["block"] >= 2
        between = times["begin_ns"][turn].min() - ends[~turn].max()
        # The other encoder had its turn meanwhile: loaded, warmed up, timed for 0.15 s.
        assert between > 0.15e9


def test_a_throttled_board_is_suspect_with_its_reason(project: Any) -> None:
    made, _, _ = project
    row = made.cells()["hot"]
    assert row["verdict"] == "SUSPECT"
    assert "throttled: thermal-cpufreq-0 (cooling_device0) at step 3" in row["verdict_reasons"]
    assert row["executed_by"] == "board"
    assert "ms SUSPECT (throttled" in line(made, "hot")[4]
    notes = (made.latest / "table.md").read_text()
    assert "hot: its time is SUSPECT: throttled: thermal-cpufreq-0" in notes


def test_a_noisy_board_is_suspect_with_its_reason(project: Any) -> None:
    made, _, _ = project
    row = made.cells()["noisy"]
    assert row["verdict"] == "SUSPECT"
    assert any(reason.startswith("too noisy:") for reason in row["verdict_reasons"])
    assert "throttled" not in row["verdict_reason"]
    assert "too noisy" in line(made, "noisy")[4]


def test_another_board_than_its_entry_says_has_no_time(project: Any) -> None:
    made, done, _ = project
    row = made.cells()["pi"]
    assert (row["executed_by"], row["verdict"], row["latency"]) == ("board", "SUSPECT", None)
    assert row["verdict_reasons"][0].startswith(
        "another board: its device tree says raspberrypi,4-model-b, brcm,bcm2711"
    )
    assert row["latency_host"]["device"]["count"] >= 20
    assert row["latency_host"]["unseen"][-1] == "SoC"  # galcore is there, as on all of these
    assert line(made, "pi")[4].startswith("– SUSPECT (another board")
    notes = (made.latest / "table.md").read_text()
    assert "pi: it has no Time, which would be another board's, SUSPECT: another board: " in notes
    assert "its rows get no Time" in done.stdout + done.stderr


def test_an_emulator_in_a_boards_place_is_emulated_and_has_no_time(project: Any) -> None:
    made, done, _ = project
    row = made.cells()["arm"]
    assert (row["executed_by"], row["verdict"], row["latency"]) == ("emulated", "EMULATED", None)
    assert row["latency_host"]["timing_valid"] is False
    assert (row["backend"], line(made, "arm")[4]) == ("onnxruntime (emulated)", "–")
    why = "its system says aarch64 and its /proc/cpuinfo is of x86: QEMU's user mode"
    assert why in row["verdict_reason"]
    assert any(why in warning for warning in row["warnings"])
    assert f"arm: an emulator: {why}" in done.stdout + done.stderr
    told = {e.executed_by for e in made.events() if e.event == "cell_finished" and e.cell == "arm"}
    assert told == {"emulated"}


def test_a_cpu_fallback_is_an_error_and_has_no_time(project: Any) -> None:
    made, done, _ = project
    assert done.returncode == 1, done.stdout + done.stderr
    assert "fallback" not in made.cells()
    notes = (made.latest / "table.md").read_text()
    assert "No result for fallback: " in notes
    assert "CUDAExecutionProvider was asked for" in notes


def test_a_calm_board_has_its_parts_its_energy_and_its_clocks_back(project: Any) -> None:
    made, _, boards = project
    row = next(
        row for row in made.cells().values() if (row["board"], row["dtype"]) == ("calm", "float32")
    )
    latency = row["latency"]
    # The host that stands in may change its own pace, which the yardstick sees ("the same piece of
    # work took ..."); the board's clocks are files of the test, and these stayed.
    reasons = [
        reason for reason in row["verdict_reasons"] if "MHz" in reason or "throttled" in reason
    ]
    assert reasons == []
    parts = sum(latency[part]["mean_ms"] for part in ("pre", "device", "post"))
    assert parts == pytest.approx(latency["end_to_end"]["mean_ms"], rel=1e-6)
    assert latency["transfer"]["image_bytes"] == 112 * 112 * 3
    assert latency["energy"]["rail"] == "VDD_IN"
    joules = 8.0 * latency["end_to_end"]["mean_ms"] / 1e3
    assert latency["energy"]["inference_j"] == pytest.approx(joules, rel=1e-6)
    assert len(latency["blocks"]) == 4
    measured = row["provenance"]["measure"]["measured"]
    assert measured["drivers"] == {"galcore": "6.4.8"}
    assert ", galcore 6.4.8" in made.farm("boards", "list").stdout
    assert (boards / "calm" / "root" / MIN_FREQ).read_text().strip() == "408000"
    assert not (boards / "calm" / "farm" / "clocks.json").exists()


def test_remeasure_measures_what_was_suspect_and_the_report_shows_why(project: Any) -> None:
    made, _, boards = project
    before = made.cells()
    (boards / "hot" / "root" / THERMAL / "cooling_device0" / "cur_state").write_text("0\n")
    done = made.farm("run", "--remeasure", "--only", "hot")
    assert done.returncode == 0, done.stdout + done.stderr
    after = made.cells()["hot"]
    assert "throttled" not in after["verdict_reason"]
    assert after["latency"]["device"] != before["hot"]["latency"]["device"]
    assert made.farm("report").returncode == 0
    report = next(made.latest.glob("*.html")).read_text()
    assert "Where the time of one inference goes" in report
