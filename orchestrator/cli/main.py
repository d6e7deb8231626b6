"""`farm`: reads the command line and hands over. Nothing heavy is imported before it is needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from orchestrator.cli import stopping
from orchestrator.cli.parsing import Group, Where
from orchestrator.cli.parsing.project import NO_PROJECT

EXIT_CODES = (
    ("0", "complete"),
    ("1", "a row has no result; a test set has leaks (farm data check)"),
    ("2", "wrong input: nothing was started"),
    ("3", "a gate failed"),
    ("4", "internal error"),
    ("130", "stopped by Ctrl-C; 143 by SIGTERM. `farm resume` goes on"),
)
COMPLETE = "_FARM_COMPLETE"


class _Top(Group):
    """`farm` itself, whose help also says what the exit codes mean."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples, then exit codes."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Exit codes"):
            formatter.write_dl(EXIT_CODES)


def command_line() -> Group:
    """The whole command line; its commands are loaded when they are asked for."""
    top = _Top(
        "farm",
        package="orchestrator.cli.commands",
        help="How a face-recognition model really behaves on the boards it will ship on.",
        examples=("farm init", "farm run matrix.yaml", "farm report"),
    )
    version = click.Option(
        ["--version"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        help="Show the version and exit.",
        callback=_print_version,
    )
    top.params.append(version)
    return top


def _print_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        from orchestrator.version import __version__

        click.echo(f"farm {__version__}")
        ctx.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    where = Where()
    try:
        top = command_line()
        if asked := os.environ.get(COMPLETE):
            from orchestrator.cli.parsing.shells import answer

            return answer(asked, top)
        with top.make_context("farm", words or ["--help"], obj=where) as ctx:
            return int(top.invoke(ctx))
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        return _usage(error)
    except KeyboardInterrupt:
        print(stopping.WORDS, file=sys.stderr)
        return stopping.STOPPED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is not written yet goes nowhere
        return 1
    except Exception as error:
        if stopping.STOP.asked:  # somebody's code turned the interruption into an error of its own
            print(stopping.WORDS, file=sys.stderr)
            return stopping.STOPPED
        return reported(error, where)


def _usage(error: click.UsageError) -> int:
    """Say what is wrong with what was typed, and what to type next."""
    path = error.ctx.command_path if error.ctx is not None else "farm"
    said = "".join(c if c.isprintable() else "?" for c in error.format_message())
    print(f"farm: {said}", file=sys.stderr)
    examples = getattr(error.ctx.command, "examples", ()) if error.ctx is not None else ()
    if isinstance(error, click.MissingParameter) and examples:
        print(f"farm: for example: {examples[0]}", file=sys.stderr)
    print(f"farm: see `{path} --help`", file=sys.stderr)
    return error.exit_code


def reported(error: Exception, where: Where) -> int:
    """Print what an error says to whom it concerns; returns the exit code."""
    from orchestrator.errors import FarmError, UserError
    from orchestrator.store import places

    if isinstance(error, OSError):
        error = places.explained(error, where.places) or error
    if isinstance(error, FarmError):
        print(f"farm: {error}", file=sys.stderr)
        if not where.found and isinstance(error, UserError):
            print(f"  {NO_PROJECT}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    import traceback

    traceback.print_exception(error)
    print(f"farm: internal error: {error!r}; please report it", file=sys.stderr)
    return 4


if __name__ == "__main__":
    stopping.run(main)
