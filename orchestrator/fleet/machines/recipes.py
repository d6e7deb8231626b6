"""What a machine is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.machines import MachineName

_AARCH64 = """\
processor\t: {n}
BogoMIPS\t: 125.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
_ARMV7L = """\
processor\t: {n}
model name\t: ARMv7 Processor rev 5 (v7l)
BogoMIPS\t: 125.00
Features\t: half thumb fastmult vfp edsp neon vfpv3 tls vfpv4 idiva idivt vfpd32 lpae
CPU implementer\t: 0x41
CPU architecture: 7
CPU variant\t: 0x0
CPU part\t: 0xc07
CPU revision\t: 5

"""


@dataclass(frozen=True)
class Recipe:
    """How a machine is made.

    Attributes:
        name: the machine's.
        architecture, suite: Debian's names of its processor and of the release.
        packages: Debian packages; those that they depend on come with them.
        wheels: distributions that come from the Python index, in the versions of this host's.
        python: the interpreter in the root; `minor`: its minor version.
        libraries: folders in the root that the loader does not look into by itself: alternatives,
            which no maintainer script has linked.
        qemu: the emulator's program.
        cpu: the core that it emulates.
        cpuinfo: its /proc/cpuinfo, as Linux prints it for that core. QEMU's user mode shows this
            host's, of which onnxruntime 1.32 dies.
        megabytes: the download, and the place on the disk.
    """

    name: MachineName
    architecture: str
    suite: str
    packages: tuple[str, ...]
    wheels: tuple[str, ...]
    python: str
    minor: int
    libraries: tuple[str, ...]
    qemu: str
    cpu: str
    cpuinfo: str
    megabytes: tuple[int, int]
    platforms: tuple[str, ...] = field(default=())


AARCH64 = Recipe(
    name="aarch64",
    architecture="arm64",
    suite="bookworm",
    packages=("python3", "python3-minimal", "busybox-static", "libstdc++6", "libgomp1"),
    wheels=("onnxruntime", "numpy"),
    python="usr/bin/python3.11",
    minor=11,
    libraries=(),
    qemu="qemu-aarch64-static",
    cpu="cortex-a72",
    cpuinfo=_AARCH64,
    megabytes=(60, 230),
    platforms=("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64"),
)
# The Python index has no wheels for 32 bits; Debian has its own onnxruntime from trixie on.
ARMV7L = Recipe(
    name="armv7l",
    architecture="armhf",
    suite="trixie",
    packages=("python3-onnxruntime", "python3-numpy", "busybox-static"),
    wheels=(),
    python="usr/bin/python3.13",
    minor=13,
    libraries=("usr/lib/arm-linux-gnueabihf/blas", "usr/lib/arm-linux-gnueabihf/lapack"),
    qemu="qemu-arm-static",
    cpu="cortex-a7",
    cpuinfo=_ARMV7L,
    megabytes=(40, 180),
)

RECIPES = {recipe.name: recipe for recipe in (AARCH64, ARMV7L)}
