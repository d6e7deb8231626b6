"""`farm`: reads the command line and hands over. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from orchestrator.cli import (
    boards,
    completion,
    data,
    doctor,
    explain,
    gc,
    init,
    kept,
    program,
    project,
    schema,
    score,
    toolchain,
)
from orchestrator.version import __version__

EPILOG = """\
exit codes:
  0    complete
  1    a row has no result; a test set has leaks (farm data check)
  2    wrong input: nothing was started
  3    a gate failed
  4    internal error
  130  stopped by Ctrl-C; 143 by SIGTERM. `farm resume` goes on
"""


class Parser(argparse.ArgumentParser):
    """Answers a mistyped word with the nearest of `words`, the commands that it has."""

    words: Sequence[str] = ()

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and exit with 2."""
        if "invalid choice" in message:
            what, _, rest = message.partition(": invalid choice: ")
            word = rest.split(" ")[0].strip("'")
            choices = rest.partition("(choose from ")[2].rstrip(")").replace("'", "")
            known = self.words or choices.split(", ")
            name = "command" if self.words else what.removeprefix("argument ")
            message = f"there is no {name} {word!r}{_near(word, known)}"
        self.exit(2, f"farm: {message}\nfarm: see `{self.prog} --help`\n")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As always, but an option that is not there is answered with the nearest that is."""
        known, extra = self.parse_known_args(args, namespace)
        if extra:
            asked = _of(self, known)
            word = next((each for each in extra if each.startswith("-")), "")
            option = word.partition("=")[0]
            options = [o for action in asked._actions for o in action.option_strings]
            if option:
                asked.error(f"there is no option {option!r}{_near(option, options)}")
            asked.error(f"unexpected: {' '.join(extra)}")
        return known


def _of(parser: argparse.ArgumentParser, known: argparse.Namespace) -> argparse.ArgumentParser:
    """The parser of the command that was named."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            chosen = action.choices.get(getattr(known, action.dest, None) or "")
            if chosen is not None:
                return _of(chosen, known)
    return parser


def _near(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(known)}"


PLACES = ("state", "runs")
COMMANDS = (
    *("run", "resume", "plan", "boards", "toolchain", "schema", "doctor", "explain"),
    *("completion", "score", "init", "gc", "data"),
    *kept.WORDS,
)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = Parser(
        prog="farm",
        description="How a face-recognition model really behaves on the boards it will ship on.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.words = COMMANDS
    top.add_argument("--version", action="version", version=f"farm {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    run = commands.add_parser(
        "run", help="fill the table: quantize, convert, deploy, measure, extract, score"
    )
    plan = commands.add_parser("plan", help="show every row, its steps and what is left to do")
    for command in (run, plan):
        command.add_argument(
            "matrix", nargs="?", default=project.MATRIX, help="what to run (%(default)s)"
        )
        command.add_argument(
            "--inventory",
            metavar="FILE",
            help="the boards (device_inventory.yaml beside the matrix, or in this folder)",
        )
        command.add_argument(
            "--only",
            metavar="NAME",
            action="append",
            default=[],
            help="only this row, entry, board or kind; may be repeated",
        )
        command.add_argument(
            "--limit",
            metavar="N",
            type=_count,
            help="only N gallery identities, probes in proportion; rows are marked partial",
        )
    plan.add_argument("--json", action="store_true", help="for programs")
    plan.add_argument("--steps", action="store_true", help="also list every step")
    plan.add_argument(
        "--predict",
        action="store_true",
        help="also run every row's twin on this host and show its accuracy; touches no board",
    )
    run.add_argument(
        "--remeasure",
        action="store_true",
        help="measure again the latencies whose verdict is SUSPECT",
    )
    plan.add_argument(
        "--simulate",
        metavar="boards=KIND:N[,...]",
        help="how long it would take with so many boards, and what would wait for what",
    )
    resume = commands.add_parser("resume", help="resume a run that was stopped or lost")
    resume.add_argument("run", nargs="?", default="latest", help="its name (%(default)s)")
    for command in (run, resume):
        command.add_argument(
            "--ray-address",
            metavar="HOST:PORT",
            help="join this Ray cluster, whose nodes drive the boards of their sites "
            "(a Ray head of farm's own: `local`)",
        )
        words = command.add_mutually_exclusive_group()
        words.add_argument(
            "-q", "--quiet", action="store_true", help="only warnings, errors and the table"
        )
        words.add_argument(
            "-v", "--verbose", action="store_true", help="every line, progress too; no live view"
        )
    for command in (run, plan, resume):
        command.add_argument(
            "--state",
            metavar="DIR",
            default=project.STATE,
            help="store, emulated boards, keys (%(default)s)",
        )
        command.add_argument(
            "--runs", metavar="DIR", default=project.RUNS, help="where runs are kept (%(default)s)"
        )
    boards.add_parser(commands)
    schema.add_parser(commands)
    gc.add_parser(commands)
    data.add_parser(commands)
    doctor.add_parser(commands)
    toolchain.add_parser(commands)
    completion.add_parser(commands)
    explain.add_parser(commands)
    kept.add_parsers(commands)
    score.add_parser(commands)
    init.add_parser(commands)
    return top


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, not {text!r}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    if not (sys.argv[1:] if argv is None else argv):
        parser().print_help()
        return 0
    arguments = parser().parse_args(argv)
    from orchestrator.store import places

    found, named = True, dict[str, str]()
    try:
        found = project.enter(arguments)
        named = {f"--{name}": value for name in PLACES if (value := getattr(arguments, name, ""))}
        for option, place in named.items():
            places.check_place(Path(place), option)
        if "call" in arguments:
            return int(arguments.call(arguments))
        if arguments.command == "plan":
            from orchestrator.cli.plan import plan

            return plan(arguments)
        from orchestrator.cli.run import resume, run

        return resume(arguments) if arguments.command == "resume" else run(arguments)
    except KeyboardInterrupt:
        print(program.WORDS, file=sys.stderr)
        return program.STOPPED
    except BrokenPipeError:
        return 1
    except Exception as error:
        if program.STOP.asked:  # somebody's code turned the interruption into an error of its own
            print(program.WORDS, file=sys.stderr)
            return program.STOPPED
        return _told(error, named, found)


def _told(error: Exception, named: Mapping[str, str], found: bool) -> int:
    """Print what an error says to whom it concerns; returns the exit code."""
    from orchestrator.errors import FarmError, UserError
    from orchestrator.store import places

    if isinstance(error, OSError):
        error = places.explained(error, named) or error
    if isinstance(error, FarmError):
        print(f"farm: {error}", file=sys.stderr)
        if not found and isinstance(error, UserError):
            print(f"  {project.NO_PROJECT}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    import traceback

    traceback.print_exception(error)
    print(f"farm: internal error: {error!r}; please report it", file=sys.stderr)
    return 4


if __name__ == "__main__":
    program.run(main)
