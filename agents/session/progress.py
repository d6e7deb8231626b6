"""What a runtime says of long work, such as building an engine, before it can answer.

The runtime child has one model and one main thread, so that one listener is enough; without one
(in tests, in a builder's own process) nobody is told.
"""

from typing import Callable, Optional

Listener = Callable[[str, float, float], None]
_listener: Optional[Listener] = None


def listen(listener: Optional[Listener]) -> None:
    """Have `listener` told from now on; None ends it."""
    global _listener
    _listener = listener


def report(doing: str, seconds: float, limit_s: float) -> None:
    """`doing` has taken `seconds` of at most `limit_s`; to be called about once a second."""
    if _listener is not None:
        _listener(doing, seconds, limit_s)
