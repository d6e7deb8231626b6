"""Whether a board is what it is called, over the device trees and chips that boards show.

The names are those of the Linux kernel's device trees and of boards' public listings.
"""

from __future__ import annotations

import pytest

from orchestrator.planning.evidence import Evidence
from orchestrator.planning.identity import DRIVER, PROCESSOR, SOC, TREE, emulator, judge
from orchestrator.specs.kinds import load_kinds

KINDS = load_kinds()
BOARDS = {
    "vim3": Evidence(
        "aarch64",
        ("khadas,vim3", "amlogic,a311d", "amlogic,g12b"),
        "Khadas VIM3",
        ("Amlogic Meson G12B (A311D)",),
        ("galcore",),
    ),
    # The vendor's Linux 4.9.
    "vim3, vendor's kernel": Evidence(
        "aarch64", ("amlogic, g12b",), "Khadas VIM3", (), ("galcore",)
    ),
    "vim3l": Evidence(
        "aarch64",
        ("khadas,vim3l", "amlogic,sm1"),
        "Khadas VIM3L",
        ("Amlogic Meson SM1 (S905D3)",),
        ("galcore",),
    ),
    "odroid n2": Evidence(
        "aarch64",
        ("hardkernel,odroid-n2", "amlogic,s922x", "amlogic,g12b"),
        "Hardkernel ODROID-N2",
        ("Amlogic Meson G12B (S922X)",),
    ),
    "imx8mp": Evidence(
        "aarch64",
        ("fsl,imx8mp-evk", "fsl,imx8mp"),
        "NXP i.MX8MPlus EVK board",
        ("Freescale i.MX i.MX8MP",),
        ("galcore",),
    ),
    "verdin imx8mp": Evidence("aarch64", ("toradex,verdin-imx8mp", "fsl,imx8mp"), "Toradex Verdin"),
    "imx8mm": Evidence(
        "aarch64",
        ("fsl,imx8mm-evk", "fsl,imx8mm"),
        "FSL i.MX8MM EVK board",
        ("Freescale i.MX i.MX8MM",),
        ("galcore",),
    ),
    "rv1126": Evidence(
        "armv7l",
        ("rockchip,rv1126-evb-ddr3-v13", "rockchip,rv1126"),
        "Rockchip RV1126 EVB DDR3 V13 Board",
        (),
        ("galcore",),
    ),
    "rv1126b": Evidence(
        "aarch64",
        ("rockchip,rv1126b-evb1-v11", "rockchip,rv1126b"),
        "Luckfox Aura",
        (),
        ("rknpu",),
    ),
    "rv1106": Evidence(
        "armv7l",
        ("rockchip,rv1106g-38x38-ipc-v10", "rockchip,rv1106"),
        "Luckfox Pico Max",
        (),
        ("rknpu",),
    ),
    "rv1103": Evidence(
        "armv7l",
        ("rockchip,rv1103g-38x38-ipc-v10", "rockchip,rv1103"),
        "Luckfox Pico",
        (),
        ("rknpu",),
    ),
    "xavier nx": Evidence(
        "aarch64",
        ("nvidia,p3449-0000+p3668-0001", "nvidia,p3509-0000+p3668-0001", "nvidia,tegra194"),
        "NVIDIA Jetson Xavier NX Developer Kit",
        ("Tegra 25",),
        ("nvgpu",),
    ),
    "agx xavier": Evidence(
        "aarch64", ("nvidia,p2972-0000", "nvidia,tegra194"), "Jetson-AGX", ("Tegra 25",), ("nvgpu",)
    ),
    "orin nano": Evidence(
        "aarch64",
        ("nvidia,p3768-0000+p3767-0003-super", "nvidia,p3767-0003", "nvidia,tegra234"),
        "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super",  # a vendor's mistake
        ("Tegra 35",),
        ("nvgpu", "nvidia"),
    ),
    "orin nx": Evidence(
        "aarch64",
        ("nvidia,p3768-0000+p3767-0000", "nvidia,p3767-0000", "nvidia,tegra234"),
        "NVIDIA Orin NX Developer Kit",
        ("Tegra 35",),
        ("nvgpu",),
    ),
    "agx orin": Evidence(
        "aarch64",
        ("nvidia,p3737-0000+p3701-0008", "nvidia,p3701-0008", "nvidia,tegra234"),
        "NVIDIA Jetson AGX Orin Developer Kit",
        ("Tegra 35",),
        ("nvgpu",),
    ),
    "orin on a carrier": Evidence("aarch64", ("acme,carrier", "nvidia,tegra234"), "ACME"),
    "rk3588": Evidence(
        "aarch64", ("radxa,rock-5b", "rockchip,rk3588"), "Radxa ROCK 5B", (), ("rknpu",)
    ),
    "rk3588s": Evidence(
        "aarch64",
        ("rockchip,rk3588s-orangepi-5-pro", "rockchip,rk3588"),
        "Orange Pi 5 Pro",
        ("jep106:043b jep106:043b:3588",),
    ),
    "rk3568": Evidence("aarch64", ("radxa,rock-3a", "rockchip,rk3568"), "Radxa ROCK 3 Model A"),
    "raspberry pi 4": Evidence(
        "aarch64", ("raspberrypi,4-model-b", "brcm,bcm2711"), "Raspberry Pi 4 Model B Rev 1.4"
    ),
    "raspberry pi 4, 32 bits": Evidence(
        "armv7l", ("raspberrypi,4-model-b", "brcm,bcm2711"), "Raspberry Pi 4 Model B Rev 1.4"
    ),
    # A container has the board's processor and hides its firmware.
    "container": Evidence("aarch64"),
    "container on a vim3": Evidence(
        "aarch64", (), "", ("Amlogic Meson G12B (A311D)",), ("galcore",)
    ),
    "pc": Evidence("x86_64"),
    "pc with a card": Evidence("x86_64", (), "", (), ("nvidia",)),
}
WHOLE: tuple[tuple[str, str], ...] = (
    ("vim3", "khadas-vim3"),
    ("imx8mp", "imx8mp"),
    ("rv1126", "rv1126"),
    ("rv1126b", "rv1126b"),
    ("rv1103", "rv1103"),
    ("rv1106", "rv1106"),
    ("xavier nx", "jetson-xavier-nx"),
    ("orin nano", "jetson-orin-nano"),
    ("orin nx", "jetson-orin-nx"),
    ("agx orin", "jetson-agx-orin"),
    ("rk3588", "rk3588"),
)


