"""Marks of farm's own around what a board's shell answers; pure.

An SSH server hands a command to the user's login shell, which may be any, and may print: `.bashrc`
greets, a locale warns, an exit trap says goodbye. So the login shell gets only words that all
shells read alike, which start `/bin/sh`; that prints a mark on both streams, does the command, and
prints a second mark with its exit status. What stands before and after the marks is noise. The
marks differ from call to call, and stand nowhere in the command as it is sent, so that a shell that
prints what it runs does not print them.
"""

from __future__ import annotations

import re
import secrets
import shlex
import string

# Neither quotes nor a backslash (fish), `!` (tcsh) or a line's end (tcsh): within single quotes
# all of these mean something to one shell or another.
_SIGNS = ' "#$%&()*+,-./:;<=>?@[]^_{|}~`'
_PLAIN = frozenset(map(ord, string.ascii_letters + string.digits + _SIGNS))
_START = "exec /bin/sh -c 'eval \"$(printf %b \"$1\")\"' sh '{}'"
_NOISE_KEPT = 400


class Answer:
    """One stream of a command's output: what stands between the marks, and how much else came.

    Attributes:
        begun: the first mark was there.
        status: the command's exit status, once the second mark was there.
        noise: the first bytes that came before the first mark, for a message about them.
        skipped: all bytes outside of the marks so far.
    """

    def __init__(self, token: str, ends: bool) -> None:
        self.begun = False
        self.status: int | None = None
        self.noise = b""
        self.skipped = 0
        self._begin = f"[farm:{token}:".encode()
        self._end = f":{token}:".encode()
        self._status = re.compile(re.escape(self._end) + rb"(\d{1,3})\]")
        self._ends = ends
        self._held = b""

    @property
    def ended(self) -> bool:
        """The second mark was there."""
        return self.status is not None

    def feed(self, data: bytes) -> bytes:
        """What of the answer is certain with this piece of the stream.

        Bytes that may begin a mark are held back until the next piece, or until `rest`.
        """
        if self.ended:
            self.skipped += len(data)
            return b""
        data = self._held + data
        if not self.begun:
            before, mark, data = data.partition(self._begin)
            keep = b"" if mark else before[-len(self._begin) + 1 :]
            self._skip(before[: len(before) - len(keep)])
            self._held = keep
            if not mark:
                return b""
            self.begun = True
        if not self._ends:
            self._held = b""
            return data
        found = self._status.search(data)
        if found is not None:
            self.status = int(found[1])
            self._held = b""
            self.skipped += len(data) - found.end()
            return data[: found.start()]
        certain = self._certain(data)
        self._held = data[certain:]
        return data[:certain]

    def rest(self) -> bytes:
        """What was held back when the stream has ended without its mark."""
        held, self._held = self._held, b""
        if self.begun:
            return held
        self._skip(held)
        return b""

    def _skip(self, noise: bytes) -> None:
        self.skipped += len(noise)
        self.noise += noise[: _NOISE_KEPT - len(self.noise)]

    def _certain(self, data: bytes) -> int:
        """How many bytes of `data` cannot be the beginning of a second mark."""
        longest = len(self._end) + 4
        start = max(0, len(data) - longest)
        at = data.find(self._end, start)
        if at >= 0:
            return at
        for size in range(min(len(self._end) - 1, len(data)), 0, -1):
            if data.endswith(self._end[:size]):
                return len(data) - size
        return len(data)


class Marks:
    """The marks of one call."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(8)

    def around(self, command: str) -> str:
        """What to send so that a command is done between two marks on each stream.

        A command whose shell is ended by a signal leaves no second mark.
        """
        ends = f"printf ':%s:%d]' {self._token} $s"
        return _sent(
            f"{self._begins()}\n(eval {shlex.quote(command)})\ns=$?; {ends}; {ends} >&2; exit $s"
        )

    def before(self, command: str) -> str:
        """What to send so that a mark on each stream stands before all that a command says."""
        return _sent(f"{self._begins()}\n{command}")

    def answer(self, *, ends: bool = True) -> Answer:
        """A reader of one stream; `ends` as the command was sent `around` or only `before`."""
        return Answer(self._token, ends)

    def _begins(self) -> str:
        begins = f"printf '[farm:%s:' {self._token}"
        return f"{begins}; {begins} >&2"


def _sent(script: str) -> str:
    word = "".join(chr(b) if b in _PLAIN else f"\\0{b:03o}" for b in script.encode())
    return _START.format(word)
