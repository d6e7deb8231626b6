"""Frames and the rules of a conversation, without input or output: what both sides share.

A frame is a 20-byte header, JSON meta and a raw payload. The header is big-endian: magic `FRM1`,
type, flags (0), job, length of meta, length of payload, CRC-32 of meta and payload together.

The agent speaks first (HELLO, or ERROR when it cannot serve), the head answers with HELLO. Then
the head starts one job at a time; each ends with one of the frames in `ENDS`.
"""

import json
import struct
import zlib
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, Optional, Union

PROTOCOL = 1
MAGIC = b"FRM1"
HEADER = struct.Struct(">4sBBHIII")
MAX_META = 64 << 10
MAX_PAYLOAD = 16 << 20
MAX_NOISE = 64 << 10
MAX_JOB = 0xFFFF
_FRAME_COST = 1 << 10
_META_COST = 16

HELLO, ERROR, BEAT, OPEN, OPENED, MEASURE, READY, IMAGES = 1, 2, 3, 4, 5, 6, 7, 8
TIMES, EXTRACT, FEATURES, DONE, CANCEL, CLOSE, BYE, FACTS = 9, 10, 11, 12, 13, 14, 15, 16
PROGRESS = 17
NAMES = {
    HELLO: "HELLO",
    ERROR: "ERROR",
    BEAT: "BEAT",
    OPEN: "OPEN",
    OPENED: "OPENED",
    MEASURE: "MEASURE",
    READY: "READY",
    IMAGES: "IMAGES",
    TIMES: "TIMES",
    EXTRACT: "EXTRACT",
    FEATURES: "FEATURES",
    DONE: "DONE",
    CANCEL: "CANCEL",
    CLOSE: "CLOSE",
    BYE: "BYE",
    FACTS: "FACTS",
    PROGRESS: "PROGRESS",
}
# What the agent may answer within each kind of job.
ANSWERS: Dict[int, FrozenSet[int]] = {
    OPEN: frozenset((OPENED, PROGRESS, ERROR)),
    FACTS: frozenset((DONE, ERROR)),
    MEASURE: frozenset((READY, TIMES, DONE, ERROR)),
    EXTRACT: frozenset((READY, FEATURES, DONE, ERROR)),
}
ENDS = frozenset((OPENED, DONE, ERROR))

Buffer = Union[bytes, bytearray, memoryview]


def shown(data: Buffer) -> str:
    """Bytes that are no frame, in 80 printable characters; longer ones are counted."""
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in bytearray(data[:80]))
    if len(data) <= 80:
        return "'%s'" % text
    return "'%s...' (%d bytes)" % (text, len(data))


class WireError(Exception):
    """The other side broke the rules, or the link damaged a frame: the session is over."""


class Frame(object):
    """One message. `meta` is a JSON object, `payload` raw bytes.

    `cost` is about what one that was received occupies, in bytes: JSON grows when it is parsed.
    `received` is such a one as it came, checked, to be passed on; the payload is a part of it.
    """

    __slots__ = ("cost", "job", "meta", "payload", "received", "type")

    def __init__(
        self,
        type: int,
        job: int = 0,
        meta: Optional[Mapping[str, Any]] = None,
        payload: Buffer = b"",
    ) -> None:
        self.type = type
        self.job = job
        self.meta: Dict[str, Any] = dict(meta) if meta else {}
        self.payload = payload
        self.cost = len(payload)
        self.received = b""

    @property
    def name(self) -> str:
        return NAMES.get(self.type, "type %d" % self.type)

    def __repr__(self) -> str:
        return "<%s job %d %r +%d>" % (self.name, self.job, self.meta, len(self.payload))


def encode(frame: Frame) -> List[Buffer]:
    """The frame as buffers to be written in order; the payload is not copied.

    Raises:
        WireError: meta or payload exceeds its bound.
    """
    meta = json.dumps(frame.meta, separators=(",", ":")).encode("utf-8") if frame.meta else b""
    if len(meta) > MAX_META or len(frame.payload) > MAX_PAYLOAD:
        raise WireError(
            "a %s frame of %d + %d bytes; at most %d + %d are allowed"
            % (frame.name, len(meta), len(frame.payload), MAX_META, MAX_PAYLOAD)
        )
    crc = zlib.crc32(frame.payload, zlib.crc32(meta)) & 0xFFFFFFFF
    head = HEADER.pack(MAGIC, frame.type, 0, frame.job, len(meta), len(frame.payload), crc)
    return [head + meta, frame.payload] if len(frame.payload) else [head + meta]


def _parse_meta(raw: bytes) -> Dict[str, Any]:
    if not raw:
        return {}
    try:
        meta = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError("a frame's meta is not JSON: %s" % str(error)[:200])
    if not isinstance(meta, dict):
        raise WireError("a frame's meta is a JSON %s, expected an object" % type(meta).__name__)
    return meta


