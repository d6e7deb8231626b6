"""Whether a board is fit: one small real job on it, and what that says of it.

A check goes the way that all work goes (connect, bring the agent, take the lock, deploy, open, run)
with a tiny model whose answer is known. Whatever fails on that way is the board's state, with the
words of what failed; nothing but a right answer makes a board ready.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import BoardError, FarmError, TransientError, UserError
from orchestrator.fleet.boards import smoke_test
from orchestrator.fleet.boards.addressing import contact
from orchestrator.fleet.boards.board import Address, BoardLink
from orchestrator.fleet.boards.deadlines import PROOF_BUILD_S, PROOF_OPEN_S, PROOF_RUN_S, Deadlines
from orchestrator.fleet.boards.entry import identity
from orchestrator.fleet.session.types import AgentFacts
from orchestrator.machines import install_command
from orchestrator.planning.evidence import Evidence
from orchestrator.planning.identity import judge
from orchestrator.planning.versions import of_runtimes
from orchestrator.specs.inventory import Board
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.runtimes import TRIAL, board_runtimes
from orchestrator.specs.runtimes import runtime as runtime_of
from orchestrator.store.fleet_entries import NOT_DESCRIBED, Checked, Described, Proof, State


@dataclass(frozen=True)
class Health:
    """What a check found.

    Attributes:
        state: `ready` only when the entry's own runtime gave the right answer.
        reason: why it is not ready; one sentence.
        hint: what to do about it.
        proofs: a proof for each runtime that was found, the entry's own first.
        facts: what the agent told, None when it did not come to that.
        described: what the board is by its own files.
        noise: what its login shell prints beside answers, quoted; empty when it is silent.
    """

    state: State
    reason: str = ""
    hint: str = ""
    proofs: tuple[Proof, ...] = ()
    facts: AgentFacts | None = None
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    described: Described = NOT_DESCRIBED
    noise: str = ""

    @property
    def temperature_c(self) -> float | None:
        """The hottest sensor, None when the board tells none."""
        value = self.telemetry.get("temperature_c")
        return float(value) if isinstance(value, (int, float)) and value is not True else None

    @property
    def versions(self) -> dict[str, str]:
        """Versions by what they are of; empty when the board was not reached."""
        if self.facts is None:
            return {}
        known = {
            "agent": self.facts.agent,
            "python": self.facts.python,
            "os": self.facts.os,
            "kernel": self.facts.kernel,
            **{name: str(version) for name, version in self.facts.drivers.items()},
            **{name: each.version for name, each in self.facts.runtimes.items()},
            # What a proof found out by loading the runtime is surer than a look at its files.
            **{proof.runtime: proof.version for proof in self.proofs if proof.version},
        }
        return {
            name: version
            for name, version in known.items()
            if version and runtime_of(name).role != TRIAL
        }

    def entry(self, board: Board, by: str) -> Checked:
        """The line of the fleet log."""
        return Checked(
            board=board.name,
            by=by,
            identity=identity(board),
            state=self.state,
            reason=self.reason,
            proofs=self.proofs,
            versions=self.versions,
            temperature_c=self.temperature_c,
            described=self.described,
        )


def describe(
    board: Board,
    machine: str,
    identity: Mapping[str, Any],
    runtimes: Mapping[str, str],
    toolkit: str = "",
) -> Described:
    """What a board is by its own files, held against its entry's kind, and its versions.

    Nothing is said of what is a substitute for a board on this host.

    Args:
        machine, identity: as `Evidence.by_agent` takes them, with the board's `drivers`.
        runtimes: name to version.
        toolkit: what makes the board's files here, with its version.
    """
    if board.executed_by != "board":
        return NOT_DESCRIBED
    seen = Evidence.by_agent(machine, identity)
    judged = judge(load_kinds()[board.kind], seen)
    return Described(
        board=str(seen),
        contradicts="" if judged.emulator else judged.stranger,
        emulator=judged.emulator,
        unseen=judged.unseen,
        mismatches=of_runtimes(runtimes, identity, toolkit),
    )


def check(board: Board, address: Address, *, also: Iterable[str] = (), toolkit: str = "") -> Health:
    """Prove a board by a tiny real inference on each runtime it has.

    Never raises for what is wrong with the board: that is its state. Ends within the deadlines of
    `address` and of each proof.

    Args:
        board: its entry.
        address: from `reaching.address_of`, with an owner to be told to others.
        also: runtimes that a probe found, to be listed even where the agent cannot run them.
        toolkit: what makes the board's files here, with its version.
    """
    link = BoardLink(limited(address))
    try:
        facts, proofs = connect_and_prove(board, link, lambda facts: _names(board, facts, also))
        telemetry, noise = dict(link.telemetry()) or dict(facts.telemetry), link.noise
    except FarmError as error:
        return _not_met(address, error)
    finally:
        link.close()
    found = judged(board, proofs, facts, telemetry, toolkit)
    return dataclasses.replace(found, noise=noise)


def lease(board: Board, link: BoardLink, runtimes: Sequence[str]) -> Health:
    """Connect a board for work and prove the runtimes that the work needs; the link stays open.

    Raises:
        FarmError: as `BoardLink.connect`; what a proof finds is in the result.
    """
    address = link.address
    link.address = limited(address)
    try:
        facts, proofs = connect_and_prove(board, link, lambda _: runtimes)
    finally:
        link.address = address
    # Of several runtimes, one that failed decides.
    proofs.sort(key=lambda proof: proof.proved)
    return judged(board, proofs, facts, dict(link.telemetry()) or dict(facts.telemetry))


def connect_and_prove(
    board: Board, link: BoardLink, names: Callable[[AgentFacts], Sequence[str]]
) -> tuple[AgentFacts, list[Proof]]:
    """Connect, and prove what `names` makes of the agent's facts, each in turn.

    Raises:
        FarmError: as `BoardLink.connect`.
    """
    facts = link.connect()
    if board.machine and facts.machine != board.machine:
        raise BoardError(
            f"{board.name}: its agent runs on {facts.machine}, and the board is emulated as "
            f"{board.machine}",
            f"farm boards machine remove {board.machine}\n{install_command(board.machine)}",
        )
    proofs = []
    for name in names(facts):
        try:
            proofs.append(prove(board, link, name, facts))
        except TransientError:
            # The link died, or the runtime did: on a new connection only the latter does again.
            facts = link.connect()
            proofs.append(_prove_again(board, link, name, facts))
    return facts, proofs


def limited(address: Address) -> Address:
    """An address whose deadlines are those of a tiny job, or longer where longer ones are asked."""
    asked = address.deadlines

    def share(tiny_s: float, usual_s: float, asked_s: float) -> float:
        return min(asked_s, max(tiny_s, asked_s * tiny_s / usual_s))

    limits = dataclasses.replace(
        asked,
        open_s=share(PROOF_OPEN_S, Deadlines.open_s, asked.open_s),
        build_s=share(PROOF_BUILD_S, Deadlines.build_s, asked.build_s),
        chunk_s=share(PROOF_RUN_S, Deadlines.chunk_s, asked.chunk_s),
    )
    return dataclasses.replace(address, deadlines=limits, asked=asked)


def judged(
    board: Board,
    proofs: Sequence[Proof],
    facts: AgentFacts,
    telemetry: Mapping[str, Any],
    toolkit: str = "",
) -> Health:
    """What proofs say of a board, the one that decides first."""
    own = proofs[0]
    identity = {**facts.identity, "model": facts.model, "drivers": facts.drivers}
    runtimes = {name: each.version for name, each in facts.runtimes.items()}
    described = describe(board, facts.machine, identity, runtimes, toolkit)
    if own.proved:
        return Health("ready", "", "", tuple(proofs), facts, telemetry, described)
    failed = own.tried and own.runtime in facts.runtimes
    return Health(
        "quarantined" if failed and runtime_of(own.runtime).takes_onnx else "unproved",
        f"{own.runtime}: {own.reason}",
        f"fix it on the board, then `farm boards check {board.name}`",
        tuple(proofs),
        facts,
        telemetry,
        described,
    )


def _names(board: Board, facts: AgentFacts, also: Iterable[str]) -> list[str]:
    found = {name for name in facts.runtimes if name in board_runtimes()} | set(also)
    return [board.runtime.name, *sorted(found - {board.runtime.name})]


def prove(board: Board, link: BoardLink, runtime: str, facts: AgentFacts) -> Proof:
    """Prove one runtime of a connected board by a tiny real inference.

    Raises:
        TransientError: the link failed, or the runtime died: trying again may help.
    """
    installed = facts.runtimes.get(runtime)
    version = installed.version if installed else ""
    if installed is None:
        return Proof(
            runtime=runtime, proved=False, reason="farm's agent cannot run it on this board"
        )
    if installed.problem:
        return Proof(runtime=runtime, proved=False, version=version, reason=installed.problem)
    if not runtime_of(runtime).takes_onnx:
        reason = "it takes only files of its own toolchain; none is at hand to prove it with"
        return Proof(runtime=runtime, proved=False, tried=False, version=version, reason=reason)
    what = smoke_test.artifact(runtime, board.runtime_for(runtime).to_options())
    try:
        link.deploy(what, smoke_test.model())
        model = link.open(what)
        features = _features(link, smoke_test.images())
    except TransientError:
        raise
    except FarmError as error:
        return Proof(runtime=runtime, proved=False, version=version, reason=_reason(board, error))
    return Proof(
        runtime=runtime,
        proved=not (wrong := smoke_test.disagreement(features)),
        version=model.version or version,
        provider=model.provider,
        reason=wrong,
    )


def _prove_again(board: Board, link: BoardLink, runtime: str, facts: AgentFacts) -> Proof:
    try:
        return prove(board, link, runtime, facts)
    except TransientError as error:
        return Proof(runtime=runtime, proved=False, reason=_reason(board, error))


def _features(link: BoardLink, images: Any) -> Any:
    import numpy as np

    rows, failed = [], []
    for block in link.extract(_Rows(images), len(images)):
        rows.append(block.rows)
        failed += block.failures
    if failed:
        raise BoardError(f"{link.address.name}: an image failed: {failed[0][1]}")
    return np.concatenate(rows)


class _Rows:
    def __init__(self, images: Any) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def read(self, start: int, n: int) -> Any:
        return self._images[start : start + n]


def _not_met(address: Address, error: FarmError) -> Health:
    reason = _shortened(address.name, error)
    if isinstance(error, BoardError):
        return Health("quarantined", reason, error.hint)
    if isinstance(error, UserError):
        return Health("unproved", reason, error.hint)
    if isinstance(error, TransientError) and _holder(address):
        return Health("busy", reason, f"`farm boards who {address.name}` tells more")
    return Health("unreachable", reason, error.hint)


def _holder(address: Address) -> Mapping[str, Any]:
    with contextlib.suppress(FarmError), contact(address) as commands:
        return commands.who()
    return {}


def _reason(board: Board, error: FarmError) -> str:
    words = _shortened(board.name, error)
    # Such a hint says what was seen there, and not only what to do.
    return f"{words} ({error.hint})" if error.last_words or error.deadline else words


def _shortened(board: str, error: FarmError) -> str:
    """An error's sentence without the board's name, which stands beside it anyway."""
    return error.message.removeprefix(f"{board}: ")
