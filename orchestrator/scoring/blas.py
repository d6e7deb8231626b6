"""Two workers with one BLAS thread each: the arrangement that the scan is measured with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

Job = TypeVar("Job")


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to one thread in this process while the block runs."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


def run_jobs(
    jobs: Iterable[Job],
    work: Callable[[Job], None],
    workers: int,
    done: Callable[[Job], None] | None = None,
) -> None:
    """Run ``work`` on every job with ``workers`` threads; ``done`` is called by this thread.

    The first failure (or Ctrl-C here) drops the jobs not yet begun and is raised.
    """
    waiting = iter(jobs)
    with ThreadPoolExecutor(workers, thread_name_prefix="scoring") as pool:
        running: dict[Future[None], Job] = {}

        def feed() -> None:
            while len(running) < 2 * workers:
                job = next(waiting, None)
                if job is None:
                    return
                running[pool.submit(work, job)] = job

        try:
            feed()
            while running:
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    job = running.pop(future)
                    future.result()
                    if done is not None:
                        done(job)
                feed()
        finally:
            for future in running:
                future.cancel()
