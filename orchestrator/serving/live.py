"""A run's page kept up to date: drawn once for all who look, sent to each as server-sent events.

Nobody's slowness reaches the run or another viewer: there is no queue. Whoever is ready for more
gets what changed since the number of the last event that reached them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool

from orchestrator.serving.catalogue import Catalogue, Entry
from orchestrator.serving.following import Follower
from orchestrator.serving.pages.run import run_parts

LOOK_S = 0.25
DRAW_S = 0.5
ALIVE_S = 15.0
STILL_HERE = ": still here\n\n"


class Channel:
    """One run, for all who look at it. Every method is called from the server's loop.

    Attributes:
        viewers: how many look at this moment.
    """

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.viewers = 0
        self._parts: dict[str, tuple[int, str]] = {}
        self._drawn = 0
        self._fresh = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._messages: dict[int, tuple[int, str]] = {}

    async def view(self) -> tuple[int, dict[str, str]]:
        """All parts as they are now, and the number that they are of."""
        await self._look()
        return self._drawn, {name: text for name, (_, text) in self._parts.items()}

    async def after(self, number: int, patience_s: float) -> tuple[int, str]:
        """What changed after a number, as a message, once there is something.

        Returns:
            The new number and the message; the same number and an empty text when nothing came.
        """
        if self._task is None or self._task.done():  # the last viewer had gone
            self._task = asyncio.create_task(self._watch())
        if self._drawn <= number:
            try:
                async with asyncio.timeout(patience_s):
                    async with self._fresh:
                        await self._fresh.wait_for(lambda: self._drawn > number)
            except TimeoutError:
                return number, ""
        found = self._messages.get(number)
        if found is None or found[0] != self._drawn:
            found = self._messages[number] = (self._drawn, self._message(number))
        return found

    def over_at(self, number: int) -> bool:
        """Whether the run has ended, and whoever has what was drawn until a number has its end."""
        finished = self.follower.state.finished is not None
        return finished and number >= self._drawn >= self.follower.events

    def _message(self, number: int) -> str:
        parts = {name: text for name, (at, text) in self._parts.items() if at > number}
        return f"id: {self._drawn}\ndata: {json.dumps(parts, separators=(',', ':'))}\n\n"

    async def _watch(self) -> None:
        """Draw what changes, as long as somebody looks."""
        drawn_at = 0.0
        while self.viewers:
            now = time.monotonic()
            if now - drawn_at >= DRAW_S and await self._look():
                drawn_at = now
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> bool:
        """Take in what is new of the run; returns whether there was anything."""
        before = self._drawn
        number, parts = await run_in_threadpool(self._draw, before)
        if number <= self._drawn:
            return False
        async with self._fresh:
            changed = {n: t for n, t in parts.items() if self._parts.get(n, (0, None))[1] != t}
            self._parts |= {name: (number, text) for name, text in changed.items()}
            self._drawn = number
            self._messages.clear()
            self._fresh.notify_all()
        return True

    def _draw(self, after: int) -> tuple[int, dict[str, str]]:
        self.follower.read()
        with self.follower.lock:
            if self.follower.events <= after and after:
                return after, {}
            return self.follower.events, run_parts(self.follower, after)


class Channels:
    """Channels of the runs that somebody looks at."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._found: dict[str, Channel] = {}
        self._lock = asyncio.Lock()

    async def of(self, entry: Entry) -> Channel:
        """The channel of a run."""
        async with self._lock:
            follower = await run_in_threadpool(self.catalogue.follower, entry)
            channel = self._found.get(entry.name)
            if channel is None or channel.follower is not follower:
                unseen = [name for name, each in self._found.items() if not each.viewers]
                for name in unseen[16:]:
                    del self._found[name]
                channel = self._found[entry.name] = Channel(follower)
            return channel


async def messages(
    channel: Channel | None, since: int, follows: Callable[[], str] | None, shown: str
) -> AsyncIterator[str]:
    """Server-sent events for one viewer, until the run is over.

    Args:
        channel: of the run; None where there is none yet.
        since: the number of the last event that the viewer's page has.
        follows: the name of the run to show now, of a page that goes over to the next run.
        shown: the name of the run that the page shows.
    """
    if channel is None:
        async for text in _next_run(follows, shown):
            yield text
        return
    channel.viewers += 1
    try:
        while not channel.over_at(since):
            since, text = await channel.after(since, ALIVE_S)
            yield text or STILL_HERE
    finally:
        channel.viewers -= 1
    yield "event: over\ndata: {}\n\n"
    async for text in _next_run(follows, shown):
        yield text


async def _next_run(follows: Callable[[], str] | None, shown: str) -> AsyncIterator[str]:
    """Wait for another run to show."""
    if follows is None:
        return
    quiet = 0.0
    while True:
        if await run_in_threadpool(follows) != shown:
            yield "event: reload\ndata: {}\n\n"
            return
        await asyncio.sleep(1.0)
        quiet += 1.0
        if quiet >= ALIVE_S:
            quiet = 0.0
            yield STILL_HERE
