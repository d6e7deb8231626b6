"""A plan carried out by this process alone: no board, no Ray, no clock.

What a real board would run is replaced by the twin of it, as on an emulated board, and steps and
keys are the same: what is made here is found by a later run, and the other way round. Only times
cannot be had this way, so nothing is measured.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.cluster.interfaces import BoardMessage, Deployed, ImageFile
from orchestrator.data.features import Features
from orchestrator.errors import ToolchainError, UserError
from orchestrator.events import Event, StepStarted
from orchestrator.execution.executor import Executor
from orchestrator.fleet.boards.board import Artifact, preprocessing_of
from orchestrator.hashing import sha256_bytes
from orchestrator.planning.facts import BoardFacts, board_facts
from orchestrator.planning.resolving import needed
from orchestrator.preflight.planner import Plan, make_plan
from orchestrator.request import Request
from orchestrator.specs.inventory import THIS_HOST, Board, RuntimeOptions
from orchestrator.specs.kinds import load_kinds
from orchestrator.specs.transports import EmulatedTransportSpec, LocalTransportSpec
from orchestrator.store.places import check_writable

ROWS = 64  # images a thread takes at a time


def host_plan(request: Request) -> Plan:
    """The plan of a request with a substitute on this host for every real board.

    Raises:
        UserError: something in the files is wrong.
    """
    return make_plan(request, places=substitute, facts=host_facts())


def substitute(board: Board) -> Board:
    """An emulated board in the place of one that is real, simulated or of another processor;
    others as they are."""
    here = isinstance(board.transport, LocalTransportSpec) and board.runtime.name == "onnxruntime"
    if here or (board.emulated and not board.machine):
        return board
    if board.machine:
        # This process computes on this host's processor, and its rows must say so.
        own = load_kinds()[board.kind].hardware
        return board.substitute(
            transport=EmulatedTransportSpec(), hardware=own, python=sys.executable
        )
    return board.substitute(
        transport=EmulatedTransportSpec(),
        runtime=RuntimeOptions(name="onnxruntime", faithful=None),
        contention_domain=THIS_HOST,
        python=sys.executable,
    )


def host_facts() -> BoardFacts:
    """What an agent on this host would say of it."""
    from orchestrator.agents.host.facts import describe
    from orchestrator.agents.measurement.telemetry import Telemetry

    return board_facts(describe(Telemetry()))


def run_here(plan: Plan, targets: Iterable[str], emit: Callable[[Event], None]) -> None:
    """Run what is missing until the store holds `targets`.

    Args:
        plan: from `host_plan`; its resolution is kept up.
        targets: ids of steps; none of them `measure`.
        emit: told of steps and their progress.

    Raises:
        FarmError: a step failed.
    """
    wanted = tuple(targets)
    check_writable(Path(plan.request.state), "--state")
    stop = threading.Event()
    with HostBoards() as boards:
        executor = Executor(
            plan, HostCompute(), boards, HostReporter(emit), stop, f"prediction pid {os.getpid()}"
        )
        deployed: set[str] = set()
        try:
            while todo := _left(plan, wanted, deployed):
                step = plan.graph.steps[todo[0]]
                emit(StepStarted(step=step.id, stage=step.stage, executed_by=step.executed_by))
                executor.run(step, plan.resolution.keys[step.id])
                if step.facts.prepares_board:
                    deployed.add(step.id)
                plan.resolve()
        finally:
            stop.set()
            executor.close()


def _left(plan: Plan, targets: tuple[str, ...], deployed: set[str]) -> list[str]:
    todo = needed(plan.graph, plan.resolution, targets)
    return [step_id for step_id in todo if step_id not in deployed]


def encode(
    model: bytes,
    images: Path,
    preprocessing: Mapping[str, Any],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """Features of all images of a file, as a faithful emulated board makes them.

    Args:
        model: an ONNX file.
        images: `.npy`, uint8 (n, height, width, 3).
        preprocessing: the model manifest's `input`.
        progress: told (images done, all).

    Returns:
        float32 (n, embedding).
    """
    sha256 = sha256_bytes(model)
    options = {"providers": ["CPUExecutionProvider"], "intra_op_threads": 1, "faithful": True}
    artifact = Artifact(f"{sha256[:32]}.onnx", sha256, "onnxruntime", options, preprocessing)
    count = len(np.load(images, mmap_mode="r", allow_pickle=False))
    every = ImageFile(str(images), ((0, count),))
    rows: list[NDArray[np.float32]] = []
    with HostBoards() as boards:
        list(boards.deploy("", artifact, model))
        for block in boards.blocks(artifact, every):
            rows.append(block.rows)
            progress(block.stop, count)
    return np.concatenate(rows)


class HostCompute:
    """Computing stages, run here and now."""

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call it."""
        return function(*arguments)

    def watch(self, function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
        """Call a generator."""
        return function(*arguments)

    def each(
        self, function: Callable[[Any], Any], arguments: Iterable[Any], at_a_time: int
    ) -> Iterator[tuple[Any, Any]]:
        """Call a function on each argument."""
        return ((argument, function(argument)) for argument in arguments)


class HostReporter:
    """Events go to a listener."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit

    def emit(self, event: Event) -> None:
        """Hand an event on."""
        self._emit(event)


class HostBoards:
    """What boards are asked for, done by the agent's own code in this process."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="farm-")

    def __enter__(self) -> HostBoards:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def deploy(self, board: str, artifact: Artifact, data: bytes) -> Iterator[BoardMessage]:
        """See `BoardCalls.deploy`."""
        path = self._path(artifact)
        there = path.exists()
        path.write_bytes(data)
        yield Deployed(there)

    def measure(
        self,
        board: str,
        artifact: Artifact,
        images: ImageFile,
        policy: Mapping[str, Any],
        sensors: Mapping[str, Sequence[str]],
    ) -> Iterator[BoardMessage]:
        """Nothing is measured here.

        Raises:
            UserError: always.
        """
        raise UserError(f"{artifact.name}: a time can be had on a board only", "`farm run` has it")

    def extract(
        self,
        board: str,
        artifact: Artifact,
        images: ImageFile,
        chunk: int,
        works_s: float = 0.0,
    ) -> Iterator[BoardMessage]:
        """See `BoardCalls.extract`."""
        return self.blocks(artifact, images)

    def blocks(self, artifact: Artifact, images: ImageFile) -> Iterator[Features]:
        """Features of images, in order.

        Raises:
            UserError, ToolchainError: the runtime refuses the artifact, or an image.
        """
        from orchestrator.agents.protocol.errors import AgentError

        data = np.load(images.path, mmap_mode="r", allow_pickle=False)
        blocks = [
            (start, min(start + ROWS, stop))
            for first, stop in images.ranges
            for start in range(first, stop, ROWS)
        ]
        local = threading.local()

        def work(start: int, stop: int) -> Features:
            if not hasattr(local, "model"):
                local.model = self._open(artifact)
            preprocess, runtime = local.model
            features = [runtime.run(preprocess(image.tobytes()))[0] for image in data[start:stop]]
            rows = np.stack([np.frombuffer(row, "<f4") for row in features])
            return Features(rows, np.zeros(len(rows), bool), start=start)

        pool = ThreadPoolExecutor(max(1, min(4, len(os.sched_getaffinity(0)))))
        try:
            yield from pool.map(lambda block: work(*block), blocks)
        except AgentError as error:
            kind = UserError if error.kind == "user" else ToolchainError
            raise kind(f"{artifact.name} on this host: {error}") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _open(self, artifact: Artifact) -> tuple[Any, Any]:
        from orchestrator.agents.runtimes import open_runtime
        from orchestrator.agents.session.preprocess import Preprocessor

        preprocess = Preprocessor(preprocessing_of(artifact).to_meta())
        path = str(self._path(artifact))
        return preprocess, open_runtime(artifact.runtime, path, artifact.options, preprocess)

    def _path(self, artifact: Artifact) -> Path:
        return Path(self._folder.name, artifact.name)
