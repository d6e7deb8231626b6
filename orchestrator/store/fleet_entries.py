"""The lines of the fleet log: what can happen to a board, each as a type of its own."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

VERSION = 1

State = Literal["ready", "busy", "draining", "quarantined", "unreachable", "unproved"]


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
    v: int = VERSION
    at: float = Field(default_factory=time.time)
    board: str
    by: str = ""


class Proof(BaseModel):
    """One runtime of a board, proved by a real inference or not, and then why not.

    Attributes:
        tried: False when there was nothing to prove it with. That says nothing against the board:
            its first work proves it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
    runtime: str
    proved: bool
    tried: bool = True
    version: str = ""
    provider: str = ""
    reason: str = ""


class Described(BaseModel):
    """What a board is by its own files, and what of that speaks against its entry's kind.

    Attributes:
        board: in words; empty when it was not reported.
        contradicts: why it is none of its kind; empty when it may be.
        emulator: by what it shows that it is an emulator; empty when it shows nothing of the kind.
        unseen: what it does not tell of what it is.
        mismatches: versions there that do not fit each other.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)
    board: str = ""
    contradicts: str = ""
    emulator: str = ""
    unseen: tuple[str, ...] = ()
    mismatches: tuple[str, ...] = ()


NOT_DESCRIBED = Described()


class Checked(_Line):
    """A check ended.

    Attributes:
        identity: of the inventory's entry that was checked; a proof says nothing of another entry.
        state: `ready`, `quarantined`, `unreachable` or `unproved`; `busy` when somebody had it.
        proofs: the runtimes that were tried.
        versions: of agent, Python, kernel, operating system and runtimes.
    """

    event: Literal["checked"] = "checked"
    identity: str
    state: State
    reason: str = ""
    proofs: tuple[Proof, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    temperature_c: float | None = None
    described: Described = NOT_DESCRIBED


class Worked(_Line):
    """A run gave the board back after it had done real work: better than any check."""

    event: Literal["worked"] = "worked"
    identity: str
    proofs: tuple[Proof, ...] = ()
    versions: dict[str, str] = Field(default_factory=dict)
    temperature_c: float | None = None
    described: Described = NOT_DESCRIBED


class Quarantined(_Line):
    """The board failed at work: it gets none until a check succeeds."""

    event: Literal["quarantined"] = "quarantined"
    identity: str
    reason: str


class Recovering(_Line):
    """A run rebooted the board or cycled its power."""

    event: Literal["recovering"] = "recovering"
    how: str
    reason: str


class Added(_Line):
    """An entry was written; what was there under this name before is forgotten."""

    event: Literal["added"] = "added"
    identity: str
    probe: dict[str, Any] = Field(default_factory=dict)


class Removed(_Line):
    """The entry was taken out of the inventory."""

    event: Literal["removed"] = "removed"


class Drained(_Line):
    """Somebody wants the board for themselves: it finishes what it does and gets nothing new."""

    event: Literal["drained"] = "drained"
    reason: str = ""


class Undrained(_Line):
    """It may get work again."""

    event: Literal["undrained"] = "undrained"


class Reserved(_Line):
    """Somebody has the board for themselves for a time, after those who have reserved it before.

    Attributes:
        by: whose runs may use it.
        for_s: seconds from when it is theirs.
    """

    event: Literal["reserved"] = "reserved"
    for_s: float = Field(gt=0)
    reason: str = ""


class Unreserved(_Line):
    """The first reservation of `whose` that has not ended is given back."""

    event: Literal["unreserved"] = "unreserved"
    whose: str


class Asked(_Line):
    """Somebody asked for something on a page of `farm serve`; `board` is empty of what is no
    board's."""

    event: Literal["asked"] = "asked"
    reason: str


class Released(_Line):
    """Its lock was taken from whoever held it."""

    event: Literal["released"] = "released"
    reason: str
    holder: dict[str, Any] = Field(default_factory=dict)


class Wiped(_Line):
    """Farm's files were removed from it."""

    event: Literal["wiped"] = "wiped"
    files: int = 0


Entry = Annotated[
    Checked
    | Worked
    | Quarantined
    | Recovering
    | Added
    | Removed
    | Drained
    | Undrained
    | Reserved
    | Unreserved
    | Asked
    | Released
    | Wiped,
    Field(discriminator="event"),
]