class Decoder(object):
    """Bytes in any split to frames. Holds at most one frame and what was fed last.

    Args:
        skip_noise: accept up to MAX_NOISE bytes before the first frame, which must then be a HELLO
            or ERROR without payload: login banners and shell start-up files talk there. Between
            later frames, accept as much text: something that a start-up file has left running may
            talk on. Text has no zero byte and every frame has one, so none is lost for noise.

    Attributes:
        skipped: bytes of noise so far.
        noise: the first 80 of them.
    """

    def __init__(self, skip_noise: bool = False) -> None:
        self.skipped = 0
        self.noise = b""
        self._buffer = bytearray()
        self._noisy = self._seeking = skip_noise
        self._gap = 0
        self._broken = False

    def feed(self, data: Buffer) -> Iterator[Frame]:
        """Yield the frames that `data` completes.

        Raises:
            WireError: noise between frames, a wrong checksum or an impossible length. The decoder
                refuses all further bytes.
        """
        if self._broken:
            raise WireError("the stream is broken")
        self._buffer += data
        try:
            while True:
                if self._seeking:
                    frame = self._seek()
                elif self._noisy and not self._at_header():
                    return
                else:
                    frame = self._next()
                if frame is None:
                    return
                self._gap = 0
                yield frame
        except WireError:
            self._broken = True
            self._buffer = bytearray()
            raise

    @property
    def pending(self) -> int:
        """Bytes of an incomplete frame."""
        return len(self._buffer)

    def _seek(self) -> Optional[Frame]:
        while True:
            at = self._buffer.find(MAGIC)
            if at < 0:
                self._skip(max(0, len(self._buffer) - len(MAGIC) + 1))
                return None
            self._skip(at)
            if len(self._buffer) < HEADER.size:
                return None
            _, kind, _, _, meta_length, length, _ = HEADER.unpack_from(self._buffer)
            if kind in (HELLO, ERROR) and length == 0 and meta_length <= MAX_META:
                try:
                    frame = self._next()
                except WireError:
                    frame = None
                else:
                    if frame is None:
                        return None
                if frame is not None:
                    self._seeking = False
                    return frame
            self._skip(1)

    def _at_header(self) -> bool:
        """Skip text up to the next frame's header; False where more bytes must come first."""
        buffer = self._buffer
        while True:
            at = buffer.find(MAGIC)
            if at < 0:
                tail = next(n for n in range(len(MAGIC) - 1, -1, -1) if buffer.endswith(MAGIC[:n]))
                self._skip_text(len(buffer) - tail)
                return False
            self._skip_text(at)
            if len(buffer) < HEADER.size:
                return False
            if buffer[4] in NAMES and not buffer[5]:
                return True
            self._skip_text(1)

    def _skip_text(self, count: int) -> None:
        if 0 in self._buffer[:count]:
            raise WireError("no frame where one should begin: %s" % shown(self._buffer[:count]))
        self._skip(count)

    def _skip(self, count: int) -> None:
        self.noise += bytes(self._buffer[: min(count, 80 - len(self.noise))])
        self.skipped += count
        self._gap += count
        if self._gap > MAX_NOISE:
            before = "no agent answered, only" if self._seeking else "between frames came"
            talk = "%s %d bytes of other output" % (before, self._gap)
            raise WireError("%s, which begins with %s" % (talk, shown(self.noise)))
        del self._buffer[:count]

    def _next(self) -> Optional[Frame]:
        buffer = self._buffer
        if len(buffer) < HEADER.size:
            if not MAGIC.startswith(bytes(buffer[: len(MAGIC)])):
                raise WireError("no frame where one should begin: %s" % shown(buffer))
            return None
        magic, kind, flags, job, meta_length, length, crc = HEADER.unpack_from(buffer)
        if magic != MAGIC:
            raise WireError("no frame where one should begin: %s" % shown(buffer))
        if kind not in NAMES or flags:
            raise WireError("a frame of unknown type %d, flags %d" % (kind, flags))
        if meta_length > MAX_META or length > MAX_PAYLOAD:
            raise WireError(
                "a %s frame announces %d + %d bytes; at most %d + %d are allowed"
                % (NAMES[kind], meta_length, length, MAX_META, MAX_PAYLOAD)
            )
        end = HEADER.size + meta_length + length
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            received = bytes(view[:end])
        body = memoryview(received)[HEADER.size :]
        if zlib.crc32(body) & 0xFFFFFFFF != crc:
            raise WireError("the checksum of a %s frame is wrong" % NAMES[kind])
        meta = _parse_meta(bytes(body[:meta_length]))
        frame = Frame(kind, job, meta, body[meta_length:] if length else b"")
        frame.received = received
        frame.cost = _FRAME_COST + _META_COST * meta_length + length
        del buffer[:end]
        return frame


