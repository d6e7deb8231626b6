"""A long call as a stream: what it says on its way, and last what it returns."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

News = TypeVar("News")
Result = TypeVar("Result")


def following(
    work: Callable[[Callable[[News], None]], Result], name: str
) -> Iterator[News | Result]:
    """Do `work` in a thread of that name; yields what it tells its argument, then its result.

    Raises:
        BaseException: whatever `work` raises.
    """
    said: queue.SimpleQueue[Future[News | Result]] = queue.SimpleQueue()
    ended: Future[News | Result] = Future()

    def say(news: News) -> None:
        future: Future[News | Result] = Future()
        future.set_result(news)
        said.put(future)

    def run() -> None:
        try:
            ended.set_result(work(say))
        except BaseException as error:
            ended.set_exception(error)
        said.put(ended)

    Thread(target=run, name=name, daemon=True).start()
    while (heard := said.get()) is not ended:
        yield heard.result()
    yield ended.result()
