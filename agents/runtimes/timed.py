"""A runtime that takes an exact time: for trying a farm, a link or a board without a model.

Options, which a file that is a JSON object may say too: `ms`, the time an image takes (16 by
default); `dim`, the feature's length (128); `jitter_ms`, what is added at most, evenly spread (0).
FARM_TIMED_PACE in a board's environment divides its time: 2 is a board of twice the pace.
The feature is a hash of the input (and of the file's `seed`), so that order and content are
checkable.
"""

import json
import os
import struct
import sys
import time
from array import array
from typing import Any, Dict, Mapping, Optional, Tuple

from ..measurement import clock
from ..protocol.errors import USER, AgentError
from ..session.preprocess import Preprocessor
from . import TRIAL, BaseRuntime, Descriptor, Input

_VERSION = "1"
DESCRIPTOR = Descriptor(label="timed", role=TRIAL, providers=("sleep",), library_path=False)
_LARGEST = 1 << 16


def probe(load: bool = False) -> Optional[Dict[str, Any]]:
    """Always there."""
    return {"version": _VERSION, "providers": ["sleep"]}


def feature(data: Input, dim: int, seed: str = "") -> bytes:
    """`dim` float32 in [-1, 1), exact multiples of 2**-15, from a hash of `data` and `seed`."""
    import hashlib  # with OpenSSL behind it, which the session's own process does without

    digest = hashlib.blake2b(data, key=seed.encode("utf-8")[:64]).digest()
    words = struct.unpack("<%dh" % dim, hashlib.shake_128(digest).digest(2 * dim))
    row = array("f", [word / 32768.0 for word in words])
    if sys.byteorder == "big":
        row.byteswap()
    return row.tobytes()


def _settings(path: str) -> Dict[str, Any]:
    """What a file says of its time; nothing where it is no JSON object."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(_LARGEST).decode("utf-8", "replace"))
    except (IOError, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _pace() -> float:
    text = os.environ.get("FARM_TIMED_PACE", "1")
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not 0.001 <= pace <= 1000:
        raise AgentError(USER, "timed: FARM_TIMED_PACE is %.80r, expected a number" % (text,))
    return pace


class Runtime(BaseRuntime):
    """Sleeps until an image's time is over."""

    version = _VERSION
    provider = "sleep"
    concurrent = True

    def __init__(self, path: str, options: Mapping[str, Any], preprocessing: Preprocessor) -> None:
        settings = _settings(path)
        settings.update(options)
        ms, dim = settings.get("ms", 16), settings.get("dim", 128)
        if not isinstance(ms, (int, float)) or not 0 <= ms <= 60000:
            raise AgentError(USER, "timed: ms is %r, expected 0 to 60000" % (ms,))
        jitter = settings.get("jitter_ms", 0)
        if not isinstance(jitter, (int, float)) or not 0 <= jitter <= 60000:
            raise AgentError(USER, "timed: jitter_ms is %r, expected 0 to 60000" % (jitter,))
        self._jitter_ns = int(jitter * 1e6)
        self._seed = str(settings.get("seed", ""))
        self._lot = 1
        if not isinstance(dim, int) or not 1 <= dim <= 8192:
            raise AgentError(USER, "timed: dim is %r, expected 1 to 8192" % (dim,))
        self._ns = int(ms * 1e6 / _pace())
        self.dim = dim
        dtype = preprocessing.dtype
        self.inputs = [{"name": "image", "shape": preprocessing.shape, "dtype": dtype}]
        self.outputs = [{"name": "feature", "shape": [1, dim], "dtype": "float32"}]

    def run(self, data: Input) -> Tuple[bytes, int]:
        begin = clock.now_ns()
        row = feature(data, self.dim, self._seed)
        self._lot = self._lot * 48271 % 0x7FFFFFFF  # the Lehmer generator, minstd
        more = self._lot * self._jitter_ns // 0x7FFFFFFF
        left = begin + self._ns + more - clock.now_ns()
        if left > 0:
            time.sleep(left / 1e9)
        return row, clock.now_ns() - begin
