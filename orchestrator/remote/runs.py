"""Runs on a server: begun, followed to their end, resumed and stopped.

Shared by the command line and the Python calls; nothing is printed but through the view.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.bundle.gathering import gather
from orchestrator.bundle.manifest import Limits, check_limits
from orchestrator.bundle.wire import RUN
from orchestrator.errors import FarmError, TransientError, UserError
from orchestrator.fleet.transport.untrusted import printable
from orchestrator.remote.address import Server
from orchestrator.remote.fetching import fetch
from orchestrator.remote.folder import Where, forget, make_remote, where_of
from orchestrator.remote.following import Follower
from orchestrator.remote.link import Conflict, Link, LinkCut, NotFound
from orchestrator.remote.uploading import upload
from orchestrator.reporting.live.console import View
from orchestrator.request import Request
from orchestrator.running import Ended
from orchestrator.store.going import going
from orchestrator.store.run_folder import LATEST, point_latest_to

Say = Callable[[str, str], None]
WAIT_S = 20
SAID = 20_000
ATTEMPTS = 3


@dataclass(frozen=True)
class Begun:
    """A run that the server carries out.

    Attributes:
        folder: its own, here.
        offset: bytes of its log that were there before this session.
        skew_s: how far the server's clock is ahead of this computer's.
    """

    link: Link
    folder: Path
    offset: int = 0
    skew_s: float = 0.0


class Remote:
    """A server, asked for runs.

    Args:
        say: a line for the person who waits, and its style.

    Raises:
        UserError: nobody answers there, it is no farm server or one of another protocol, or the
            token is wrong.
    """

    def __init__(self, server: Server, runs: Path, say: Say) -> None:
        self.server, self._runs, self._say = server, runs, say
        self.link = Link(server, say)
        try:
            before = time.time()
            self.about = self.link.about()
        except LinkCut as error:
            raise UserError(
                f"{server.url}: {error.message}",
                "is `farm serve --allow-actions` running there, and the address right? From "
                "elsewhere: ssh -L 8765:127.0.0.1:8765 you@host",
            ) from None
        self.skew_s = float(self.about.get("now", before)) - (before + time.time()) / 2

    def may_act(self) -> None:
        """See that the server takes runs.

        Raises:
            UserError: it only shows.
        """
        if not self.about.get("actions"):
            raise UserError(
                f"{self.server.url} only shows runs, it takes none",
                "whoever serves starts it with: farm serve --allow-actions",
            )

    def begin(
        self,
        request: Request,
        *,
        remeasure: bool,
        hashed: Callable[[int], None] = lambda _: None,
        progress: Callable[[int, int], None] = lambda *_: None,
        asked: Callable[[Path], None] = lambda _: None,
    ) -> Begun:
        """Send a matrix with its files and have it run.

        Args:
            hashed: called with the number of files that have been read.
            progress: called with the bytes that have been sent, and how many are to be.
            asked: called with the run's folder here once the server plans it: from then on it goes
                on without this process.

        Raises:
            UserError: something in the files is wrong, too large or may not be sent, or the server
                cannot plan it: as a local run says it.
        """
        self.may_act()
        bundle = gather(Path(request.matrix), hashed)
        limits = self.about.get("limits", {})
        check_limits(bundle.manifest, Limits(**{name: int(limits[name]) for name in limits}))
        fields: dict[str, Any] = {
            "bundle": bundle.manifest.name,
            "called": request.matrix,
            "only": list(request.only),
            "limit": request.limit,
            "remeasure": remeasure,
        }
        for _ in range(ATTEMPTS):
            sent = upload(self.link, bundle, self._say, progress)
            count = len(bundle.manifest.entries)
            files = f"{count:,} file{'s' * (count != 1)}"
            self._say(f"{files}: {sent:,} bytes sent, the server had the rest", "dim")
            job = secrets.token_hex(16)
            stand = self.link.patiently(lambda job=job: self._asked("/runs", job, fields))  # type: ignore[misc]
            folder = self._runs / _name(stand)
            where = Where(self.server.url, folder.name, job, self.server.token_file)
            make_remote(folder, where, _local(request, folder))
            asked(folder)
            try:
                self._await(job, stand, str(request.matrix))
                return Begun(self.link, folder, 0, self.skew_s)
            except _SendAgain:
                forget(folder)
            except FarmError:
                forget(folder)
                raise
        raise UserError("the server does not keep what it is sent", "ask whoever serves: farm gc?")

    def resume(self, folder: Path) -> Begun:
        """Have a run go on that was stopped or lost; nothing where it goes on.

        Raises:
            UserError: the server has no such run, or cannot resume it.
        """
        name = folder.name
        if folder.name == LATEST or where_of(folder) is None:
            folder = self.attach(folder.name).folder
        if self.rejoin(folder)["going"]:
            return Begun(self.link, folder, 0, self.skew_s)
        self.may_act()
        job = secrets.token_hex(16)
        stand = self.link.patiently(lambda: self._asked(f"/runs/{name}/resume", job, {}))
        stand = self._await(job, stand, "")
        return Begun(self.link, folder, int(stand["offset"]), self.skew_s)

    def rejoin(self, folder: Path) -> dict[str, Any]:
        """A run of which this computer has a folder, once it has begun: see `run`.

        Raises:
            UserError: the server refused it, or has it no more.
        """
        where = where_of(folder)
        if where is not None and where.job:
            try:
                stand = self.link.patiently(lambda: self.link.get(f"/jobs/{where.job}"))
                self._await(where.job, stand, "")
            except NotFound:
                pass  # the server has forgotten how it was begun
        return self.run(folder.name)

    def attach(self, name: str) -> Begun:
        """Follow a run of the server, whoever began it.

        Raises:
            UserError: the server has no such run.
        """
        folder = self._runs / name
        if name != LATEST and where_of(folder) is not None:
            self.rejoin(folder)
            return Begun(self.link, folder, 0, self.skew_s)
        folder = self._runs / _name(self.run(name))
        where = Where(self.server.url, folder.name, "", self.server.token_file)
        make_remote(folder, where, Request("", "", str(folder), str(self._runs)))
        return Begun(self.link, folder, 0, self.skew_s)

    def run(self, name: str) -> dict[str, Any]:
        """A run's name there, and whether it goes on.

        Raises:
            UserError: the server has no such run.
        """
        try:
            return self.link.patiently(lambda: self.link.get(f"/runs/{name}"))
        except NotFound:
            raise UserError(
                f"{self.server.url} has no run {name!r}", f"its runs: {self.server.url}/runs"
            ) from None

    def cancel(self, name: str) -> None:
        """Stop a run, as Ctrl-C does: what it has finished is stored there.

        Raises:
            UserError: the server has no such run, or it does not go on.
        """
        self.may_act()
        try:
            self.link.patiently(lambda: self.link.post(f"/runs/{name}/cancel", {}))
        except (NotFound, Conflict) as error:
            raise UserError(f"{self.server.url}: {error.message}") from None

    def _asked(self, path: str, job: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Ask for a run; asked again after a cut, the same number is the same run."""
        return self.link.post(path, {**fields, "id": job})

    def _await(self, job: str, stand: dict[str, Any], matrix: str) -> dict[str, Any]:
        """Wait until the run begins.

        Raises:
            UserError: it was refused, as a local run's is.
        """
        if stand["state"] == "planning":
            self._say(f"{self.server.url} plans run {stand['run']} …", "dim")
        while stand["state"] == "planning":
            path = f"/jobs/{job}?wait={WAIT_S}"
            stand = self.link.patiently(lambda path=path: self.link.get(path))  # type: ignore[misc]
        if stand["state"] == "missing":
            raise _SendAgain("something of it was lost on the server")
        if stand["state"] == "refused":
            text = (
                printable(str(stand["said"]), SAID)
                or f"the server could not begin the run ({stand['exit_code']})"
            )
            name = os.path.basename(matrix)
            if name and name != matrix:
                lines = [
                    matrix + line[len(name) :] if line.startswith(f"{name}:") else line
                    for line in text.splitlines()
                ]
                text = "\n".join(lines)
            kind = UserError if stand["exit_code"] == 2 else TransientError
            raise kind(text)
        return stand


