"""The fleet log: what happened to each board across runs, appended and never rewritten.

`<runs>/fleet.jsonl` holds one JSON object a line. A board's state is a fold over its lines, so that
quarantine, draining and proofs survive runs. What is not a whole line of the right shape (the end
of a write that a power cut broke) is skipped. Several processes may append at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ConfigDict, TypeAdapter, ValidationError

from orchestrator.errors import TransientError
from orchestrator.store import fleet_index
from orchestrator.store.fleet_entries import (
    NOT_DESCRIBED,
    Added,
    Checked,
    Described,
    Drained,
    Entry,
    Proof,
    Quarantined,
    Removed,
    State,
    Undrained,
    Worked,
)
from orchestrator.store.reservations import Reservation, reservations

FILE = "fleet.jsonl"
PROOF_LASTS_S = 7 * 86400.0
"""How long a proof is believed: a board that lay in a drawer for a week is asked again."""

_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry, config=ConfigDict(defer_build=True))


@dataclass(frozen=True)
class Standing:
    """A board as its log has it.

    Attributes:
        state, reason: `reason` is never empty unless the state is `ready`.
        drained: it gets no new work; `state` is then `draining`.
        reserved: whose it is and who comes next.
        proved_at: Unix time of the last check that found it ready, None when there was none.
        checked_at: Unix time of the last check, None when there was none.
        proofs: by runtime, of the last check that got that far.
    """

    state: State
    reason: str = ""
    drained: bool = False
    reserved: tuple[Reservation, ...] = ()
    proved_at: float | None = None
    checked_at: float | None = None
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    temperature_c: float | None = None
    described: Described = NOT_DESCRIBED

    def refusal(self, runtime: str | None = None) -> str | None:
        """Why the board gets no work, None when it may.

        A board of which nothing is known, or whose proof is old, may be given work: a check comes
        first then (`needs_check`). One that failed, or whose `runtime` could not be proved, may
        not.
        """
        if self.drained or self.state == "quarantined":
            return self.reason
        proof = self.proofs.get(runtime) if runtime is not None else None
        if proof is not None and proof.tried and not proof.proved:
            return f"{proof.runtime} has not passed a check: {proof.reason}"
        return None

    @property
    def needs_check(self) -> bool:
        """Whether a check must succeed before the board gets work."""
        return self.state != "ready"

    def remedy(self, board: str) -> str:
        """The command after which the board may get work again."""
        return f"farm boards {'undrain' if self.drained else 'check'} {board}"


class FleetLog:
    """The log in a folder of runs; the folder is made when something is first written."""

    def __init__(self, runs: Path) -> None:
        self.path = runs / FILE

    def append(self, entry: Entry) -> None:
        """Write a line and have the disk keep it.

        Raises:
            TransientError: it cannot be written.
        """
        line = entry.model_dump_json().encode() + b"\n"
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                size = os.fstat(handle).st_size
                if size and os.pread(handle, 1, size - 1) != b"\n":
                    line = b"\n" + line  # what a broken write left is a line of its own
                os.write(handle, line)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise TransientError(
                f"{self.path}: cannot be written: {error.strerror or error}",
                "the fleet's states are kept there: make room, or name another folder with --runs",
            ) from error

    def entries(self) -> Iterator[Entry]:
        """All lines in order.

        Raises:
            TransientError: the file is there and cannot be read.
        """
        yield from self.since(0)[0]

    def since(self, offset: int) -> tuple[list[Entry], int]:
        """The lines from a byte offset on, and the offset after the last whole one.

        Raises:
            TransientError: the file is there and cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                file.seek(offset)
                data = file.read()
        except FileNotFoundError:
            return [], 0
        except OSError as error:
            raise TransientError(
                f"{self.path}: cannot be read: {error.strerror or error}"
            ) from error
        end = data.rfind(b"\n") + 1
        return list(self.parsed(data[:end].split(b"\n"))), offset + end

    @staticmethod
    def parsed(lines: Iterable[bytes]) -> Iterator[Entry]:
        """Lines as entries; what is no whole line of the right shape is skipped."""
        for line in lines:
            with contextlib.suppress(ValueError, ValidationError):
                yield _ENTRY.validate_python(json.loads(line))

    def counting(self) -> tuple[dict[str, list[Entry]], int]:
        """The lines on which standings depend, by board, and the log's size in bytes by then.

        Raises:
            TransientError: the file is there and cannot be read.
        """
        return fleet_index.standing_lines(self)

    def history(self, board: str, most: int) -> list[Entry]:
        """A board's last lines, oldest first, and before them its last `added`.

        Raises:
            TransientError: the file is there and cannot be read.
        """
        return fleet_index.history(self, board, most)

    def standings(self, boards: Mapping[str, str], now: float | None = None) -> dict[str, Standing]:
        """How each board stands.

        Args:
            boards: name to the identity of its entry in the inventory.
            now: Unix time, by default the present.
        """
        lines, _ = self.counting()
        moment = time.time() if now is None else now
        return {
            name: fold(lines.get(name, ()), identity, moment) for name, identity in boards.items()
        }