class Conversation(object):
    """Which frame may come next, and how many bytes of images may be under way.

    Both sides keep one and show it every frame they send and receive. A frame of a job that has
    just ended may still be under way when the other side ends it: `receiving` says to drop it.

    Attributes:
        job: the running job's number, 0 when there is none.
        kind: the frame type that started it.
        window: bytes of images that the agent takes at once, as its READY says.
        flying: bytes of images sent and not yet given back by FEATURES.
    """

    def __init__(self, is_agent: bool) -> None:
        self.is_agent = is_agent
        self.greeted = False
        self.answered = False
        self.over = False
        self.job = 0
        self.kind = 0
        self.window = 0
        self.flying = 0
        self.ready = False
        self.cancelled = False

    def next_job(self, last: int) -> int:
        """A number for a new job: never 0, never the one before."""
        return last % MAX_JOB + 1

    def sending(self, frame: Frame) -> None:
        """Note a frame that this side sends.

        Raises:
            WireError: it may not send it now.
        """
        if not self._note(frame, self.is_agent):
            raise WireError("%s belongs to no running job" % frame.name)

    def receiving(self, frame: Frame) -> bool:
        """Note a frame that came; False when it is to be dropped.

        Raises:
            WireError: the other side may not send it now.
        """
        return self._note(frame, not self.is_agent)

    def _note(self, frame: Frame, by_agent: bool) -> bool:
        if self.over:
            raise WireError("%s after the session's end" % frame.name)
        return self._from_agent(frame) if by_agent else self._from_head(frame)

    def _from_head(self, frame: Frame) -> bool:
        kind = frame.type
        if kind in (BEAT, CLOSE):
            return True
        if kind == HELLO:
            if not self.greeted or self.answered:
                raise WireError("HELLO out of turn")
            self.answered = True
            return True
        if not self.answered:
            raise WireError("%s before HELLO" % frame.name)
        if kind in ANSWERS:
            if self.job or not frame.job:
                raise WireError("%s as job %d during job %d" % (frame.name, frame.job, self.job))
            self.job, self.kind = frame.job, kind
            self.window = self.flying = 0
            self.ready = self.cancelled = False
            return True
        if kind not in (IMAGES, CANCEL):
            raise WireError("the head may not send %s" % frame.name)
        if not self.job or frame.job != self.job:
            return False
        if kind == CANCEL:
            self.cancelled = True
            return True
        self.flying += len(frame.payload)
        if self.flying > self.window:
            raise WireError("%d bytes of images, %d were allowed" % (self.flying, self.window))
        return True

    def _from_agent(self, frame: Frame) -> bool:
        kind = frame.type
        if not self.greeted:
            if kind not in (HELLO, ERROR):
                raise WireError("%s before HELLO" % frame.name)
            self.greeted = True
            self.over = kind == ERROR
            return True
        if kind == BEAT:
            return True
        if kind == BYE or (kind == ERROR and not frame.job):
            self.over = True
            return True
        if kind not in _ALL_ANSWERS:
            raise WireError("the agent may not send %s" % frame.name)
        if not self.job or frame.job != self.job:
            raise WireError("%s of job %d during job %d" % (frame.name, frame.job, self.job))
        if kind not in ANSWERS[self.kind]:
            raise WireError("%s within %s" % (frame.name, NAMES[self.kind]))
        if kind == READY:
            if self.ready:
                raise WireError("a second READY")
            self.ready = True
            self.window = number(frame.meta, "window", 0, 1 << 30)
        elif kind == FEATURES:
            self.flying -= number(frame.meta, "credit", 0, self.flying)
        elif kind in ENDS:
            self.job = self.kind = 0
        return True


_ALL_ANSWERS = frozenset(kind for kinds in ANSWERS.values() for kind in kinds)


def number(meta: Mapping[str, Any], key: str, low: int, high: int) -> int:
    """A whole number of a frame's meta.

    Raises:
        WireError: it is absent, no whole number or out of bounds.
    """
    value = meta.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise WireError("%s is %.80r, expected a number from %d to %d" % (key, value, low, high))
    return value


def text(meta: Mapping[str, Any], key: str) -> str:
    """A string of a frame's meta.

    Raises:
        WireError: it is absent or no string.
    """
    value = meta.get(key)
    if not isinstance(value, str):
        raise WireError("%s is %.80r, expected text" % (key, value))
    return value


def join(frame: Frame) -> bytes:
    """The frame as one piece."""
    return b"".join(encode(frame))
