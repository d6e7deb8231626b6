"""How long a test waits for what should come at once: long enough for a machine that is busy.

No test says how fast farm is (`benchmarks/` does): a limit here tells "ends" from "hangs".
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

BUSY = 10.0
"""How many times slower than a quiet machine a busy one may be."""
ENDS_S = 540.0
"""A whole run that has not ended by then hangs; a little less than the slow tests' own limit."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is done in a `with` ends within `seconds`; a busy machine gets `BUSY` times that."""
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < BUSY * seconds
