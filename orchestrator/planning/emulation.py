"""Whether a processor executes a board's programs or software that emulates one. Pure.

A virtual machine whose computer's own processor executes (KVM, a cloud's) is as good as a computer.
QEMU's TCG shows the same firmware and computes the same features, 10 to 100 times slower. They
differ in what is read here; where that tells neither, it is undecided, and the table says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from orchestrator.planning.evidence import Evidence

_ARCHITECTURES = {
    **dict.fromkeys(("x86_64", "i386", "i486", "i586", "i686"), "x86"),
    **dict.fromkeys(("aarch64", "arm64"), "arm64"),
    **dict.fromkeys(("armv6l", "armv7l", "armv8l"), "arm32"),
}
# QEMU's `-cpu max`; no maker has this number.
_NO_CORE = ("0x00 *",)
_APPLE = ("0x61 *",)
_PROGRAMS = ("qemu*", "box64*", "box86*", "fex*", "rosetta*")
_TREES = ("linux,dummy-virt", "qemu,*", "riscv-virtio*", "xen,*")
_FIRMWARE = (
    *("qemu*", "*kvm*", "xen*", "vmware*", "innotek*", "bochs*", "*virtual*", "openstack*"),
    *("google compute engine*", "amazon ec2*", "parallels*"),
)
TCG = "TCGTCGTCGTCG"
_UNNAMED = "unnamed"
# What its own CPUID, clocks and firmware name only where the computer's processor executes.
_EXECUTING_CLOCKS = ("kvm-clock", "hyperv*", "xen")
_EXECUTING_FIRMWARE = (
    *("kvm virtual machine", "xen*", "vmware*", "innotek*", "google compute engine*"),
    *("amazon ec2*", "parallels*", "microsoft corporation"),
)
_EXECUTING_PTP = ("kvm *",)
# KVM and Apple's Hypervisor pass the computer's own core on under a general name; QEMU's emulated
# cores have their own. KVM takes these names too, on a computer that has just that core.
_PASSED_ON = ("arm,arm-v*", "arm,armv*")
_ALSO_BY_KVM = ("arm,cortex-a53", "arm,cortex-a57", "arm,cortex-a15", "arm,cortex-a7")
# QEMU's emulated timer has 62.5 MHz, which no computer under KVM was seen to have.
_EMULATED_BOGOMIPS = "125.00"


def software(seen: Evidence) -> str:
    """By what a board shows that software executes it; empty where it shows nothing of the kind."""
    own, traces = _ARCHITECTURES.get(seen.machine), seen.traces
    if own and seen.processors and seen.processors != own:
        return (
            f"its system says {seen.machine} and its /proc/cpuinfo is of {seen.processors}: QEMU's "
            "user mode, or the like"
        )
    if traces.program and (
        fitting([traces.program[0].lower()], _PROGRAMS) or own not in (None, *traces.program[1:])
    ):
        return (
            f"its Python is executed by {' for '.join(traces.program)}: QEMU's user mode, or the "
            "like"
        )
    if fitting(seen.cores, _NO_CORE):
        return f"its processor core is {seen.cores[0]}, which no maker makes: QEMU's `-cpu max`"
    return _whole_machine(seen)


def _whole_machine(seen: Evidence) -> str:
    traces, tcg = seen.traces, "QEMU without KVM, whose processor is software (TCG)"
    if traces.hypervisor == TCG:
        return f"CPUID calls its hypervisor {TCG}: {tcg}"
    if "TCG" in traces.cpu:
        return f"its processor calls itself {traces.cpu}: {tcg}"
    if not virtual(seen) or _ARCHITECTURES.get(seen.machine) not in ("arm64", "arm32"):
        return ""
    if traces.bogomips == _EMULATED_BOGOMIPS:
        return f"{virtual(seen)}, and its timer has QEMU's 62.5 MHz: {tcg}"
    named = [name for name in traces.cpu_nodes if not fitting([name], _PASSED_ON + _ALSO_BY_KVM)]
    if named and not fitting(seen.cores, _APPLE):
        return f"{virtual(seen)}, and its device tree names the core {named[0]}: {tcg}"
    if "QEMU Virtual Machine" in seen.firmware and not fitting(seen.cores, _APPLE):
        return f"its firmware says QEMU Virtual Machine, where KVM's says so: {tcg}"
    return ""


def undecided(seen: Evidence) -> str:
    """By what it is a virtual machine, where nothing tells what executes that; else empty."""
    return "" if software(seen) or _hardware(seen) else virtual(seen)


def virtual(seen: Evidence) -> str:
    """By what a computer shows that it is a virtual machine; empty where it shows nothing of it."""
    by_cpuid = "its processor has a hypervisor: a virtual machine" if seen.traces.hypervisor else ""
    return virtual_by_name(seen) or by_cpuid


def virtual_by_name(seen: Evidence) -> str:
    """The same by device tree and firmware alone.

    CPUID is of x86, which no board with a device tree has: that it is another computer is said.
    """
    tree = fitting(seen.compatible, _TREES)
    if tree:
        return f"its device tree says {', '.join(tree)}: a virtual machine"
    firmware = [each for each in seen.firmware if fitting([each.lower()], _FIRMWARE)]
    return f"its firmware says {', '.join(firmware)}: a virtual machine" if firmware else ""


def _hardware(seen: Evidence) -> bool:
    traces = seen.traces
    if traces.hypervisor not in ("", TCG, _UNNAMED):
        return True
    if traces.cpu_nodes and len(fitting(traces.cpu_nodes, _PASSED_ON)) == len(traces.cpu_nodes):
        return True
    if "QEMU Virtual Machine" in seen.firmware and fitting(seen.cores, _APPLE):
        return True
    looks = (
        (traces.clocks, _EXECUTING_CLOCKS),
        (traces.ptp, _EXECUTING_PTP),
        (seen.firmware, _EXECUTING_FIRMWARE),
    )
    return any(fitting([name.lower() for name in names], known) for names, known in looks)


def fitting(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The names that fit one of the patterns, in their order."""
    return [name for name in names if any(fnmatchcase(name, each) for each in patterns)]
