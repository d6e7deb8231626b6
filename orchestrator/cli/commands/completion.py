"""`farm completion SHELL`."""

import click

from orchestrator.cli.parsing import Section, declare, types

SHELLS = ("bash", "zsh", "fish", "tcsh")


@declare(
    "completion",
    "completion for your shell",
    section=Section.HERE,
    examples=[
        'eval "$(farm completion bash)"   # in ~/.bashrc',
        "farm completion zsh > ~/.zfunc/_farm   # a folder of fpath",
        "farm completion fish > ~/.config/fish/completions/farm.fish",
        "farm completion tcsh > ~/.farm.tcsh; source ~/.farm.tcsh",
    ],
    text="Print what your shell needs to complete farm's commands and options, and the names of "
    f"your runs, rows and boards. SHELL is {', '.join(SHELLS[:-1])} or {SHELLS[-1]}.",
)
@click.argument("shell", type=types.Word(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the script."""
    from orchestrator.cli.parsing.shells import script

    click.echo(script(shell, ctx.find_root().command), nl=False)
    return 0
