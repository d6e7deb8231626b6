"""Roots that look like boards to the probe: device tree, libraries and drivers faked in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Dress:
    """What a board's file system shows, and what farm should make of it."""

    kind: str
    runtime: str
    runtime_version: str
    files: dict[str, bytes] = field(default_factory=dict)


def _tree(model: str, *compatible: str) -> dict[str, bytes]:
    return {
        "proc/device-tree/model": model.encode() + b"\0",
        "proc/device-tree/compatible": b"".join(name.encode() + b"\0" for name in compatible),
    }


def _common(os: str, kib: int, millidegrees: int, mhz: int) -> dict[str, bytes]:
    cpu = "sys/devices/system/cpu/cpu0/cpufreq"
    return {
        "etc/os-release": f'NAME="x"\nPRETTY_NAME="{os}"\n'.encode(),
        "proc/meminfo": f"MemTotal:        {kib} kB\nMemFree: 1 kB\n".encode(),
        "proc/cpuinfo": b"processor\t: 0\nprocessor\t: 1\nprocessor\t: 2\nprocessor\t: 3\n",
        "sys/class/thermal/thermal_zone0/type": b"cpu-thermal\n",
        "sys/class/thermal/thermal_zone0/temp": f"{millidegrees}\n".encode(),
        f"{cpu}/scaling_cur_freq": f"{mhz}000\n".encode(),
        f"{cpu}/scaling_max_freq": f"{2 * mhz}000\n".encode(),
    }


_PACKAGES = "usr/lib/python3.6/dist-packages"

BOARDS = {
    "jetson": Dress(
        "jetson-xavier-nx",
        "tensorrt",
        "8.2.1",
        _tree(
            "NVIDIA Jetson Xavier NX Developer Kit",
            "nvidia,p3509-0000+p3668-0001",
            "nvidia,tegra194",
        )
        | _common("Ubuntu 18.04.6 LTS", 7_993_456, 41_500, 1190)
        | {
            "etc/nv_tegra_release": b"# R32 (release), REVISION: 7.1, GCID: 29818004\n",
            "usr/lib/aarch64-linux-gnu/libnvinfer.so": b"\x7fELF",
            "usr/lib/aarch64-linux-gnu/libnvinfer.so.8": b"\x7fELF",
            "usr/lib/aarch64-linux-gnu/libnvinfer.so.8.2.1": b"\x7fELF",
            f"{_PACKAGES}/tensorrt-8.2.1.8.dist-info/METADATA": b"",
            "dev/nvhost-gpu": b"",
            "sys/module/nvgpu/version": b"",
            "sys/class/devfreq/17000000.gv11b/cur_freq": b"318750000\n",
            "sys/class/devfreq/17000000.gv11b/max_freq": b"1109250000\n",
        },
    ),
    "khadas": Dress(
        "khadas-vim3",
        "tengine",
        "",
        _tree("Khadas VIM3", "khadas,vim3", "amlogic,a311d", "amlogic,g12b")
        | _common("Ubuntu 20.04.2 LTS", 3_864_420, 52_000, 1800)
        | {
            "dev/galcore": b"",
            "sys/module/galcore/version": b"6.4.4.3.310723AAA\n",
            "usr/lib/libtengine-lite.so": b"\x7fELF",
            "usr/lib/libOpenVX.so.1": b"\x7fELF",
        },
    ),
    "nxp": Dress(
        "imx8mp",
        "tengine",
        "",
        _tree("NXP i.MX8MPlus EVK board", "fsl,imx8mp-evk", "fsl,imx8mp")
        | _common("NXP i.MX Release Distro 5.15-kirkstone", 5_931_008, 44_000, 1600)
        | {
            "sys/devices/soc0/family": b"Freescale i.MX\n",
            "sys/devices/soc0/soc_id": b"i.MX8MP\n",
            "dev/galcore": b"",
            "sys/module/galcore/version": b"6.4.11.p2\n",
            "usr/lib/libvx_delegate.so": b"\x7fELF",
            "usr/local/lib/libtengine-lite.so": b"\x7fELF",
        },
    ),
    "rockchip": Dress(
        "rv1126",
        "rknn",
        "1.7.5",
        _tree("Rockchip RV1126 EVB DDR3 V13 Board", "rockchip,rv1126-evb-v13", "rockchip,rv1126")
        | _common("Buildroot 2018.02-rc3", 481_004, 48_125, 1512)
        | {
            "usr/lib/librknn_api.so": b"\x7fELF\0\x01librknn_api version 1.7.5 (71720f3 build)\0",
            "sys/module/galcore/version": b"6.4.3.5.293908\n",
            "dev/galcore": b"",
        },
    ),
}


def dress(root: Path, files: dict[str, bytes]) -> Path:
    """Write a root's files."""
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


# All go the same way: one is enough for `make test`, the others are slow tests.
ONE_AND_OTHERS = [
    pytest.param(name, marks=() if name == "khadas" else pytest.mark.slow) for name in BOARDS
]