def fold(entries: Iterable[Entry], identity: str, now: float) -> Standing:
    """One board's lines, in order, as its standing at the Unix time `now`."""
    lines = list(entries)
    state: State = "unproved"
    reason = "never checked"
    drained: Drained | None = None
    proved_at: float | None = None
    checked_at: float | None = None
    proofs: dict[str, Proof] = {}
    versions: dict[str, str] = {}
    heat: float | None = None
    described = NOT_DESCRIBED
    for entry in lines:
        match entry:
            case Added() | Removed():
                state, reason = "unproved", "never checked"
                drained = proved_at = checked_at = heat = None
                proofs, versions, described = {}, {}, NOT_DESCRIBED
            case Drained():
                drained = entry
            case Undrained():
                drained = None
            case Checked() | Worked() | Quarantined() if entry.identity != identity:
                if state != "quarantined":
                    state, reason = "unproved", "its entry changed since it was checked"
                    proved_at = checked_at = heat = None
                    proofs, versions, described = {}, {}, NOT_DESCRIBED
            case Quarantined():
                state, reason = "quarantined", entry.reason
            case Worked():
                proofs |= {proof.runtime: proof for proof in entry.proofs}
                versions, proved_at = dict(entry.versions), entry.at
                described = entry.described
                heat = entry.temperature_c if entry.temperature_c is not None else heat
                if state != "quarantined":
                    state, reason = "ready", ""
            case Checked():
                checked_at = entry.at
                if entry.proofs:
                    proofs = {proof.runtime: proof for proof in entry.proofs}
                    versions, heat = dict(entry.versions), entry.temperature_c
                    described = entry.described
                if entry.state == "ready":
                    proved_at = entry.at
                # Somebody at work there, or a cable pulled, says nothing good of a board that
                # failed before.
                if state != "quarantined" or entry.state not in ("busy", "unreachable"):
                    state, reason = entry.state, entry.reason
    if state == "busy":  # who has it now is not for a log to say
        state, reason = ("ready", "") if proved_at else ("unproved", f"when checked: {reason}")
    if state == "ready" and proved_at is not None and now - proved_at >= PROOF_LASTS_S:
        state, reason = "unproved", "its last check is more than a week old"
    if drained is not None:
        why = f": {drained.reason}" if drained.reason else ""
        state, reason = "draining", f"drained by {drained.by or 'somebody'}{why}"
    return Standing(
        state=state,
        reason=reason,
        drained=drained is not None,
        reserved=reservations(lines, now),
        proved_at=proved_at,
        checked_at=checked_at,
        proofs=proofs,
        versions=versions,
        temperature_c=heat,
        described=described,
    )
