"""Whether the processes of a Ray cluster that a run needs still listen.

Ray itself waits for a minute and then ends the driver without a word.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

from orchestrator.cluster.nodes import REACH_S, reach
from orchestrator.errors import UserError

SILENT_S = 15.0
LOOK_EVERY_S = 1.0


class ProcessWatch:
    """Looks at listening processes now and then, in a thread of its own. Thread-safe.

    Args:
        addresses: a process's name to its HOST:PORT.
    """

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._addresses = dict(addresses)
        self._silent_since: dict[str, float] = {}
        self._refused: set[str] = set()
        self._closing = threading.Event()
        threading.Thread(target=self._watch, name="ray-watch", daemon=True).start()

    def ended(self) -> str:
        """Name of a process that has ended or cannot be reached any more; empty while all can."""
        now = time.monotonic()
        silent = self._silent_since.copy()
        return next((name for name, since in silent.items() if self._is_over(name, now, since)), "")

    def _is_over(self, name: str, now: float, since: float) -> bool:
        return name in self._refused or now - since >= SILENT_S

    def look(self) -> None:
        """Look at each once."""
        for name, address in self._addresses.items():
            try:
                reach(address, REACH_S)
            except UserError as error:
                self._silent_since.setdefault(name, time.monotonic())
                # A host that answers so has nobody listening there; a network may come back.
                if isinstance(error.__cause__, ConnectionRefusedError):
                    self._refused.add(name)
            else:
                self._silent_since.pop(name, None)
                self._refused.discard(name)

    def _watch(self) -> None:
        while not self._closing.wait(LOOK_EVERY_S):
            self.look()

    def close(self) -> None:
        """Look no more."""
        self._closing.set()
