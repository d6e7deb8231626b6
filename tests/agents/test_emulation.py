"""What an agent tells of who executes it: this host's processor, or QEMU, which really does."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.agents.host import emulation, processes
from tests.fleet.dressed import dress

ROOT = Path(__file__).resolve().parents[2]
QEMU = "qemu-x86_64-static"
TELL = "import json; from agents.host import emulation; print(json.dumps(emulation.traces()))"
ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="QEMU's is of this processor")


def ask(program: str, *before: str) -> str:
    words = [*before, os.path.realpath(sys.executable), "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.check_output(words, env=environment, text=True, timeout=120)


@ON_X86
@pytest.mark.needs(QEMU)
def test_user_mode_of_the_same_processor_is_told_and_a_processor_is_not() -> None:
    """`uname` and /proc/cpuinfo are this host's in both."""
    here, below = json.loads(ask(TELL)), json.loads(ask(TELL, QEMU))
    assert "program" not in here
    assert below["program"] == [os.path.basename(os.path.realpath(str(shutil.which(QEMU)))), "x86"]
    assert here["v"] == below["v"] == 1


@ON_X86
@pytest.mark.needs(QEMU)
def test_cpuid_names_what_executes() -> None:
    vendor = emulation._VENDOR
    assert ask(vendor, QEMU).strip() == "TCGTCGTCGTCG"
    assert ask(vendor).strip() != "TCGTCGTCGTCG"


@ON_X86
@pytest.mark.needs(QEMU)
def test_a_process_below_qemu_knows_its_start_as_others_see_it() -> None:
    """By pid and start a lock's holder is ended; QEMU invents /proc/self/stat."""
    tell = (
        "import os, sys; from agents.host import processes; "
        "print(os.getpid(), processes.start_time(os.getpid()), flush=True); sys.stdin.read()"
    )
    words = [QEMU, os.path.realpath(sys.executable), "-c", tell]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout
        pid, start = map(int, process.stdout.readline().split())
        assert processes.start_time(pid) == start > 0
        process.communicate("")


@ON_X86
@pytest.mark.needs(QEMU)
def test_what_a_process_below_qemu_started_is_found(tmp_path: Path) -> None:
    """Although the machine's root has a /proc, with nothing but a processor in it."""
    root = dress(tmp_path, {"proc/cpuinfo": b"processor\t: 0\n"})
    tell = (
        "import os, subprocess; from agents.host import processes; "
        "made = subprocess.Popen(['sleep', '60']); "
        "wanted = [(made.pid, processes.start_time(made.pid))]; "
        "print(processes.descendants(os.getpid()) == wanted); "
        "made.kill()"
    )
    assert ask(tell, QEMU, "-L", str(root)).strip() == "True"


def test_files_of_a_virtual_board(tmp_path: Path) -> None:
    """As QEMU's `virt` machine has them."""
    root = dress(
        tmp_path,
        {
            "proc/cpuinfo": b"processor\t: 0\nBogoMIPS\t: 125.00\nCPU part\t: 0xd08\n",
            "proc/device-tree/cpus/cpu@0/compatible": b"arm,cortex-a72\0",
            "proc/device-tree/cpus/cpu@1/compatible": b"arm,cortex-a72\0",
            "sys/class/ptp/ptp0/clock_name": b"KVM virtual PTP\n",
            "sys/devices/system/clocksource/clocksource0/available_clocksource": b"a b\n",
        },
    )
    assert emulation.traces(str(root)) == {
        "v": 1,
        "clocks": ["a", "b"],
        "cpu_nodes": ["arm,cortex-a72"],
        "bogomips": "125.00",
        "ptp": ["KVM virtual PTP"],
    }


def test_a_hypervisor_of_another_root_is_not_asked_for_its_name(tmp_path: Path) -> None:
    cpuinfo = b"flags\t\t: fpu hypervisor\nmodel name\t: QEMU TCG CPU version 2.5+\n"
    root = dress(tmp_path, {"proc/cpuinfo": cpuinfo})
    found = {"v": 1, "hypervisor": "unnamed", "cpu": "QEMU TCG CPU version 2.5+"}
    assert emulation.traces(str(root)) == found
    assert emulation.traces(str(tmp_path / "nothing")) == {"v": 1}
