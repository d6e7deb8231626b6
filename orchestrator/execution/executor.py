"""Runs one step: what it needs out of the store, the work on Ray or a board, the output back."""

from __future__ import annotations

import contextlib
import errno
import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from orchestrator.cluster import host_actor
from orchestrator.cluster.interfaces import Calls, Computes, Emits
from orchestrator.errors import BoardError, FarmError, ToolchainError, TransientError, UserError
from orchestrator.events import Note, StepProgress, Telemetry
from orchestrator.execution import interleaved
from orchestrator.execution.deployable import deployable
from orchestrator.execution.extraction import Extracting
from orchestrator.execution.split_calibration import calibrated
from orchestrator.fleet.boards.board import Artifact, Deadlines
from orchestrator.fleet.transport.deadline import longer
from orchestrator.images.workers import Rendering
from orchestrator.planning import identity
from orchestrator.planning.graph import Step
from orchestrator.preflight.planner import Plan
from orchestrator.specs.kinds import load_kinds
from orchestrator.stages import (
    accuracy_helpers,
    calibrate,
    convert,
    images,
    measure,
    parity,
    quantize,
    score,
    search_tasks,
)
from orchestrator.stages.raw_times import pace_mhz
from orchestrator.stages.stage_output import Made
from orchestrator.store.artifacts import BuildInProgress, CorruptArtifact, Held
from orchestrator.store.contention_lock import working_in
from orchestrator.version import __version__

MEASURED_IMAGES = 16
PARTS_AT_A_TIME = 2
MADE_FOR = ("target", "simulate", "preprocessing")
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


