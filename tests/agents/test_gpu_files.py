"""What files tell of an NVIDIA GPU and of a Jetson."""

from orchestrator.agents.host import gpu
from orchestrator.agents.measurement.telemetry import drivers


def write(root, path, text):
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)


def test_a_graphics_card(tmp_path):
    information = "Model: \t\t Tesla V100-SXM2-16GB\nIRQ:   \t\t 31\nGPU UUID: \t GPU-1\n"
    write(tmp_path, "proc/driver/nvidia/gpus/0000:00:1e.0/information", information)
    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue\nGCC version: 11\n"
    write(tmp_path, "proc/driver/nvidia/version", version)
    assert gpu.name(str(tmp_path)) == "Tesla V100-SXM2-16GB"
    assert drivers(str(tmp_path)) == {
        "nvidia": "NVRM version: NVIDIA UNIX x86_64 Kernel Module 535.54.03 Tue"
    }


def test_a_jetson(tmp_path):
    tree = "nvidia,p3509-0000+p3668-0001\0nvidia,tegra194\0"
    write(tmp_path, "proc/device-tree/compatible", tree)
    release = "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t186ref, EABI: aarch64\n"
    write(tmp_path, "etc/nv_tegra_release", release)
    write(tmp_path, "var/lib/nvpmodel/status", "pmode:0002 fmode:quiet\n")
    modes = "< POWER_MODEL ID=0 NAME=MODE_15W_2CORE >\n< POWER_MODEL ID=2 NAME=MODE_15W_6CORE >\n"
    write(tmp_path, "etc/nvpmodel.conf", modes)
    status = "Package: nvidia-l4t-core\nVersion: 32.7.1-x\n\nPackage: nvidia-jetpack\nStatus: ok\n"
    write(tmp_path, "var/lib/dpkg/status", status + "Version: 4.6.1-b110\n\n")
    assert gpu.name(str(tmp_path)) == "tegra194 GPU"
    assert drivers(str(tmp_path)) == {
        "l4t": "32.7.1",
        "jetpack": "4.6.1-b110",
        "power_mode": "2 MODE_15W_6CORE",
    }


def test_a_board_without_either(tmp_path):
    assert gpu.name(str(tmp_path)) == ""
    assert gpu.jetson(str(tmp_path)) == {}
    write(tmp_path, "etc/nv_tegra_release", "something else")
    assert gpu.jetson(str(tmp_path)) == {}
