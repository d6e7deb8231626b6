"""Images on their way to the runtime: received, prepared ahead, taken one by one."""

import threading
from collections import deque
from typing import Callable, Deque, Optional

from ..protocol.errors import TRANSIENT, USER, AgentError
from ..protocol.wire import Buffer, Frame, WireError, number
from ..storage.image_cache import ImageCache

# Prepared inputs that wait for the runtime; each may be four times the size of its image.
AHEAD = 3

Prepare = Callable[[bytes], Buffer]


class Item(object):
    """One image. `index` counts within the job. `last` says that features are sent after it;
    `credit` is what its frame took of the window, set on the frame's last image."""

    __slots__ = ("credit", "data", "index", "last")

    def __init__(self, index: int, data: Buffer, credit: int, last: bool) -> None:
        self.index = index
        self.data = data
        self.credit = credit
        self.last = last


class Pipeline(object):
    """Between the reader thread (`put`, `cancel`), a preparing thread and the main thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._raw: Deque[Item] = deque()
        self._ready: Deque[Item] = deque()
        self._job = 0
        self._next = 0
        self._count = 0
        self._image_bytes = 0
        self._cache: Optional[ImageCache] = None
        self._cancelled = 0
        self._broken: Optional[BaseException] = None
        self._thread: Optional[threading.Thread] = None

    def begin(
        self,
        job: int,
        count: int,
        image_bytes: int,
        prepare: Optional[Prepare],
        cache: Optional[ImageCache] = None,
    ) -> None:
        """Expect `count` images of a job; `prepare` makes inputs of them ahead of time.

        Those that `cache` holds are read from there and not expected.
        """
        with self._changed:
            self._job, self._count, self._image_bytes = job, count, image_bytes
            self._cache = cache
            self._next = 0 if cache is None else cache.next_missing(0)
            self._broken = None
            self._raw.clear()
            self._ready.clear()
        if prepare is not None:
            self._thread = threading.Thread(target=self._prepare_all, args=(job, prepare, cache))
            self._thread.daemon = True
            self._thread.start()

    def end(self) -> None:
        """The job is over: drop what is left."""
        with self._changed:
            self._job = 0
            self._raw.clear()
            self._ready.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._cache is not None:
            self._cache.close()
            self._cache = None

    def put(self, frame: Frame) -> None:
        """Images of a frame; those of another job are dropped."""
        with self._changed:
            if frame.job != self._job:
                return
            try:
                start = number(frame.meta, "start", 0, self._count)
                count = number(frame.meta, "count", 1, self._count)
                cache = self._cache
                end = self._count if cache is None else min(self._count, cache.next_held(start))
                if start != self._next or start + count > end:
                    raise WireError("images %d+%d, expected %d on" % (start, count, self._next))
                if len(frame.payload) != count * self._image_bytes:
                    raise AgentError(
                        USER,
                        "%d images in %d bytes, expected %d bytes each"
                        % (count, len(frame.payload), self._image_bytes),
                    )
            except (AgentError, WireError) as error:
                self._broken = error
                self._changed.notify_all()
                return
            self._next = start + count if cache is None else cache.next_missing(start + count)
            size = self._image_bytes
            for row in range(count):
                data = frame.payload[row * size : (row + 1) * size]
                last = row == count - 1
                credit = len(frame.payload) if last else 0
                self._raw.append(Item(start + row, data, credit, last))
            self._changed.notify_all()

    def cancel(self, job: int) -> None:
        """Whoever takes from this job's images is told so."""
        with self._changed:
            self._cancelled = job  # perhaps of a job that the main thread has yet to begin
            self._changed.notify_all()

    def check(self) -> None:
        """Raise if the job has been cancelled or its images were wrong.

        Raises:
            AgentError: it was.
        """
        if self._cancelled == self._job:
            raise AgentError(TRANSIENT, "cancelled", "cancelled")
        if self._broken is not None:
            raise self._broken

    def take(self, seconds: float) -> Optional[Item]:
        """The next image, prepared if the job prepares; None when none came in time.

        Raises:
            AgentError: cancelled, or wrong images.
        """
        source = self._ready if self._thread is not None else self._raw
        with self._changed:
            self.check()
            if not source:
                self._changed.wait(seconds)
                self.check()
            if not source:
                return None
            item = source.popleft()
            self._changed.notify_all()
            return item

    def _prepare_all(self, job: int, prepare: Prepare, cache: Optional[ImageCache]) -> None:
        index = -1
        while True:
            index += 1
            held = cache is not None and cache.holds(index)
            item = self._next_raw(job, held)
            if item is None:
                return
            try:
                if cache is not None and held:
                    item = Item(index, cache.image(index), 0, cache.ends_run(index))
                elif cache is not None:
                    cache.add(index, bytes(item.data))
                item.data = prepare(bytes(item.data))
            except BaseException as error:
                with self._changed:
                    self._broken = error
                    self._changed.notify_all()
                return
            with self._changed:
                if self._job == job:
                    self._ready.append(item)
                    self._changed.notify_all()

    def _next_raw(self, job: int, held: bool) -> Optional[Item]:
        """The next image once there is room for it; an empty one to be filled when it is held."""
        with self._changed:
            while self._job == job and (len(self._ready) >= AHEAD or not (held or self._raw)):
                self._changed.wait()
            if self._job != job:
                return None
            return Item(0, b"", 0, False) if held else self._raw.popleft()
