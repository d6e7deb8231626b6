"""Whether a board is what the inventory calls it, or an emulator, told by its own files. Pure.

A board is never another by guessing: what it does not tell is unseen, and only what it tells and
its kind never has speaks against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.planning.emulation import fitting, software, undecided, virtual_by_name
from orchestrator.planning.evidence import Evidence
from orchestrator.specs.kinds import Kind

ANOTHER = "another board"
PROCESSOR, TREE, SOC, DRIVER = "processor", "device tree", "SoC", "accelerator driver"
_SHOWN = 4
EXECUTOR = "whether a processor or software executes it"


@dataclass(frozen=True)
class Judgement:
    """A board held against its kind, by what was looked at.

    Attributes:
        contradicts: what speaks against it, in words.
        unseen: what it does not tell, so that nothing is known by it.
        emulator: by what it shows that no such board is there at all; empty where it does not.
        perhaps: by what it may be an emulator, where nothing it shows decides that.
    """

    contradicts: Mapping[str, str] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    emulator: str = ""
    perhaps: str = ""

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
    by_software = software(seen)
    if by_software or not kind.signatures.device_tree:
        return by_software
    return virtual_by_name(seen)


def judge(kind: Kind, seen: Evidence) -> Judgement:
    """Whether a board may be of a kind. A kind without a device tree is any computer."""
    stands_in = emulator(kind, seen)
    contradicts, unseen = {}, []
    if kind.machines and seen.machine and seen.machine not in kind.machines:
        own = f"the {kind.hardware} has {_either(kind.machines)}"
        contradicts[PROCESSOR] = f"its processor is {seen.machine}, {own}"
    if not kind.signatures.device_tree:
        perhaps = undecided(seen)
        return Judgement(contradicts, (EXECUTOR,) if perhaps else (), stands_in, perhaps)
    for what, look in ((TREE, _tree), (SOC, _soc), (DRIVER, _driver)):
        found = look(kind, seen)
        if found is None:
            unseen.append(what)
        elif found:
            contradicts[what] = found
    return Judgement(contradicts, tuple(unseen), stands_in)


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