class _SendAgain(TransientError):
    pass


def follow(begun: Begun, view: View, say: Say) -> Ended:
    """Stay with a run to its end, then fetch what it leaves.

    Ctrl-C and SIGTERM end the watching when this is the main thread; the run goes on.

    Args:
        view: shows the run; already entered.

    Raises:
        UserError: another process here follows it, or the server does not know it any more.
        RunLost: nobody carries the run on.
    """
    with going(begun.folder):
        point_latest_to(begun.folder)
        stopped = _shown(begun, view, say)
        if stopped is None:
            fetch(begun.link, begun.folder, view.state.results.values(), say)
    finished = view.state.finished
    code = 1 if finished is None else finished.exit_code
    if stopped is not None:
        code = 128 + stopped
    return Ended(begun.folder, code, bool(finished and finished.cached and not code), stopped)


def _shown(begun: Begun, view: View, say: Say) -> signal.Signals | None:
    """Show events until the last one; which signal ended that before, None where none did."""
    follower = Follower(begun.link, begun.folder, say)
    with Terminating() as terminating:
        try:
            for event, end in follower.known():
                view.recall(event) if end <= begun.offset else view.show(event)
            for event in follower.new():
                view.show(event)
        except KeyboardInterrupt:
            return terminating.signal
    return None


class Terminating:
    """SIGTERM interrupts as Ctrl-C does; other threads than the main one cannot take it.

    Attributes:
        came: whether it has.
    """

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> Terminating:
        self._old: Any = None
        if threading.current_thread() is threading.main_thread():
            self._old = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._old is not None:
            signal.signal(signal.SIGTERM, self._old)

    @property
    def signal(self) -> signal.Signals:
        """What has interrupted."""
        return signal.SIGTERM if self.came else signal.SIGINT

    def _note(self, *_: object) -> None:
        self.came = True
        raise KeyboardInterrupt


def _name(found: dict[str, Any]) -> str:
    """A run's name, as a folder here may be called."""
    name = str(found.get("run"))
    if not re.fullmatch(RUN, name):
        raise UserError("the server names a run as no run is called", "ask whoever serves")
    return name


def _local(request: Request, folder: Path) -> Request:
    """What a run's folder says was asked for; its store is nowhere on this computer."""
    return replace(request, inventory="", state=str(folder))
