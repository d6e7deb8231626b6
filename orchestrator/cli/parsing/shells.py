"""Completion: click's for bash, zsh and fish, and a few lines for tcsh, which click has not."""

from __future__ import annotations

import glob
import os
from typing import ClassVar

import click
from click.shell_completion import (
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

VARIABLE = "_FARM_COMPLETE"


class TcshComplete(ShellComplete):
    """tcsh asks a program for all words; the part that is typed it compares itself."""

    name: ClassVar[str] = "tcsh"
    source_template: ClassVar[str] = (
        "complete %(prog_name)s 'p@*@`env %(complete_var)s=tcsh_complete %(prog_name)s`@'\n"
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is typed, and that one."""
        line = os.environ.get("COMMAND_LINE", "")
        words = split_arg_string(line)
        typed = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], typed

    def format_completion(self, item: CompletionItem[str]) -> str:
        """A word; files and folders are looked up here, since tcsh cannot be told to."""
        if item.type == "plain":
            return str(item.value)
        found = sorted(glob.glob(glob.escape(str(item.value)) + "*"))
        folders = [f"{name}/" for name in found if os.path.isdir(name)]
        files = [name for name in found if not os.path.isdir(name)]
        return "\n".join(folders + (files if item.type == "file" else []))


add_completion_class(TcshComplete)


def script(shell: str, top: click.Command) -> str:
    """What a shell reads to complete farm's words."""
    found = get_completion_class(shell)
    if found is None:
        raise LookupError(shell)
    return found(top, {}, "farm", VARIABLE).source()


def answer(instruction: str, top: click.Command) -> int:
    """Print what a shell asked for, such as `bash_complete`; returns the exit code."""
    shell, _, _ = instruction.partition("_")
    found = get_completion_class(shell)
    if found is None:
        return 1
    click.echo(found(top, {}, "farm", VARIABLE).complete())
    return 0
