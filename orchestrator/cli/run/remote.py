"""`farm run --remote` and what comes after it: `farm watch`, `farm resume`, `farm cancel`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.text import Text

from orchestrator.cli.run.event_lines import EventLines
from orchestrator.cli.run.run import Shown
from orchestrator.cli.run.view import conclude
from orchestrator.remote.address import Server, find_server
from orchestrator.remote.folder import where_of
from orchestrator.remote.runs import Begun, Remote, Terminating, follow
from orchestrator.reporting.live.console import View
from orchestrator.reporting.tables.fitting import print_line
from orchestrator.request import Request


class Voice:
    """Says lines: on the console, and above the live view as long as there is one."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console, self._quiet = console, quiet
        self.view: View | None = None

    def __call__(self, text: str, style: str) -> None:
        """Say a line."""
        if self.view is not None:
            self.view.say(text, style)
        elif not (self._quiet and style == "dim"):
            self._console.print(Text(text, style=style), soft_wrap=True)


def start_there(
    link: str, token_file: str, request: Request, how: Shown, *, remeasure: bool
) -> int:
    """Run a matrix of this computer on a server; returns the exit code, as of a run here."""
    console, voice = _console(how)
    remote = Remote(find_server(link, token_file), Path(request.runs), voice)
    if "token=" in link:
        voice("the link's token can be seen by others of this computer while farm runs: "
              "--token-file FILE or FARM_TOKEN cannot", "dim")  # fmt: skip
    asked: list[Path] = []
    terminating = Terminating()
    try:
        with terminating, _sending(console, how) as (hashed, progress):
            begun = remote.begin(
                request,
                remeasure=remeasure,
                hashed=hashed,
                progress=progress,
                asked=asked.append,
            )
    except KeyboardInterrupt:
        if asked:
            _detached(console, asked[-1].name, remote.server)
        else:
            voice("stopped: nothing has begun; what was sent is not sent again", "yellow")
        return 128 + terminating.signal
    return _stay(begun, remote.server, how, console, voice)


def watch_there(server: Server, runs: Path, name: str, how: Shown) -> int:
    """Follow a run of a server to its end, and fetch what it leaves."""
    console, voice = _console(how)
    begun = Remote(server, runs, voice).attach(name)
    return _stay(begun, server, how, console, voice)


def resume_there(server: Server, folder: Path, how: Shown) -> int:
    """Have a run of a server go on, and follow it."""
    console, voice = _console(how)
    begun = Remote(server, folder.parent, voice).resume(folder)
    return _stay(begun, server, how, console, voice)


def cancel_there(server: Server, runs: Path, name: str) -> int:
    """Stop a run of a server."""
    Remote(server, runs, lambda *_: None).cancel(name)
    print(f"run {name} is asked to stop; what it has finished stays stored at {server.url}")
    return 0


def server_of(link: str, token_file: str, folder: Path) -> Server | None:
    """The server that was typed, else the one of a run's folder; None of a run that is here."""
    if link:
        return find_server(link, token_file)
    where = where_of(folder)
    return None if where is None else find_server(where.url, token_file or where.token_file)


def _console(how: Shown) -> tuple[Console, Voice]:
    console = Console(highlight=False, stderr=how.as_json)
    return console, Voice(console, quiet=how.detail == "quiet")


def _stay(begun: Begun, server: Server, how: Shown, console: Console, voice: Voice) -> int:
    import time

    def clock() -> float:
        return time.time() + begun.skew_s

    detail = how.detail
    view = EventLines(console, detail) if how.as_json else View(console, clock, detail)
    with view:
        voice.view = view
        ended = follow(begun, view, voice)
        voice.view = None
    if ended.signal is None:
        return conclude(console, ended, as_json=how.as_json)
    _detached(console, begun.folder.name, server)
    return ended.exit_code


def _detached(console: Console, name: str, server: Server) -> None:
    print_line(console, f"detached: run {name} goes on at {server.url}", "bold")
    print_line(console, f"come back: farm watch {name}; stop it: farm cancel {name}")


@contextmanager
def _sending(
    console: Console, how: Shown
) -> Iterator[tuple[Callable[[int], None], Callable[[int, int], None]]]:
    """A bar for what is read and sent, on a terminal."""
    if not console.is_terminal or how.detail != "usual":
        yield lambda _: None, lambda *_: None
        return
    words = TextColumn("{task.description}")
    columns = (words, BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("sending", total=None, visible=False)

        def hashed(count: int) -> None:
            if count % 100 == 0:
                bar.update(task, description=f"reading files: {count:,}", visible=True)

        def progress(done: int, total: int) -> None:
            shown = total > 0
            bar.update(task, description="sending", completed=done, total=total, visible=shown)

        yield hashed, progress
