"""The probe on dressed-up roots, and what it makes of boards that lie, babble or are strangers."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.errors import BoardError, TransientError
from orchestrator.fleet.boards.probing import BoardProbe, probe, read, recognise, usable_python
from orchestrator.fleet.transport.channel import CommandResult
from orchestrator.fleet.transport.local import LocalTransport
from orchestrator.specs.kinds import load_kinds
from tests.fleet.dressed import BOARDS, ONE_AND_OTHERS, dress

KINDS = load_kinds().values()
# Without what a version manager puts there: each of its Pythons is a script that looks for one.
PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


def probe_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> BoardProbe:
    monkeypatch.setenv("FARM_PROBE_ROOT", str(root))
    transport = LocalTransport("board", root)
    transport.connect(5)
    try:
        return probe(transport, KINDS, board="board")
    finally:
        transport.close()


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], BoardProbe]:
    """Probes a dressed board once for all tests, none of whose files may change by that."""

    @functools.cache
    def look(name: str) -> BoardProbe:
        root = dress(tmp_path_factory.mktemp(name), BOARDS[name].files)
        before = {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PATH", PATH)
            found = probe_root(root, patch)
        assert {path: path.stat().st_mtime_ns for path in sorted(root.rglob("*"))} == before
        return found

    return look


@pytest.mark.parametrize("name", ONE_AND_OTHERS)
def test_each_board_is_recognised_with_what_it_has(
    name: str, probed: Callable[[str], BoardProbe]
) -> None:
    board = BOARDS[name]
    found = probed(name)
    seen = recognise(found, KINDS)
    assert seen.kind is not None
    assert (seen.kind.name, seen.certain) == (board.kind, True)
    assert seen.kind.runtime == board.runtime
    assert board.runtime in found.runtimes
    assert board.runtime_version in found.runtimes[board.runtime]
    assert found.cores == 4
    assert list(found.temperatures_c) == ["cpu-thermal"]
    assert found.clocks["cpu0"].max_mhz == 2 * found.clocks["cpu0"].now_mhz
    assert found.home_writable


def test_the_details_of_a_jetson(probed: Callable[[str], BoardProbe]) -> None:
    found = probed("jetson")
    assert found.model == "NVIDIA Jetson Xavier NX Developer Kit"
    assert found.compatible == ("nvidia,p3509-0000+p3668-0001", "nvidia,tegra194")
    assert found.os == "Ubuntu 18.04.6 LTS"
    assert found.memory_bytes == 7_993_456 * 1024
    assert found.libraries["libnvinfer"].path == "/usr/lib/aarch64-linux-gnu/libnvinfer.so.8.2.1"
    assert found.libraries["libnvinfer"].version == "8.2.1"
    assert found.packages["tensorrt"] == "8.2.1.8"
    assert found.temperatures_c == {"cpu-thermal": 41.5}
    assert found.clocks["17000000.gv11b"].max_mhz == 1109.25
    assert found.devices == ("/dev/nvhost-gpu",)
    assert "nvgpu" in found.drivers
    assert found.clock_behind_s is not None
    assert abs(found.clock_behind_s) < 60


def test_a_driver_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = dict(BOARDS["khadas"].files)
    del files["dev/galcore"], files["usr/lib/libtengine-lite.so"]
    monkeypatch.setenv("PATH", PATH)
    seen = recognise(probe_root(dress(tmp_path, files), monkeypatch), KINDS)
    assert seen.kind is not None
    assert seen.kind.name == "khadas-vim3"
    assert any("/dev/galcore is missing" in note for note in seen.notes)
    assert any("tengine, was not found" in note for note in seen.notes)


@pytest.mark.needs("busybox")
def test_the_script_runs_in_busybox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busybox = shutil.which("busybox")
    assert busybox is not None
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "tr", "head", "sed", "grep", "uname", "date"):
        (tools / tool).symlink_to(busybox)
    monkeypatch.setenv("PATH", str(tools))
    found = probe_root(dress(tmp_path / "root", BOARDS["rockchip"].files), monkeypatch)
    assert found.libraries["librknn_api"].version == "1.7.5"
    assert "rockchip,rv1126" in " ".join(found.compatible)


def tree(*compatible: str, files: tuple[str, ...] = ()) -> BoardProbe:
    return BoardProbe(compatible=compatible, files=frozenset(files))


@pytest.mark.parametrize(
    ("board", "kind", "certain"),
    [
        (tree("radxa,rock-5b", "rockchip,rk3588"), "rk3588", True),
        (tree("toradex,verdin-imx8mp", "fsl,imx8mp"), "imx8mp", True),
        # The chip of a Jetson Xavier NX, on a board that does not say which: a person is asked.
        (tree("acme,carrier", "nvidia,tegra194"), "jetson-xavier-nx", False),
        (tree("nvidia,p3449-0000+p3668-0003", "nvidia,tegra194"), "jetson-xavier-nx", True),
        # A Jetson AGX Xavier has that chip too, an S922X is of A311D's family: neither kind's.
        (tree("nvidia,p2972-0000", "nvidia,tegra194"), None, False),
        (tree("hardkernel,odroid-n2", "amlogic,s922x", "amlogic,g12b"), None, False),
        # RV1126B is a different chip than RV1126, and a name that only begins alike is neither.
        (tree("rockchip,rv1126b-evb", "rockchip,rv1126b"), "rv1126b", True),
        (tree("rockchip,rv1126-like", "rockchip,rv1126x"), None, False),
        (tree("raspberrypi,5-model-b", "brcm,bcm2712"), None, False),
        # /dev/galcore is on two kinds of boards.
        (tree(files=("/dev/galcore",)), None, False),
        (
            tree("nvidia,p3768-0000+p3767-0000", "nvidia,p3767-0000", "nvidia,tegra234"),
            "jetson-orin-nx",
            True,
        ),
        (tree("nvidia,p3768-0000+p3767-0005", "nvidia,tegra234"), "jetson-orin-nano", True),
        # Somebody's own carrier: the module tells, and a person is asked.
        (tree("acme,carrier", "nvidia,p3701-0005", "nvidia,tegra234"), "jetson-agx-orin", False),
        (tree(files=("/etc/nv_tegra_release",)), None, False),
        (tree(files=("/proc/driver/nvidia/version",)), "cuda-gpu", True),
        (tree(), None, False),
    ],
)
def test_a_kind_is_not_guessed(board: BoardProbe, kind: str | None, certain: bool) -> None:
    seen = recognise(board, KINDS)
    assert (seen.kind.name if seen.kind else None, seen.certain) == (kind, certain)
    if not certain:
        assert seen.notes, "what was not recognised is said"


@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ((("/usr/bin/python3", "3.8.10"),), "python3"),
        ((("/usr/bin/python3", "3.5.2"), ("/usr/bin/python3.9", "3.9.1")), "/usr/bin/python3.9"),
        ((("/usr/bin/python", "2.7.18"),), None),
        ((), None),
    ],
)
def test_the_python_that_is_chosen(
    pythons: tuple[tuple[str, str], ...], chosen: str | None
) -> None:
    assert usable_python(BoardProbe(pythons=pythons)) == chosen


class Says:
    """A board that answers every command with the same bytes."""

    board = "liar"

    def __init__(self, stdout: bytes, status: int = 0) -> None:
        self.result = CommandResult(status, stdout, b"\x1b[31msh: not found\x1b[0m")

    def run(self, command: str, *, stdin: bytes = b"", timeout_s: float) -> CommandResult:
        return self.result


def test_hostile_answers_stay_small_and_printable() -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\u202e" + "A" * 100_000
    lines = [f"farm:model={evil}", "farm:memory=9" * 50, "farm:cores=-1", "farm:time=1e99"]
    lines += [
        "farm:temp=x",
        "farm:heat=99999999999 zone",
        "farm:library=/x/libnvinfer.so.9 \x1b[1m",
    ]
    lines += [f"farm:compatible=evil,{i}" for i in range(5000)]
    found = read("\r\n".join([*lines, "farm:end=1"]).encode(), 0.0)
    assert found is not None
    assert len(found.model) <= 300
    assert found.model.isprintable()
    assert "owned" not in found.model
    assert len(found.compatible) <= 64
    assert (found.memory_bytes, found.cores, found.temperatures_c) == (0, 0, {})
    assert all(text.isprintable() for text in map(str, found.to_json().values()))


@pytest.mark.parametrize("output", [b"", b"\xff\xfe" * 1000, b"farm:model=x\n", b"Welcome!\n"])
def test_half_an_answer_is_none(output: bytes) -> None:
    with pytest.raises(BoardError, match="did not run the probe") as seen:
        probe(Says(output, 127), KINDS, board="liar")  # type: ignore[arg-type]
    assert "\x1b" not in str(seen.value)
    assert "POSIX shell" in seen.value.hint


def test_a_probe_has_a_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin" / "uname"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:/usr/bin:/bin")
    transport = LocalTransport("board", tmp_path)
    transport.connect(5)
    with pytest.raises(TransientError, match=r"no end after 0\.5 s"):
        probe(transport, KINDS, board="board", timeout_s=0.5)
    transport.close()
