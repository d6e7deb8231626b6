"""Computing stages as Ray tasks: bytes in, bytes out, repeated when a worker dies."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from orchestrator.cluster.environment import worker_environment
from orchestrator.cluster.ray_cluster import RayCluster
from orchestrator.errors import FarmError, TransientError

POLL_S = 0.25

T = TypeVar("T")


class Compute:
    """Runs functions on Ray, on this host. Thread-safe; one call a step.

    Elsewhere the store's files, the toolchains and their environments are missing, and another
    processor would round otherwise: what a run makes must not depend on where Ray puts it.
    """

    def __init__(self, cluster: RayCluster, stop: threading.Event) -> None:
        self._cluster, self._stop = cluster, stop

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call `function(*arguments)` in a Ray worker.

        Raises:
            TransientError: the worker died, or the run is being stopped.
            FarmError: what the function raised.
        """
        self._cluster.wait()
        import ray

        remote = ray.remote(max_retries=0, **self._options(function))(_in_folder)
        given = (self._put(argument) for argument in arguments)
        reference = remote.remote(self._cluster.folder, function, *given)
        while True:
            if self._stop.is_set():
                ray.cancel(reference, force=True)
                raise TransientError("stopped")
            ready, _ = ray.wait([reference], timeout=POLL_S)
            if ready:
                break
        with translated(function.__name__):
            result: T = ray.get(reference)
        return result

    def watch(self, function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
        """Call a generator in a Ray worker and hand on what it yields.

        Raises:
            TransientError: the worker died, or the run is being stopped.
            FarmError: what the function raised.
        """
        self._cluster.wait()
        import ray

        options = self._options(function)
        remote = ray.remote(num_returns="streaming", max_retries=0, **options)(_stream_in_folder)
        given = (self._put(argument) for argument in arguments)
        stream = remote.remote(self._cluster.folder, function, *given)
        while True:
            if self._stop.is_set():
                ray.cancel(stream, force=True)
                raise TransientError("stopped")
            if not ray.wait([stream], timeout=POLL_S)[0]:
                continue
            try:
                reference = next(stream)
            except StopIteration:
                return
            with translated(function.__name__):
                heard = ray.get(reference)
            yield heard

    def each(
        self, function: Callable[[Any], Any], arguments: Iterable[Any], at_a_time: int
    ) -> Iterator[tuple[Any, Any]]:
        """Call a function on each argument in Ray workers; yields argument and result.

        Results come in any order. A task whose worker died is repeated by Ray, so the function must
        depend on its argument alone.

        Raises:
            TransientError: a worker died again and again, or the run is being stopped.
            FarmError: what the function raised.
        """
        self._cluster.wait()
        import ray

        remote = ray.remote(max_retries=2, **self._options(function))(_in_folder)
        waiting = iter(arguments)
        running: dict[Any, Any] = {}
        while True:
            while len(running) < at_a_time and (argument := next(waiting, None)) is not None:
                running[remote.remote(self._cluster.folder, function, argument)] = argument
            if not running:
                return
            ready, _ = ray.wait(list(running), timeout=POLL_S)
            if self._stop.is_set():
                for reference in running:
                    ray.cancel(reference, force=True)
                raise TransientError("stopped")
            for reference in ready:
                with translated(function.__name__):
                    result = ray.get(reference)
                yield running.pop(reference), result

    def _options(self, function: Callable[..., Any]) -> dict[str, Any]:
        own = {"runtime_env": worker_environment()} if self._cluster.shared else {}
        return {"name": function.__name__, "num_cpus": 1, **own, **self._cluster.here()}

    def _put(self, argument: Any) -> Any:
        import ray

        big = getattr(argument, "nbytes", None) or (
            len(argument) if isinstance(argument, bytes) else 0
        )
        return ray.put(argument) if big > 1 << 20 else argument


def _in_folder(folder: str, function: Callable[..., T], *arguments: Any) -> T:
    """Call a function where relative paths mean what they mean in the driver."""
    os.chdir(folder)
    return function(*arguments)


def _stream_in_folder(
    folder: str, function: Callable[..., Iterator[Any]], *arguments: Any
) -> Iterator[Any]:
    os.chdir(folder)
    yield from function(*arguments)


class translated:
    """Ray's exceptions into farm's: what a task raised as itself, a dead worker as transient."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        import ray

        if isinstance(error, ray.exceptions.RayTaskError):
            cause = error.cause
            if isinstance(cause, FarmError):
                raise cause from error
            return
        if isinstance(error, ray.exceptions.RayError):
            raise TransientError(
                f"{self._what}: its worker process died ({type(error).__name__})",
                "farm tries again; the reason is in driver.log of the run",
            ) from error
