"""Software that emulates a processor, told from a processor: what QEMU, KVM and clouds show."""

from __future__ import annotations

import pytest

from orchestrator.planning.emulation import software, undecided, virtual, virtual_by_name
from orchestrator.planning.evidence import Evidence, Traces
from orchestrator.planning.identity import EXECUTOR, emulator, judge
from orchestrator.specs.kinds import load_kinds

KINDS = load_kinds()
HOST, CARD, A311D = KINDS["host-cpu"], KINDS["cuda-gpu"], KINDS["khadas-vim3"]
DUMMY, A72 = ("linux,dummy-virt",), ("0x41 0xd08",)
PC = ("QEMU", "Standard PC (i440FX + PIIX, 1996)")
TCG_CLOCKS, KVM_CLOCKS = ("tsc", "hpet", "acpi_pm"), ("kvm-clock", "tsc", "acpi_pm")

# What QEMU 7.2 showed, booted with Debian's kernel, without KVM.
SOFTWARE = {
    "aarch64 virt, cortex-a72": Evidence(
        "aarch64",
        DUMMY,
        "linux,dummy-virt",
        processors="arm64",
        cores=A72,
        traces=Traces(
            clocks=("arch_sys_counter",), cpu_nodes=("arm,cortex-a72",), bogomips="125.00"
        ),
    ),
    # One sign is enough: the timer may be set, and UEFI hides the device tree.
    "aarch64 virt, another timer": Evidence(
        "aarch64", DUMMY, cores=A72, traces=Traces(cpu_nodes=("arm,cortex-a72",), bogomips="48.00")
    ),
    "aarch64 virt, a core that KVM takes too": Evidence(
        "aarch64", DUMMY, traces=Traces(cpu_nodes=("arm,cortex-a53",), bogomips="125.00")
    ),
    "aarch64 virt with UEFI": Evidence(
        "aarch64", firmware=("QEMU", "QEMU Virtual Machine"), cores=A72, traces=Traces()
    ),
    "armv7l virt, cortex-a7": Evidence(
        "armv7l",
        DUMMY,
        processors="arm32",
        cores=("0x41 0xc07",),
        traces=Traces(cpu_nodes=("arm,cortex-a7",), bogomips="125.00"),
    ),
    "x86 -cpu max": Evidence(
        "x86_64",
        firmware=PC,
        traces=Traces(
            hypervisor="TCGTCGTCGTCG", clocks=TCG_CLOCKS, cpu="QEMU TCG CPU version 2.5+"
        ),
    ),
    "x86 -cpu max, without ctypes": Evidence(
        "x86_64", firmware=PC, traces=Traces(hypervisor="unnamed", cpu="QEMU TCG CPU version 2.5+")
    ),
    "x86 -cpu Skylake-Client": Evidence(
        "x86_64", firmware=PC, traces=Traces(hypervisor="TCGTCGTCGTCG", clocks=TCG_CLOCKS)
    ),
    # User mode, of which /proc/cpuinfo says nothing wrong.
    "qemu-x86_64 on x86_64": Evidence(
        "x86_64", processors="x86", traces=Traces(program=("qemu-x86_64-static", "x86"))
    ),
    "qemu-aarch64 with a cpuinfo of its own": Evidence(
        "aarch64", processors="arm64", traces=Traces(program=("qemu-aarch64-static", "x86"))
    ),
    "an unknown emulator": Evidence("aarch64", traces=Traces(program=("emu", "x86"))),
}
HARDWARE = {
    "Firecracker on a PC, no DMI": Evidence(
        "x86_64", processors="x86", traces=Traces(hypervisor="unnamed", clocks=("tsc", "kvm-clock"))
    ),
    "KVM": Evidence("x86_64", firmware=PC, traces=Traces(hypervisor="unnamed", clocks=KVM_CLOCKS)),
    "KVM without its clock": Evidence(
        "x86_64", firmware=PC, traces=Traces(hypervisor="KVMKVMKVM", clocks=TCG_CLOCKS)
    ),
    "Amazon EC2": Evidence("aarch64", firmware=("Amazon EC2", "a1.medium"), cores=A72),
    "Google": Evidence("x86_64", firmware=("Google", "Google Compute Engine")),
    "Azure": Evidence(
        "x86_64",
        firmware=("Microsoft Corporation", "Virtual Machine"),
        traces=Traces(hypervisor="Microsoft Hv", clocks=("hyperv_clocksource_tsc_page",)),
    ),
    "Xen": Evidence("x86_64", firmware=("xen",), traces=Traces(clocks=("xen", "tsc"))),
    "KVM on aarch64": Evidence(
        "aarch64",
        DUMMY,
        cores=A72,
        traces=Traces(cpu_nodes=("arm,arm-v8",), bogomips="50.00"),
    ),
    "KVM on aarch64 with UEFI": Evidence(
        "aarch64", firmware=("QEMU", "KVM Virtual Machine"), cores=A72
    ),
    "Apple's Hypervisor below QEMU": Evidence(
        "aarch64",
        firmware=("QEMU", "QEMU Virtual Machine"),
        cores=("0x61 0x022",),
        traces=Traces(bogomips="48.00"),
    ),
    "KVM's clock for guests": Evidence("aarch64", DUMMY, traces=Traces(ptp=("KVM virtual PTP",))),
    "a PC": Evidence("x86_64", firmware=("Dell Inc.",), traces=Traces(clocks=("tsc", "hpet"))),
    # proot starts programs through a loader of its own, of the same processor.
    "proot": Evidence("aarch64", traces=Traces(program=("prooted-12-abc", "arm64"))),
    "a board with QEMU's pace": Evidence(
        "aarch64", ("acme,board",), traces=Traces(cpu_nodes=("arm,cortex-a72",), bogomips="125.00")
    ),
}
UNDECIDED = {
    "QEMU's DMI alone": Evidence("x86_64", firmware=PC, traces=Traces(clocks=TCG_CLOCKS)),
    "a hypervisor without a name": Evidence("x86_64", traces=Traces(hypervisor="unnamed")),
    "OpenStack, which has both": Evidence("aarch64", firmware=("OpenStack Foundation",), cores=A72),
    "a core that KVM takes too": Evidence(
        "aarch64", DUMMY, traces=Traces(cpu_nodes=("arm,cortex-a53",), bogomips="38.40")
    ),
    "riscv64": Evidence("riscv64", ("riscv-virtio",), traces=Traces(cpu_nodes=("riscv",))),
}


