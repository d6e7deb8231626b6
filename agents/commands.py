"""The agent's commands: `serve` a session, tell `who` holds the board, `wipe` farm's files."""

import argparse
import json
import os
import signal
import sys
from typing import Any, List, Optional

from . import VERSION, runtimes
from .host import recording
from .locking import lock, lockfile
from .measurement import pinning
from .protocol.errors import BOARD, AgentError
from .protocol.link import say, take_stdio
from .session.session import Session, refuse
from .storage import cleanup


class _Stopped(Exception):
    """A signal asked this process to end."""


def _stop(*_: Any) -> None:
    raise _Stopped()


def serve(options: argparse.Namespace) -> int:
    """Serve a head on stdin and stdout until it or its channel goes."""
    source, sink = take_stdio()
    for name in ("SIGTERM", "SIGHUP", "SIGINT"):
        signal.signal(getattr(signal, name), _stop)
    program = os.path.abspath(sys.argv[0])
    for word in options.library:
        name, _, path = word.partition("=")
        os.environ[runtimes.variable(name)] = path
    held: Optional[lock.BoardLock] = None
    try:
        workdir = _workdir(options)
        # A stopped agent's lease ends a little after a running one would have ended itself.
        held = _lock(options, workdir, options.reason, 3 * options.idle_s)
        held.acquire(options.take_over)
        pinning.restore(workdir, options.root)
        cleanup.clean(workdir, program, options.cache_mb << 20, options.images == "clear")
        images = os.path.join(workdir, cleanup.IMAGES)
        session = Session(source, sink, held, options.root, images, options.idle_s)
        say("agent %s: %s" % (VERSION, session.run()))
        return 0
    except AgentError as error:
        say("agent: " + error.message)
        refuse(sink, error)
        return 3
    except _Stopped:
        return 143
    finally:
        if held is not None:
            held.release()


def _workdir(options: argparse.Namespace) -> str:
    workdir: str = os.path.abspath(os.path.expanduser(options.workdir))
    try:
        os.makedirs(workdir, 0o700, exist_ok=True)
    except OSError as error:
        raise AgentError(BOARD, "%s: cannot make the workdir: %s" % (options.board, error))
    return workdir


def _lock(options: argparse.Namespace, workdir: str, reason: str, lease_s: float) -> lock.BoardLock:
    paths = lockfile.paths(workdir, options.lock, options.root)
    return lock.BoardLock(paths, options.board, options.owner, reason, lease_s)


def who(options: argparse.Namespace) -> int:
    """Print the holder of the board as JSON, {} when it is free."""
    paths = lockfile.paths(_workdir(options), options.lock, options.root)
    print(json.dumps(lock.who(paths), sort_keys=True))
    return 0


def release(options: argparse.Namespace) -> int:
    """Take the board from its holder, whoever that is, and leave it free."""
    workdir = _workdir(options)
    held = _lock(options, workdir, options.reason, 1.0)
    before = lock.who(lockfile.paths(workdir, options.lock, options.root))
    held.acquire(take_over=True)
    pinning.restore(workdir, options.root)
    held.release()
    print(json.dumps({"released": before}, sort_keys=True))
    return 0


def wipe(options: argparse.Namespace) -> int:
    """Remove farm's files from the board, unless somebody works there."""
    workdir = _workdir(options)
    held = _lock(options, workdir, "wipe", 60.0)
    held.acquire(options.take_over)
    try:
        pinning.restore(workdir, options.root)
        print(json.dumps({"removed": sorted(cleanup.wipe(workdir))}))
    finally:
        held.release()
    return 0


def record(options: argparse.Namespace) -> int:
    """Print what this board answers as JSON, for `farm boards record`."""
    root = os.environ.get("FARM_PROBE_ROOT") or options.root
    print(json.dumps(recording.record(root), sort_keys=True))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent", description="farm's board agent " + VERSION)
    commands = parser.add_subparsers(dest="command")
    for run in (serve, who, release, wipe, record):
        about = (run.__doc__ or "").partition("\n")[0]  # none under PYTHONOPTIMIZE=2
        command = commands.add_parser(run.__name__, help=about)
        command.set_defaults(run=run)
        command.add_argument("--workdir", required=True)
        command.add_argument("--board", default="this board")
        command.add_argument("--owner", default="")
        command.add_argument("--reason", default="")
        command.add_argument("--take-over", action="store_true", help="kill a holder")
        command.add_argument("--idle-s", type=float, default=10.0, help="the head's silence")
        command.add_argument("--cache-mb", type=int, default=cleanup.CACHE_BYTES >> 20)
        command.add_argument(
            "--images", choices=("clear", "leave"), default="leave", help="kept ones, at the start"
        )
        command.add_argument("--root", default="/", help="where sysfs, procfs and run/lock are")
        command.add_argument(
            "--lock", choices=lockfile.SCOPES, default=lockfile.WORKDIR_SCOPE, help="what is held"
        )
        command.add_argument(
            "--library", action="append", default=[], metavar="RUNTIME=PATH", help="where it lies"
        )
    return parser


def main(arguments: Optional[List[str]] = None) -> int:
    """Run a command.

    Returns:
        the exit status: 0 done, 2 wrong arguments, 3 refused, 143 stopped.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_usage(sys.stderr)
        return 2
    try:
        return int(options.run(options))
    except AgentError as error:
        sys.stderr.write(error.message + "\n")
        return 3
    except _Stopped:
        return 143
