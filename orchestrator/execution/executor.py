"""Runs one step: what it needs out of the store, its stage's work, the output back."""

from __future__ import annotations

import errno
import threading
from dataclasses import dataclass

from orchestrator.cluster.interfaces import BoardCalls, Computes, Emits
from orchestrator.errors import TransientError, UserError
from orchestrator.events import Note
from orchestrator.fleet.boards.deadlines import Deadlines
from orchestrator.fleet.transport.deadline import longer
from orchestrator.planning.graph import Step
from orchestrator.stages import extract
from orchestrator.stages.registry import STAGES
from orchestrator.stages.stage import Stage
from orchestrator.stages.stage_output import StageOutput
from orchestrator.stages.work import Planned, Services, Work
from orchestrator.store.artifacts import BuildInProgress, CorruptArtifact, Held
from orchestrator.store.contention_lock import working_in

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Outcome:
    """A finished step. `content` is empty for deploy, whose output is not in the store.

    `units` is what the step's own board did of it, None for all.
    """

    content: str
    cached: bool = False
    summary: str = ""
    verdict: str = ""
    units: int | None = None


class Executor:
    """Runs steps, each in a thread of the driver's. Thread-safe.

    Attributes:
        services: what all steps of the run share.
    """

    def __init__(
        self,
        plan: Planned,
        compute: Computes,
        boards: BoardCalls,
        reporter: Emits,
        stop: threading.Event,
        owner: str,
        queue_s: float = Deadlines.queue_s,
    ) -> None:
        self._queue_s = queue_s
        self.services = Services(plan, compute, boards, reporter, stop, owner)

    @property
    def heat(self) -> dict[str, float]:
        """Each board's latest temperature, degrees Celsius."""
        return self.services.heat

    def advanced(self, step_id: str) -> bool:
        """Whether the step's latest attempt brought something that is kept."""
        return step_id in self.services.progressed

    def run(self, step: Step, key: str) -> Outcome:
        """Make a step's output and keep it.

        Raises:
            FarmError: the step failed; its class says who must act.
        """
        self.services.progressed.discard(step.id)
        store = self.services.plan.store
        try:
            return self._run(STAGES[step.stage], Work(step, key, self.services))
        except BuildInProgress as error:
            hint = f"{error.hint}; {longer('queue_s', self._queue_s)}"
            raise BuildInProgress(f"{step.id}: {error.message} (queue_s)", hint) from error
        except CorruptArtifact as error:
            if error.folder is not None:
                store.drop_damaged(error.folder)
            raise
        except (OSError, TransientError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in FULL:
                raise
            # Neither the board's fault nor fixed by another attempt.
            raise UserError(
                f"{step.id}: no room left in {store.root} ({cause.strerror})",
                "make room there, then `farm resume`; what is finished is kept",
            ) from error

    def help(self, step: Step, board: str) -> None:
        """Join an extraction that another board leads, to its end; see `extract.help_with`."""
        key = self.services.plan.resolution.keys.get(step.id, "")
        extract.help_with(Work(step, key, self.services), board)

    def close(self) -> None:
        """Stop the processes that make images."""
        self.services.rendering.close()

    def _run(self, stage: Stage, work: Work) -> Outcome:
        if not stage.facts.stored:
            output = stage.run(work)
            return Outcome("", summary=stage.summary(_facts(output)))
        owner = self.services.owner
        with work.store.making(stage.name, work.key, owner, self._queue_s) as found:
            if found is not None:
                return Outcome(found.content, cached=True)
            held = self._output(stage, work)
        facts = held.manifest["facts"]
        shares = held.manifest["provenance"].get("rows_by_board")
        units = None if shares is None else int(shares.get(work.step.board, 1))
        verdict = str(facts.get("verdict", ""))
        return Outcome(held.content, summary=stage.summary(facts), verdict=verdict, units=units)

    def _output(self, stage: Stage, work: Work) -> Held:
        """A stage's output, made in its board's contention domain and kept."""
        step, services = work.step, self.services
        domain, alone = services.plan.domains()[step.board], stage.facts.alone

        def waiting() -> None:
            how = "to be alone on" if alone else "for a measurement to end on"
            text = f"{step.id} waits {how} {domain}: another run works there"
            services.reporter.emit(Note(level="warning", board=step.board, message=text))

        with working_in(domain, alone=alone, stop=services.stop, waiting=waiting):
            output = stage.run(work)
            return output if isinstance(output, Held) else work.commit(output)


def _facts(output: StageOutput | Held) -> dict[str, object]:
    return dict(output.manifest["facts"] if isinstance(output, Held) else output.facts)
