"""All runs in a few words each, in memory: a request reads what changed, never what did not."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.reporting.tables.listing import Listed, listed
from orchestrator.serving.following import Follower, Followers
from orchestrator.store.going import is_going
from orchestrator.store.run_folder import EVENTS

LOOKED_AT_S = 0.5
MANY = 32
"""Logs that changed since the last look from which on the index on the disk is asked instead."""


@dataclass(frozen=True)
class Entry:
    """A run of the list. `going`: somebody carries it on at this moment, on this computer."""

    listed: Listed
    going: bool

    @property
    def name(self) -> str:
        """Its folder's name, by which pages call it."""
        return self.listed.folder.name

    @property
    def outcome(self) -> str:
        """How it ended; `going on` or `lost` of one that has no end in its log."""
        outcome = str(self.listed.summary["outcome"])
        if outcome != "unfinished":
            return outcome
        return "going on" if self.going else "lost"


class Catalogue:
    """The runs of a folder."""

    def __init__(self, runs: Path) -> None:
        self.runs = runs
        self.followers = Followers()
        self._lock = threading.Lock()
        self._looked = 0.0
        self._logs: dict[str, tuple[int, int]] = {}
        self._entries: dict[str, Entry] = {}

    def entries(self) -> list[Entry]:
        """All runs, the one that began last first."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked > LOOKED_AT_S or not self._looked:
                self._look()
                self._looked = time.monotonic()
            return list(self._entries.values())

    def count(self) -> int:
        """How many runs there are; none is read."""
        return len(_logs(self.runs))

    def entry(self, name: str) -> Entry | None:
        """A run by its folder's name; None where there is none. No path is made from a name."""
        self.entries()
        return self._entries.get(name)

    def follower(self, entry: Entry) -> Follower:
        """What a run's pages are drawn from."""
        return self.followers.of(entry.listed.folder)

    def going(self) -> list[Entry]:
        """Runs that go on, the one that began last first."""
        return [entry for entry in self.entries() if entry.going]

    def shown(self) -> Entry | None:
        """The run that *Now* shows: one that goes on, else the newest."""
        going = self.going()
        return going[0] if going else next(iter(self.entries()), None)

    def _look(self) -> None:
        logs = _logs(self.runs)
        changed = [name for name, log in logs.items() if self._logs.get(name) != log]
        if len(changed) > MANY:
            found = {run.folder.name: run for run in listed(self.runs)}
        else:
            found = {name: run for name in changed if (run := self._followed(name)) is not None}
        entries = {name: entry.listed for name, entry in self._entries.items() if name in logs}
        entries |= {name: run for name, run in found.items() if name in logs}
        newest = sorted(entries.values(), key=lambda run: run.folder.name, reverse=True)
        newest.sort(key=lambda run: float(run.summary["began"]), reverse=True)
        self._logs = logs
        self._entries = {run.folder.name: Entry(run, _is_going(run)) for run in newest}

    def _followed(self, name: str) -> Listed | None:
        follower = self.followers.of(self.runs / name)
        return follower.listed() if follower.events else None


def _is_going(run: Listed) -> bool:
    return run.summary["outcome"] == "unfinished" and is_going(run.folder)


def _logs(runs: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change (ns) of each run's log, by the name of the run's folder."""
    found = {}
    try:
        with os.scandir(runs) as folders:
            for folder in folders:
                if folder.is_dir(follow_symlinks=False):
                    try:
                        log = os.stat(f"{folder.path}/{EVENTS}")
                    except OSError:
                        continue
                    found[folder.name] = (log.st_size, log.st_mtime_ns)
    except OSError:
        return {}
    return found