@pytest.mark.parametrize("name", SOFTWARE)
def test_software_is_an_emulator_of_any_kind(name: str) -> None:
    seen = SOFTWARE[name]
    assert software(seen)
    assert undecided(seen) == ""
    for kind in (HOST, CARD, A311D):
        assert judge(kind, seen).emulator == software(seen)


@pytest.mark.parametrize("name", HARDWARE)
def test_a_processor_executes_virtual_machine_or_not(name: str) -> None:
    seen = HARDWARE[name]
    assert (software(seen), undecided(seen)) == ("", "")
    for kind in (HOST, CARD):
        judged = judge(kind, seen)
        assert (judged.emulator, judged.perhaps, judged.unseen) == ("", "", ())
    # A virtual machine is still none of a maker's boards; one of x86 is another computer anyway.
    assert emulator(A311D, seen) == virtual_by_name(seen)
    assert bool(judge(A311D, seen).contradicts) >= (virtual(seen) != virtual_by_name(seen))


@pytest.mark.parametrize("name", UNDECIDED)
def test_what_tells_neither_is_said_to_be_undecided(name: str) -> None:
    seen = UNDECIDED[name]
    judged = judge(HOST, seen)
    assert (judged.emulator, judged.unseen) == ("", (EXECUTOR,))
    assert judged.perhaps == virtual(seen) != ""


def test_the_words() -> None:
    assert software(SOFTWARE["aarch64 virt, cortex-a72"]) == (
        "its device tree says linux,dummy-virt: a virtual machine, and its timer has QEMU's 62.5 "
        "MHz: QEMU without KVM, whose processor is software (TCG)"
    )
    assert software(SOFTWARE["qemu-x86_64 on x86_64"]) == (
        "its Python is executed by qemu-x86_64-static for x86: QEMU's user mode, or the like"
    )


def test_odd_words_of_an_agent_tell_nothing() -> None:
    for odd in (None, "x", [], {"program": "qemu", "clocks": 1, "cpu_nodes": {"a": 1}}):
        assert Traces.by_agent(odd) == Traces()
    told = {"v": 1, "program": ["qemu-arm-static", "x86"], "bogomips": "125.00"}
    assert Evidence.by_agent("armv7l", {"execution": told}).traces == Traces(
        program=("qemu-arm-static", "x86"), bogomips="125.00"
    )
