"""One session: frames from the head on one side, the runtime child on the other, one poll loop.

There are no threads and nothing blocks, so that nothing can be left waiting when a side dies. The
session ends when the head closes it, when the channel dies, or when the head has been silent for
`idle_s`; the runtime child and the board's lock end with it.
"""

import os
import select
from typing import Any, Dict, List, Optional, Set

from ..host import facts
from ..locking.lock import BoardLock
from ..measurement import clock, pinning
from ..measurement.telemetry import Telemetry
from ..protocol.errors import BOARD, BUG, TRANSIENT, AgentError
from ..protocol.link import Source, say
from ..protocol.wire import (
    ANSWERS,
    BEAT,
    BYE,
    CANCEL,
    CLOSE,
    ENDS,
    ERROR,
    FACTS,
    HELLO,
    MEASURE,
    OPEN,
    Conversation,
    Decoder,
    Frame,
    WireError,
)
from .child import Child, Outbox, unblock

BEAT_S = 2.0
CANCEL_S = 1.5
CLOSE_S = 1.0
# The child is not read while more than this waits for the head; a stuck link costs no memory.
OUT_LIMIT = 1 << 20


class _Gone(Exception):
    """The head is gone: there is nobody to tell anything."""


class Session(object):
    """Serves one head.

    Args:
        source, sink: private descriptors of the channel.
        lock: the board's lock, already held.
        root: where sysfs and procfs are found.
        images: folder of the test images that stay on the board.
        idle_s: how long the head may be silent.
    """

    def __init__(
        self,
        source: int,
        sink: int,
        lock: BoardLock,
        root: str,
        images: str,
        idle_s: float,
    ) -> None:
        self._source, self._sink = source, sink
        self._lock, self._root, self._images = lock, root, images
        self._workdir = os.path.dirname(images)
        self._idle_s = idle_s
        self._telemetry = Telemetry(root)
        self._talk = Conversation(is_agent=True)
        self._frames, self._decoder = Source(source), Decoder()
        self._out = Outbox(sink)
        self._child: Optional[Child] = None
        self._limit_s = idle_s
        self._cancelled_at = 0.0
        self._pinned = False
        now = clock.now()
        self._heard = self._renewed = now
        self._beat_s = BEAT_S
        self._next_beat = now + BEAT_S

    def run(self) -> str:
        """Serve until the end; why it ended."""
        unblock(self._source)
        unblock(self._sink)
        self._send(Frame(HELLO, 0, facts.describe(self._telemetry, self._root)))
        try:
            while True:
                self._turn()
        except _Gone as reason:
            return str(reason)
        except WireError as error:
            self._last_word(AgentError(TRANSIENT, "protocol: %s" % error, "protocol"))
            return "protocol: %s" % error
        finally:
            self._drop_child()

    def _turn(self) -> None:
        ready = self._poll()
        # All that has come counts before anyone's deadline does: this process may itself have
        # been kept from running.
        if self._source in ready:
            self._read_head()
        child = self._child
        if child is not None:
            if child.stderr in ready:
                child.read_stderr()
            if child.stdout in ready:
                self._read_child(child)
        self._flush()
        self._timers()

    def _poll(self) -> Set[int]:
        poller = select.poll()
        poller.register(self._source, select.POLLIN)
        # Registered without an event, the sink still reports that its reader is gone.
        poller.register(self._sink, select.POLLOUT if self._out.size else 0)
        child = self._child
        if child is not None:
            for fd in child.open_fds:
                if fd != child.stdout or self._out.size < OUT_LIMIT:
                    poller.register(fd, select.POLLIN)
            if child.outbox.size:
                poller.register(child.stdin, select.POLLOUT)
        wait = max(0.0, min(self._next_beat - clock.now(), 0.5))
        events = poller.poll(int(wait * 1000) + 1)
        for fd, event in events:
            if fd == self._sink and event & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                raise _Gone("the head closed the channel")
        return {fd for fd, _ in events}

    # ---- the head

    def _read_head(self) -> None:
        try:
            data = self._frames.read()
        except BlockingIOError:
            return
        except OSError as error:
            raise _Gone("the channel died: %s" % error)
        if not data:
            raise _Gone("the head closed the channel")
        self._heard = clock.now()
        for frame in self._decoder.feed(data):
            if self._talk.receiving(frame):
                self._from_head(frame)

    def _from_head(self, frame: Frame) -> None:
        kind = frame.type
        if kind == BEAT:
            # The head measures the round trip by what it finds again in the answer.
            self._beat({"echo": frame.meta.get("t")})
        elif kind == HELLO:
            beat_s = frame.meta.get("heartbeat_s")
            if isinstance(beat_s, (int, float)) and 0.05 <= beat_s <= 3600:
                self._beat_s = beat_s
                self._next_beat = min(self._next_beat, clock.now() + beat_s)
        elif kind == CLOSE:
            self._drop_child()
            self._send(Frame(BYE))
            self._drain()
            raise _Gone("closed")
        elif kind == CANCEL:
            if not self._cancelled_at:
                self._cancelled_at = clock.now()
                if self._child is not None:
                    self._child.outbox.pass_on(frame)
        elif kind in ANSWERS:
            self._start_job(frame)
        elif self._child is not None:
            self._child.outbox.pass_on(frame)

    def _start_job(self, frame: Frame) -> None:
        limit = frame.meta.get("limit_s")
        number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
        usable = number and limit is not None and 0 < limit < 1e9
        self._limit_s = float(limit) if usable and limit is not None else 3600.0
        self._cancelled_at = 0.0
        try:
            if frame.type in (OPEN, FACTS):
                self._fresh_child()
            elif self._child is None:
                raise AgentError(TRANSIENT, "no model is open", "no-model")
            if frame.type == MEASURE and frame.meta.get("clocks") == pinning.PINNED:
                # Here and not in the child, which a vendor's library may take down.
                pinning.pin(self._workdir, self._root)
                self._pinned = True
        except AgentError as error:
            self._send(Frame(ERROR, frame.job, error.meta()))
            return
        assert self._child is not None
        self._child.used = True
        self._child.heard = clock.now()
        self._child.outbox.pass_on(frame)

    def _last_word(self, error: AgentError) -> None:
        if not self._talk.over:
            self._send(Frame(ERROR, 0, error.meta()))
            try:
                self._drain()
            except _Gone:
                pass

    def _drain(self) -> None:
        end = clock.now() + CLOSE_S
        while self._out.size and clock.now() < end:
            poller = select.poll()
            poller.register(self._sink, select.POLLOUT)
            poller.poll(100)
            self._flush()

    def _send(self, frame: Frame) -> None:
        self._talk.sending(frame)
        self._out.put(frame)

    def _flush(self) -> None:
        try:
            self._out.flush()
        except OSError as error:
            raise _Gone("the channel died: %s" % error)
        if self._child is not None and self._child.outbox.size:
            try:
                self._child.outbox.flush()
            except OSError:
                self._child_ended(self._child)

    def _beat(self, meta: Dict[str, Any]) -> None:
        # A head that does not read gets no more beats piled up for it.
        if self._out.size < OUT_LIMIT:
            self._send(Frame(BEAT, 0, meta))

    def _timers(self) -> None:
        now = clock.now()
        if now - self._heard > self._idle_s:
            raise _Gone("nothing heard from the head for %.1f s" % (now - self._heard))
        if now >= self._next_beat:
            self._next_beat = now + self._beat_s
            # Nothing is read beside an inference that is timed: the child tells its own samples.
            timing = self._talk.job and self._talk.kind == MEASURE
            self._beat({} if timing else {"telemetry": self._telemetry.sample()})
        if now - self._renewed > self._idle_s:
            self._lock.renew()
            self._renewed = now
        child = self._child
        if child is None or not self._talk.job:
            return
        if self._cancelled_at and now - self._cancelled_at > CANCEL_S:
            self._fail(TRANSIENT, "cancelled; the runtime had to be killed for it", "cancelled")
        elif self._out.size >= OUT_LIMIT:
            child.heard = now  # it is not read for now, so its silence says nothing
        elif now - child.heard > self._limit_s:
            self._fail(
                BOARD,
                "the runtime has not answered for %.1f s (%.1f s allowed) and was killed"
                % (now - child.heard, self._limit_s),
                "hang",
            )

    # ---- the runtime child

    def _fresh_child(self) -> None:
        # Each model gets a process of its own: vendor libraries leave memory and state behind.
        if self._child is not None and self._child.used:
            self._drop_child()
        if self._child is None:
            try:
                self._child = Child(self._root, self._images, self._lock.fds)
            except (OSError, ValueError) as error:
                raise AgentError(BOARD, "cannot start the runtime's process: %s" % error)
            self._lock.add(self._child.pid, self._child.start)

    def _read_child(self, child: Child) -> None:
        try:
            for frame in child.read():
                if frame.type == BEAT:
                    continue
                if frame.type not in ENDS and self._talk.job != frame.job:
                    continue
                if frame.type in ENDS:
                    self._unpin()
                self._talk.sending(frame)
                self._out.pass_on(frame)
        except WireError as error:
            self._fail(BUG, "the runtime's process broke the protocol: %s" % error)
            return
        if child.stdout not in child.open_fds:
            self._child_ended(child)

    def _child_ended(self, child: Child) -> None:
        # It closed its pipe; its status follows within moments unless it hangs on its way out.
        end = clock.now() + 0.5
        poller = select.poll()
        how = child.ended()
        while how is None and clock.now() < end:
            poller.poll(10)
            how = child.ended()
        message = "the runtime's process %s" % (how or "closed its pipe and was killed")
        self._fail(TRANSIENT, message, "crash")

    def _fail(self, kind: str, message: str, code: str = "") -> None:
        lines = self._drop_child()
        say("agent: " + message)
        if self._talk.job:
            meta = AgentError(kind, message, code).meta()
            meta["stderr"] = lines
            meta["model_lost"] = True
            self._send(Frame(ERROR, self._talk.job, meta))

    def _unpin(self) -> None:
        if self._pinned:
            self._pinned = False
            for path in pinning.restore(self._workdir, self._root):
                say("agent: %s could not be put back" % path)

    def _drop_child(self) -> List[str]:
        self._unpin()
        child, self._child = self._child, None
        if child is None:
            return []
        child.kill()
        return child.last_lines()


def refuse(sink: int, error: AgentError) -> None:
    """Tell the head in place of HELLO why there will be no session."""
    out = Outbox(sink)
    unblock(sink)
    out.put(Frame(ERROR, 0, error.meta()))
    poller = select.poll()
    poller.register(sink, select.POLLOUT)
    end = clock.now() + CLOSE_S
    try:
        while out.size and clock.now() < end:
            poller.poll(100)
            out.flush()
    except OSError:
        pass
