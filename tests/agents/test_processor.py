"""The processor's name, which is part of the keys of what it computes."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from orchestrator.agents.host import processor

AMD = """\
processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: {model}
model name\t: AMD EPYC
flags\t\t: fpu sse2 avx2 {more}

processor\t: 1
cpu family\t: 99
model\t\t: 99
"""
PI = """\
processor\t: 0
CPU implementer\t: 0x41
CPU part\t: 0xd08

Model\t\t: Raspberry Pi 4
"""


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (AMD.format(model=1, more=""), "AMD EPYC"),
        # Zen 3 and Zen 4 behind one name: other kernels, other features, other times.
        (AMD.format(model=1, more="hypervisor"), "AMD EPYC (family 25, model 1)"),
        (AMD.format(model=17, more="hypervisor avx512f"), "AMD EPYC (family 25, model 17)"),
        ("model name\t: QEMU CPU\nflags\t: hypervisor\n", "QEMU CPU"),
        (PI, "Raspberry Pi 4"),
        (PI.split("\n\n")[0], f"{platform.machine()} CPU implementer 0x41 part 0xd08"),
        ("", platform.machine()),
    ],
)
def test_processors_that_compute_differently_have_different_names(
    tmp_path: Path, cpuinfo: str, name: str
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text(cpuinfo)
    assert processor.name(str(tmp_path)) == name