class Executor(Extracting):
    """Runs steps, each in a thread of the driver's. Thread-safe."""

    def __init__(
        self,
        plan: Plan,
        compute: Computes,
        boards: Calls,
        reporter: Emits,
        stop: threading.Event,
        owner: str,
        queue_s: float = Deadlines.queue_s,
    ) -> None:
        super().__init__()
        self._queue_s = queue_s
        self._plan, self._compute, self._boards = plan, compute, boards
        self._reporter, self._stop, self._owner = reporter, stop, owner
        self._rendering = Rendering()
        self._advanced: set[str] = set()
        self.heat: dict[str, float] = {}  # each board's latest temperature, degrees Celsius

    def advanced(self, step_id: str) -> bool:
        """Whether the step's latest attempt brought something that is kept."""
        return step_id in self._advanced

    def run(self, step: Step, key: str) -> Outcome:
        """Make a step's output and keep it.

        Raises:
            FarmError: the step failed; its class says who must act.
        """
        self._advanced.discard(step.id)
        try:
            return self._run(step, key)
        except BuildInProgress as error:
            hint = f"{error.hint}; {longer('queue_s', self._queue_s)}"
            raise BuildInProgress(f"{step.id}: {error.message} (queue_s)", hint) from error
        except CorruptArtifact as error:
            if error.folder is not None:
                self._plan.store.drop_damaged(error.folder)
            raise
        except (OSError, TransientError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError) or cause.errno not in FULL:
                raise
            # Neither the board's fault nor fixed by another attempt.
            raise UserError(
                f"{step.id}: no room left in {self._plan.store.root} ({cause.strerror})",
                "make room there, then `farm resume`; what is finished is kept",
            ) from error

    def _run(self, step: Step, key: str) -> Outcome:
        if step.stage == "deploy":
            return self._deploy(step)
        store = self._plan.store
        with store.making(step.stage, key, self._owner, self._queue_s) as made:
            if made is not None:
                return Outcome(made.content, cached=True)
            work = getattr(self, f"_{step.stage}")
            domain, alone = self._plan.domains()[step.board], step.stage == "measure"

            def waiting() -> None:
                how = "to be alone on" if alone else "for a measurement to end on"
                text = f"{step.id} waits {how} {domain}: another run works there"
                self._reporter.emit(Note(level="warning", board=step.board, message=text))

            with working_in(domain, alone=alone, stop=self._stop, waiting=waiting):
                held: Held = work(step, key)
        verdict = str(held.manifest["facts"].get("verdict", ""))
        shares = held.manifest["provenance"].get("rows_by_board")
        units = None if shares is None else int(shares.get(step.board, 1))
        return Outcome(held.content, summary=_summary(held), verdict=verdict, units=units)

    def close(self) -> None:
        """Stop the processes that make images."""
        self._rendering.close()

    def _images(self, step: Step, key: str) -> Held:
        store = self._plan.store
        rows = self._plan.rows[step.extra["model"], step.params["role"]]
        try:
            with self._rendering.processes() as pool:
                hashes = images.make_images(
                    rows,
                    store.part("images", key),
                    pool,
                    lambda done: self._progress(step, done, len(rows), "images"),
                    self._stop.is_set,
                )
        except InterruptedError:
            raise TransientError("stopped") from None
        except BrokenProcessPool as error:
            self.close()
            raise TransientError(f"{step.id}: a process that makes images died") from error
        return store.commit(
            "images",
            key,
            provenance={"farm": __version__, "fingerprint": step.params["fingerprint"]},
            facts={"count": len(rows)},
            hashes=hashes,
            apart=images.APART,
        )

    def _calibrate(self, step: Step, key: str) -> Held:
        pictures = self._input(step, "images")
        table, workers = calibrated(
            self._compute,
            self._model(step),
            np.load(pictures.verify(images.FILE), mmap_mode="r"),
            step.params,
            lambda done, total: self._progress(step, done, total, "images"),
        )
        count, content = self._count(pictures), pictures.content
        made = calibrate.made(table, count, step.params["calibrator"], content, workers)
        return self._commit(step, key, made)

    def _quantize(self, step: Step, key: str) -> Held:
        table = self._input(step, "table").read(calibrate.FILE)
        sample = None
        if "images" in step.inputs:
            pictures = self._input(step, "images")
            sample = np.load(pictures.verify(images.FILE), mmap_mode="r")[: accuracy_helpers.IMAGES]
        made = self._compute.run(
            quantize.quantize,
            self._model(step),
            table,
            step.params["scheme"],
            *self._tools(step),
            sample,
            step.params.get("preprocessing"),
        )
        return self._commit(step, key, made)

    def _convert(self, step: Step, key: str) -> Held:
        if "quantized" in step.inputs:
            data = self._input(step, "quantized").read(quantize.FILE)
            made = self._compute.run(convert.convert, data, *self._tools(step))
        else:
            pictures = self._input(step, "images") if "images" in step.inputs else None
            made = self._compute.run(
                convert.convert_model,
                self._model(step),
                step.params["scheme"],
                *self._tools(step),
                {k: step.params[k] for k in MADE_FOR} if "target" in step.params else None,
                np.load(pictures.verify(images.FILE)) if pictures else None,
            )
        return self._commit(step, key, made)

    def _tools(self, step: Step) -> tuple[str, bool, dict[str, Any] | None]:
        """A step's toolchain as the stages take it: name, whether its twin, options."""
        name = step.params["toolchain"]
        return name, step.params["twin"], self._plan.tools.get(name)

    def _deploy(self, step: Step) -> Outcome:
        held, artifact = self._artifact(step)
        data = held.read(convert.FILE)
        about: dict[str, Any] = {}
        for news in self._boards.call(step.board, "deploy", artifact, data):
            if isinstance(news, host_actor.Progress | host_actor.Building | host_actor.Opened):
                self._heard(step, news, about, "bytes")
            else:
                there = bool(news)
        summary = "already there" if there else f"{len(data):,} bytes, verified"
        built = about.get("opened", {}).get("facts", {})
        if built.get("built_now") is True:
            summary += f", engine built in {float(built.get('build_s') or 0):.0f} s"
        return Outcome("", summary=summary)

    def _measure(self, step: Step, key: str) -> Held:
        policy = step.params["policy"]
        mine = interleaved.Series(step, key)
        with contextlib.ExitStack() as held:
            others = self._siblings(step, held) if policy["rounds"] > 1 else []
            for _ in range(policy["rounds"]):
                self._turn(mine, mine)
                for other in list(others):
                    try:
                        self._turn(other, mine)
                    except (UserError, ToolchainError, BoardError):
                        others.remove(other)  # its own step will say so
            for series in [*others, mine]:
                made = self._measured(series, [each.step.id for each in [mine, *others]])
        return made

    def _siblings(self, step: Step, held: contextlib.ExitStack) -> list[interleaved.Series]:
        """The other encoders that this board has yet to be measured with, deployed; all held."""
        plan, found = self._plan, []
        for other in list(plan.graph.steps.values()):
            key = plan.resolution.keys.get(other.id)
            if (
                key is None
                or other.id == step.id
                or (other.stage, other.board) != ("measure", step.board)
                or other.id not in plan.resolution.todo
            ):
                continue
            try:
                self._input(other, "images")
                made = held.enter_context(plan.store.making("measure", key, self._owner, 0.5))
                if made is None:
                    self._deploy(other)
                    found.append(interleaved.Series(other, key))
            except FarmError:
                continue  # not ready, or another run's: it is measured by itself
        return found

    def _turn(self, series: interleaved.Series, shown: interleaved.Series) -> None:
        """One round of an encoder; progress is shown as that of the step under way."""
        step = series.step
        pictures = self._input(step, "images")
        _, artifact = self._artifact(step)
        count = min(MEASURED_IMAGES, self._count(pictures))
        sample = host_actor.ImageFile(str(pictures.verify(images.FILE)), ((0, count),))
        policy = interleaved.share(step.params["policy"])
        turn = interleaved.Round()
        calls = self._boards.call(
            step.board,
            "measure",
            artifact,
            sample,
            policy,
            step.extra["sensors"],
            works_s=float(policy["max_duration_s"]),
        )
        for news in calls:
            if isinstance(news, host_actor.Times):
                turn.times(news)
            else:
                if isinstance(news, host_actor.Sensors) and news.within:
                    turn.samples.append(dict(news.values))
                self._heard(shown.step, news, series.about, "inferences")
        turn.facts = series.about.get("measured", {})
        series.rounds.append(turn)

    def _measured(self, series: interleaved.Series, turns: list[str]) -> Held:
        step, policy = series.step, series.step.params["policy"]
        times, conditions = interleaved.merged(series.rounds)
        about = series.about | {"measured": dict(conditions.facts), "turns": turns}
        judged = self._judged(step)
        made = measure.pack(
            times,
            replace(
                conditions,
                stranger=judged.stranger,
                untold=judged.unseen,
                emulator=judged.emulator,
            ),
            policy,
            str(step.executed_by),
            self._provenance(step, about) | {"board": step.params["board"], "policy": policy},
        )
        return self._commit(step, series.key, made)

    def _judged(self, step: Step) -> identity.Judgement:
        emulator = self._plan.emulator(step.board)
        facts = self._plan.facts.get(step.board)
        if emulator or facts is None or step.executed_by != "board":
            return identity.Judgement(emulator=emulator)
        seen = identity.Seen.by_agent(facts.machine, facts.identity)
        return identity.judge(load_kinds()[self._plan.boards[step.board].kind], seen)

    def _parity(self, step: Step, key: str) -> Held:
        pictures = self._input(step, "images")
        count = min(parity.IMAGES, self._count(pictures))
        ids = images.read_rows(pictures.read(images.ROWS))
        features = score.kept(self._input(step, "features").folder, ids)
        quantized = None
        if "quantized" in step.inputs:
            quantized = self._input(step, "quantized").read(convert.FILE)
        made = self._compute.run(
            parity.parity,
            self._model(step),
            quantized,
            np.load(pictures.verify(images.FILE), mmap_mode="r")[:count],
            np.array(features.rows[:count]),
            step.params["preprocessing"],
            step.params["executed_by"],
            step.params["same_file"],
            self._simulator(step),
            step.params.get("emulator", False),
        )
        return self._commit(step, key, made)

    def _simulator(self, step: Step) -> parity.Simulator | None:
        if "simulator" not in step.inputs:
            return None
        name, _, options = self._tools(self._plan.graph.steps[step.inputs["simulator"]])
        return parity.Simulator(name, options, self._input(step, "simulator").read(convert.FILE))

    def _score(self, step: Step, key: str) -> Held:
        ids = {
            role: images.read_rows(self._input(step, f"{role}_images").read(images.ROWS))
            for role in ("gallery", "probe")
        }
        gallery, probe = (self._input(step, role).folder for role in ("gallery", "probe"))
        sides = score.kept(gallery, ids["gallery"]), score.kept(probe, ids["probe"])
        policy = step.params["scoring"]
        if search_tasks.too_big(*sides):
            news = search_tasks.score_sharded(*sides, policy, self._in_parts)
        else:
            # Ray's head is on this machine: its worker maps the store's files, nothing is copied.
            news = self._compute.watch(
                score.score_kept,
                str(gallery),
                str(probe),
                ids["gallery"],
                ids["probe"],
                policy,
            )
        for heard in news:
            if isinstance(heard, score.Scanned):
                self._progress(step, heard.done, heard.total, "pairs")
            else:
                made = heard
        return self._commit(step, key, made)

    def _in_parts(
        self, function: Callable[[Any], Any], tasks: Iterable[Any]
    ) -> Iterator[tuple[Any, Any]]:
        return self._compute.each(function, tasks, PARTS_AT_A_TIME)

    def _compare(self, step: Step, key: str) -> Held:
        made = self._compute.run(
            score.compare,
            self._input(step, "reference").read(score.SEARCHES),
            self._input(step, "cell").read(score.SEARCHES),
            step.params["scoring"],
        )
        return self._commit(step, key, made)

    def _heard(
        self, step: Step, news: Any, about: dict[str, Any], unit: str, board: str = ""
    ) -> None:
        board = board or step.board
        if isinstance(news, host_actor.Progress):
            self._progress(step, news.done, news.total, unit, news.note)
        elif isinstance(news, host_actor.Building):
            note = f"{news.doing}: {news.seconds:.0f} s of at most {news.limit_s:.0f} s;"
            self._progress(step, 0, 0, unit, note)
        elif isinstance(news, host_actor.Opened):
            about["opened"] = dict(news.facts)
        elif isinstance(news, host_actor.Measured):
            about["measured"] = dict(news.facts)
        elif isinstance(news, host_actor.Sensors) and news.values:
            about["sensors"] = dict(news.values)
            temperature = news.values.get("temperature_c")
            clock = pace_mhz(news.values)
            if isinstance(temperature, (int, float)):
                self.heat[board] = float(temperature)
            if temperature is not None or clock is not None:
                self._reporter.emit(
                    Telemetry(board=board, temperature_c=temperature, clock_mhz=clock)
                )

    def _provenance(self, step: Step, about: Mapping[str, Any]) -> dict[str, Any]:
        facts = self._plan.facts.get(step.board)
        return {
            "farm": __version__,
            "executed_by": step.executed_by,
            "board_name": step.board,
            "board_facts": facts.to_json() if facts else {},
            **about,
        }

    def _artifact(self, step: Step) -> tuple[Held, Artifact]:
        held = self._input(step, "artifact")
        meta = self._plan.models[step.extra["model"]].input_meta
        board = self._plan.boards[step.board]
        return held, deployable(held, board, step.extra["runtime"], meta)

    def _input(self, step: Step, role: str) -> Held:
        source = self._plan.graph.steps[step.inputs[role]]
        key = self._plan.resolution.keys[source.id]
        held = self._plan.store.lookup(source.stage, key)
        if held is None:
            raise CorruptArtifact(
                f"{source.id}: gone from the store while the run was going",
                "`farm resume` makes it again",
            )
        return held

    def _count(self, pictures: Held) -> int:
        return int(pictures.manifest["facts"]["count"])

    def _model(self, step: Step) -> bytes:
        model = self._plan.models[step.extra["model"]]
        return (model.quantized_path if step.extra.get("given") else model.path).read_bytes()

    def _commit(self, step: Step, key: str, made: Made) -> Held:
        origin = {"farm": __version__, "python": platform.python_version()}
        return self._plan.store.commit(
            step.stage,
            key,
            made.files,
            provenance=origin | dict(made.provenance),
            facts=made.facts,
        )

    def _progress(self, step: Step, done: int, total: int, unit: str, note: str = "") -> None:
        self._reporter.emit(
            StepProgress(
                step=step.id, board=step.board, done=done, total=total, unit=unit, note=note
            )
        )


def _summary(held: Held) -> str:
    facts = held.manifest["facts"]
    if held.manifest["stage"] == "measure" and facts["verdict"] == "EMULATED":
        return "this host's time, not the board's: only results.json has it"
    if held.manifest["stage"] == "measure":
        why = f" ({facts['reason']})" if facts["verdict"] == "SUSPECT" else ""
        return f"p50 {facts['device']['p50_ms']:.2f} ms, {facts['verdict']}{why}"
    if held.manifest["stage"] == "score":
        return f"Rank-1 {100 * facts['rank1']['value']:.2f} %"
    if held.manifest["stage"] == "parity":
        return parity.summary(facts)
    if facts.get("helpers"):
        return f"cosine to float32: {accuracy_helpers.words(facts['helpers'])}"
    if "count" in facts:
        return f"{facts['count']:,} images"
    if "rows" in facts:
        return f"{facts['rows']:,} x {facts['dim']}"
    return f"{facts['bytes']:,} bytes" if "bytes" in facts else ""
