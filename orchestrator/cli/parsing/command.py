"""Commands as farm has them: an example in each help, grouped, loaded when they are asked for.

A command is a file of `orchestrator/cli/commands/` (or of a folder in it, for a command of several
words) whose `command` was made by `@declare(...)`. There is no other list of commands.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Sequence
from enum import Enum
from functools import cached_property
from importlib import import_module
from typing import Any

import click
from click.exceptions import NoSuchCommand

from orchestrator.cli.parsing import project
from orchestrator.cli.parsing.words import in_full

HELP = ("-h", "--help")


class Section(Enum):
    """Where a command stands in `farm --help`; sections come in this order."""

    BEGIN = "Begin"
    RUN = "Run"
    RESULTS = "Look at results"
    BOARDS = "Boards"
    HERE = "This computer"


class _Helped(click.Command):
    """Help with examples, and options that may be shortened."""

    section: Section
    examples: tuple[str, ...]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words that follow the command's name."""
        full = in_full(args, self.get_params(ctx), ctx, leading=isinstance(self, click.Group))
        return super().parse_args(ctx, full)

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """The same in any context: click builds the option once, for the first that asks."""
        return list(HELP)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, each on a line that can be copied."""
        if self.examples:
            with formatter.section("Examples"):
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")
        super().format_epilog(ctx, formatter)

    def shown_in_list(self) -> str:
        """What a list of commands says of it."""
        return self.short_help or ""


class Command(_Helped):
    """A command; it works in the project's folder, and its function returns the exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Find the project, refuse folders that cannot be used, then do the work."""
        project.enter(ctx)
        where = ctx.ensure_object(project.Where)
        if where.places:
            from pathlib import Path

            from orchestrator.store import places

            for option, place in where.places.items():
                places.check_place(Path(place), option)
        return super().invoke(ctx)


class Group(_Helped, click.Group):
    """Commands that share a first word.

    Args:
        name: that word.
        package: the package whose modules are the commands; their names without a last `_`.
    """

    def __init__(
        self,
        name: str,
        *,
        package: str = "",
        section: Section = Section.RUN,
        examples: Sequence[str] = (),
        commands: Sequence[Command] = (),
        **settings: Any,
    ) -> None:
        super().__init__(
            name,
            commands=list(commands),
            no_args_is_help=False,
            subcommand_metavar="COMMAND",
            **settings,
        )
        self.package = package
        self.section = section
        self.examples = tuple(examples)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in order of the alphabet; nothing is loaded."""
        return sorted([*self.commands, *self._modules])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name; only its own module is loaded."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        module = self._modules.get(cmd_name)
        if module is None:
            return None
        found: click.Command = import_module(f"{self.package}.{module}").command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but the nearest name is sought among those that are not loaded too."""
        name = args[0]
        if (
            not name.startswith("-")
            and not ctx.resilient_parsing
            and self.get_command(ctx, name) is None
        ):
            raise NoSuchCommand(name, possibilities=self.list_commands(ctx), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by their sections; in a group that has only one, as one list."""
        by_section: dict[Section, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            found = self.get_command(ctx, name)
            if isinstance(found, _Helped) and not found.hidden:
                line = (name, found.shown_in_list())
                by_section.setdefault(found.section, []).append(line)
        several = len(by_section) > 1
        for section in (each for each in Section if each in by_section):
            with formatter.section(section.value if several else "Commands"):
                formatter.write_dl(by_section[section])

    @cached_property
    def _modules(self) -> dict[str, str]:
        """Names of the package's modules, by the name of the command."""
        if not self.package:
            return {}
        folder = import_module(self.package).__path__
        names = [found.name for found in pkgutil.iter_modules(folder)]
        return {name.rstrip("_"): name for name in names if not name.startswith("_")}


def declare(
    name: str, short: str, *, section: Section, examples: Sequence[str], text: str = ""
) -> Callable[[Callable[..., int]], Command]:
    """Make a function a command; decorators below add its options.

    Args:
        name: as it is typed.
        short: what the list of commands says of it.
        section: where in that list.
        examples: whole command lines.
        text: what its own help says; `short` as a sentence where it is left out.
    """

    def decorate(function: Callable[..., int]) -> Command:
        shown = text or f"{short[0].upper()}{short[1:]}."
        done = click.command(name, cls=Command, help=shown, short_help=short)(function)
        done.section = section
        done.examples = tuple(examples)
        return done

    return decorate
