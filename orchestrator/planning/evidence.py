"""What a board's own files say of what it is, as its agent reported it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SHOWN = 4


@dataclass(frozen=True)
class Traces:
    """What tells a processor from software that emulates one; empty where nothing is told.

    Attributes:
        program: name and architecture of what executes the agent's Python, where that is no Python.
        hypervisor: its name by CPUID, `unnamed` where it has none; empty where there is none.
        clocks: the kernel's clock sources.
        cpu_nodes: the device tree's names of the processors.
        bogomips: of an ARM core.
        ptp: clocks that a hypervisor offers.
        cpu: the processor's name where it is one of QEMU's.
    """

    program: tuple[str, ...] = ()
    hypervisor: str = ""
    clocks: tuple[str, ...] = ()
    cpu_nodes: tuple[str, ...] = ()
    bogomips: str = ""
    ptp: tuple[str, ...] = ()
    cpu: str = ""

    @classmethod
    def by_agent(cls, reported: Any) -> Traces:
        """What an agent told (`agents/host/emulation.py`); nothing of one of before."""
        if not isinstance(reported, Mapping):
            return cls()
        return cls(
            program=_texts(reported.get("program")),
            hypervisor=str(reported.get("hypervisor") or ""),
            clocks=_texts(reported.get("clocks")),
            cpu_nodes=_texts(reported.get("cpu_nodes")),
            bogomips=str(reported.get("bogomips") or ""),
            ptp=_texts(reported.get("ptp")),
            cpu=str(reported.get("cpu") or ""),
        )


@dataclass(frozen=True)
class Evidence:
    """What a board's files say of it; empty where they say nothing.

    Attributes:
        machine: its processor as the kernel names it (`aarch64`).
        compatible, model: of its device tree, the most specific name first.
        soc: family and id of its chips, as the kernel names them.
        accelerators: the accelerators whose driver is there, by name.
        processors: of which architecture /proc/cpuinfo speaks: `x86`, `arm64` or `arm32`.
        cores: implementer and part of its kinds of ARM cores.
        firmware: vendor and product of its DMI and what else names a virtual machine.
        traces: of what executes there.
    """

    machine: str = ""
    compatible: tuple[str, ...] = ()
    model: str = ""
    soc: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()
    processors: str = ""
    cores: tuple[str, ...] = ()
    firmware: tuple[str, ...] = ()
    traces: Traces = field(default_factory=Traces)

    @classmethod
    def by_agent(cls, machine: str, reported: Mapping[str, Any]) -> Evidence:
        """What an agent told.

        Args:
            reported: the `identity` of its facts, with their `model` in it.
        """
        return cls(
            machine=machine,
            compatible=_texts(reported.get("compatible")),
            model=str(reported.get("model") or ""),
            soc=_texts(reported.get("soc")),
            accelerators=_texts(reported.get("accelerators")),
            processors=str(reported.get("processors") or ""),
            cores=_texts(reported.get("cores")),
            firmware=_texts(reported.get("firmware")),
            traces=Traces.by_agent(reported.get("execution")),
        )

    def __str__(self) -> str:
        """`Khadas VIM3 (khadas,vim3, amlogic,a311d), aarch64`."""
        names = ", ".join(self.compatible[:_SHOWN] or self.soc)
        board = f"{self.model} ({names})" if self.model and names else self.model or names
        return ", ".join(part for part in (board, self.machine) if part)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, (list, tuple)) else ()
