"""Options that `farm boards add` and `import` share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from orchestrator.cli.parsing import types

F = TypeVar("F", bound=Callable[..., Any])


def adding(function: F) -> F:
    """`--key`, `--config`, `--jump-host-key` and `--yes`."""
    for option in (
        click.option("--yes", is_flag=True, help="ask nothing; does not approve a host key unseen"),
        click.option(
            "--jump-host-key",
            "jump_host_keys",
            metavar="KEY",
            multiple=True,
            help="the approved host key of a jump host; once for each, in their order",
        ),
        click.option(
            "--config",
            type=types.FILE,
            metavar="FILE",
            default="~/.ssh/config",
            help="OpenSSH's (~/.ssh/config)",
        ),
        click.option(
            "--key", type=types.FILE, metavar="FILE", help="the private key to log in with"
        ),
    ):
        function = option(function)
    return function
