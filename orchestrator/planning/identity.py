"""Whether a board is what the inventory calls it, or an emulator, told by its own files. Pure.

A board is never another by guessing: what it does not tell is unseen, and only what it tells and
its kind never has speaks against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from orchestrator.specs.kinds import Kind

ANOTHER = "another board"
PROCESSOR, TREE, SOC, DRIVER = "processor", "device tree", "SoC", "accelerator driver"
_SHOWN = 4
_ARCHITECTURES = {
    **dict.fromkeys(("x86_64", "i386", "i486", "i586", "i686"), "x86"),
    **dict.fromkeys(("aarch64", "arm64"), "arm64"),
    **dict.fromkeys(("armv6l", "armv7l", "armv8l"), "arm32"),
}
# QEMU's `-cpu max`; no maker has this number.
_NO_CORE = ("0x00 *",)
_VIRTUAL_TREES = ("linux,dummy-virt", "qemu,*", "xen,*")
_VIRTUAL_FIRMWARE = (
    *("qemu*", "*kvm*", "xen*", "vmware*", "innotek*", "bochs*", "*virtual*"),
    *("google compute engine*", "amazon ec2*", "parallels*"),
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
    """

    machine: str = ""
    compatible: tuple[str, ...] = ()
    model: str = ""
    soc: tuple[str, ...] = ()
    accelerators: tuple[str, ...] = ()
    processors: str = ""
    cores: tuple[str, ...] = ()
    firmware: tuple[str, ...] = ()

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
        )

    def __str__(self) -> str:
        """`Khadas VIM3 (khadas,vim3, amlogic,a311d), aarch64`."""
        names = ", ".join(self.compatible[:_SHOWN] or self.soc)
        board = f"{self.model} ({names})" if self.model and names else self.model or names
        return ", ".join(part for part in (board, self.machine) if part)


@dataclass(frozen=True)
class Judgement:
    """A board held against its kind, by what was looked at.

    Attributes:
        contradicts: what speaks against it, in words.
        unseen: what it does not tell, so that nothing is known by it.
        emulator: by what it shows that no such board is there at all; empty where it does not.
    """

    contradicts: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    emulator: str = ""

    @property
    def stranger(self) -> str:
        """Why the board is none of its kind, as a reason of a verdict; empty when it may be."""
        words = "; ".join(self.contradicts.values())
        return f"{ANOTHER}: {words}" if words else ""


def emulator(kind: Kind, seen: Evidence) -> str:
    """By what a board shows that it is an emulator's; empty where it shows nothing of the kind.

    A virtual machine is no board, but may well be the computer that a kind without a device tree
    is: its times are that computer's as long as its own processor executes.
    """
    own = _ARCHITECTURES.get(seen.machine)
    if own and seen.processors and seen.processors != own:
        return (
            f"its system says {seen.machine} and its /proc/cpuinfo is of {seen.processors}: QEMU's "
            "user mode, or the like"
        )
    if fitting(seen.cores, _NO_CORE):
        return f"its processor core is {seen.cores[0]}, which no maker makes: QEMU's `-cpu max`"
    if not kind.signatures.device_tree:
        return ""
    tree = fitting(seen.compatible, _VIRTUAL_TREES)
    if tree:
        return f"its device tree says {', '.join(tree)}: a virtual machine"
    firmware = [each for each in seen.firmware if fitting([each.lower()], _VIRTUAL_FIRMWARE)]
    return f"its firmware says {', '.join(firmware)}: a virtual machine" if firmware else ""


def judge(kind: Kind, seen: Evidence) -> Judgement:
    """Whether a board may be of a kind. A kind without a device tree is any computer."""
    stands_in = emulator(kind, seen)
    contradicts, unseen = {}, []
    if kind.machines and seen.machine and seen.machine not in kind.machines:
        own = f"the {kind.hardware} has {_either(kind.machines)}"
        contradicts[PROCESSOR] = f"its processor is {seen.machine}, {own}"
    if not kind.signatures.device_tree:
        return Judgement(contradicts, (), stands_in)
    for what, look in ((TREE, _tree), (SOC, _soc), (DRIVER, _driver)):
        found = look(kind, seen)
        if found is None:
            unseen.append(what)
        elif found:
            contradicts[what] = found
    return Judgement(contradicts, tuple(unseen), stands_in)


def fitting(names: Iterable[str], patterns: Sequence[str]) -> list[str]:
    """The names that fit one of the patterns, in their order."""
    return [name for name in names if any(fnmatchcase(name, each) for each in patterns)]


# Each look gives None where nothing is told, an empty text where it fits, else what speaks against.


def _tree(kind: Kind, seen: Evidence) -> str | None:
    known = kind.signatures
    if not seen.compatible:
        return None
    another = fitting(seen.compatible, known.others)
    if not another and (
        fitting(seen.compatible, known.device_tree) or fitting([seen.model], known.models)
    ):
        return ""
    if not another and fitting(seen.compatible, known.family):
        return None
    names = ", ".join(another or seen.compatible[:_SHOWN])
    model = f" ({seen.model})" if seen.model else ""
    own = f"the {kind.hardware}'s says {_either(known.device_tree)}"
    return f"its device tree says {names}{model}, {own}"


def _soc(kind: Kind, seen: Evidence) -> str | None:
    known = kind.signatures
    if fitting(seen.soc, known.soc):
        return ""
    another = fitting(seen.soc, known.soc_family)
    if another:
        return f"its chip is {', '.join(another)}, the {kind.hardware} has {kind.soc}"
    # Rockchip's kernels name no chip there: no signature, nothing missed.
    return None if known.soc else ""


def _driver(kind: Kind, seen: Evidence) -> str | None:
    known = kind.signatures.accelerators
    if not known or set(known) & set(seen.accelerators):
        return ""
    if not seen.accelerators:
        return None
    return (
        f"its accelerator's driver is {' and '.join(seen.accelerators)}, the {kind.hardware} has "
        f"{_either(known)}"
    )


def _either(names: Sequence[str]) -> str:
    return " or ".join(names)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in value) if isinstance(value, (list, tuple)) else ()