@pytest.mark.parametrize(("board", "kind"), WHOLE)
def test_a_board_is_its_kind_and_no_other(board: str, kind: str) -> None:
    judged = judge(KINDS[kind], BOARDS[board])
    assert judged.stranger == ""
    assert judged.unseen == ()
    for name, other in KINDS.items():
        if name != kind and other.signatures.device_tree:
            assert TREE in judge(other, BOARDS[board]).contradicts, name


@pytest.mark.parametrize("board", BOARDS)
def test_any_computer_is_a_generic_kind(board: str) -> None:
    for kind in ("host-cpu", "cuda-gpu"):
        judged = judge(KINDS[kind], BOARDS[board])
        assert (judged.stranger, judged.unseen) == ("", ())


@pytest.mark.parametrize(
    ("board", "kind", "contradicts", "unseen"),
    [
        ("vim3, vendor's kernel", "khadas-vim3", (), (SOC,)),
        ("vim3l", "khadas-vim3", (TREE, SOC), ()),
        ("odroid n2", "khadas-vim3", (TREE, SOC), (DRIVER,)),
        ("verdin imx8mp", "imx8mp", (), (SOC, DRIVER)),
        ("imx8mm", "imx8mp", (TREE, SOC), ()),
        ("imx8mp", "khadas-vim3", (TREE,), (SOC,)),
        ("rv1126", "rv1126b", (TREE, DRIVER), ()),
        ("rv1126b", "rv1126", (PROCESSOR, TREE, DRIVER), ()),
        ("agx xavier", "jetson-xavier-nx", (TREE,), ()),
        ("xavier nx", "jetson-orin-nx", (TREE, SOC), ()),
        ("orin nano", "jetson-orin-nx", (TREE,), ()),
        ("orin on a carrier", "jetson-agx-orin", (), (TREE, SOC, DRIVER)),
        ("rk3588s", "rk3588", (), (DRIVER,)),
        ("rk3568", "rk3588", (TREE,), (DRIVER,)),
        ("raspberry pi 4", "khadas-vim3", (TREE,), (SOC, DRIVER)),
        ("raspberry pi 4", "rk3588", (TREE,), (DRIVER,)),
        ("raspberry pi 4, 32 bits", "rv1126", (TREE,), (DRIVER,)),
        ("container", "khadas-vim3", (), (TREE, SOC, DRIVER)),
        ("container on a vim3", "khadas-vim3", (), (TREE,)),
        ("container on a vim3", "jetson-orin-nx", (DRIVER,), (TREE, SOC)),
        ("pc", "khadas-vim3", (PROCESSOR,), (TREE, SOC, DRIVER)),
        ("pc with a card", "jetson-agx-orin", (PROCESSOR,), (TREE, SOC)),
    ],
)
def test_what_speaks_against_a_kind_and_what_is_not_told(
    board: str, kind: str, contradicts: tuple[str, ...], unseen: tuple[str, ...]
) -> None:
    judged = judge(KINDS[kind], BOARDS[board])
    assert (tuple(judged.contradicts), judged.unseen) == (contradicts, unseen)


def test_the_words() -> None:
    seen = BOARDS["raspberry pi 4"]
    assert str(seen) == (
        "Raspberry Pi 4 Model B Rev 1.4 (raspberrypi,4-model-b, brcm,bcm2711), aarch64"
    )
    assert judge(KINDS["khadas-vim3"], seen).stranger == (
        "another board: its device tree says raspberrypi,4-model-b, brcm,bcm2711 (Raspberry Pi 4 "
        "Model B Rev 1.4), the A311D's says khadas,vim3 or amlogic,a311d"
    )
    assert str(BOARDS["container on a vim3"]) == "Amlogic Meson G12B (A311D), aarch64"
    assert str(BOARDS["pc"]) == "x86_64"


def test_an_agent_of_before_and_odd_words_tell_nothing() -> None:
    assert Evidence.by_agent("aarch64", {}) == Evidence("aarch64")
    odd = {"compatible": "khadas,vim3", "soc": None, "accelerators": {"galcore": 1}, "model": None}
    assert Evidence.by_agent("aarch64", odd) == Evidence("aarch64")


A311D, HOST = KINDS["khadas-vim3"], KINDS["host-cpu"]
CORTEX_A72 = ("0x41 0xd08",)


@pytest.mark.parametrize(
    ("seen", "by"),
    [
        # Debian's qemu-aarch64-static on a PC: uname is the board's, /proc/cpuinfo the PC's.
        (Evidence("aarch64", processors="x86", firmware=("Dell Inc.",)), "/proc/cpuinfo is of x86"),
        (Evidence("armv7l", processors="x86"), "says armv7l and its /proc/cpuinfo is of x86"),
        (Evidence("armv7l", processors="arm64"), "/proc/cpuinfo is of arm64"),
        (Evidence("x86_64", processors="arm64"), "/proc/cpuinfo is of arm64"),
        # qemu-system-aarch64 -cpu max: everything else may be hidden.
        (Evidence("aarch64", processors="arm64", cores=("0x00 0x051",)), "0x00 0x051"),
    ],
)
def test_another_processor_executes(seen: Evidence, by: str) -> None:
    for kind in (A311D, HOST):
        assert by in emulator(kind, seen)


@pytest.mark.parametrize(
    ("seen", "by"),
    [
        # qemu-system-aarch64 -M virt -cpu cortex-a72
        (
            Evidence("aarch64", ("linux,dummy-virt",), "linux,dummy-virt", cores=CORTEX_A72),
            "its device tree says linux,dummy-virt: a virtual machine",
        ),
        (Evidence("aarch64", firmware=("QEMU", "KVM Virtual Machine")), "its firmware says QEMU"),
        (Evidence("aarch64", firmware=("QEMU fw_cfg",)), "its firmware says QEMU fw_cfg"),
        (Evidence("aarch64", firmware=("Amazon EC2", "a1.medium")), "its firmware says Amazon EC2"),
        (Evidence("x86_64", processors="x86", firmware=("xen",)), "its firmware says xen"),
    ],
)
def test_a_virtual_machine_is_no_board_but_may_be_a_computer(seen: Evidence, by: str) -> None:
    assert by in emulator(A311D, seen)
    assert emulator(HOST, seen) == ""


@pytest.mark.parametrize("board", BOARDS)
def test_no_board_is_taken_for_an_emulator(board: str) -> None:
    for kind in KINDS.values():
        assert emulator(kind, BOARDS[board]) == ""


def test_what_executes_natively_is_no_emulator() -> None:
    for seen in (
        Evidence("armv8l", processors="arm32"),  # 32-bit programs on a 64-bit kernel
        Evidence("aarch64", processors="arm64", cores=("0x41 0xd03", "0x41 0xd09")),
        Evidence("x86_64", processors="x86", firmware=("Dell Inc.", "PowerEdge R640")),
        Evidence("riscv64", processors=""),
        # NVIDIA's own DMI on Jetsons.
        Evidence("aarch64", processors="arm64", firmware=("NVIDIA", "NVIDIA Jetson Orin Nano")),
    ):
        for kind in KINDS.values():
            assert emulator(kind, seen) == ""
