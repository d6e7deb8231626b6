"""The command line, from its parser."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from docs.builder.generated.markdown import cell, table
from orchestrator.cli.main import command_line
from orchestrator.cli.parsing import Section


def commands(group: click.Group, above: click.Context) -> Iterator[tuple[click.Command, str]]:
    """Each command with its whole name, those of several words included."""
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        assert command is not None
        whole = f"{above.command_path} {name}"
        if isinstance(command, click.Group):
            yield from commands(command, click.Context(command, info_name=name, parent=above))
        elif not command.hidden:
            yield command, whole


def page() -> str:
    """Every command of farm with its arguments, options and examples."""
    root = command_line()
    assert isinstance(root, click.Group)
    above = click.Context(root, info_name="farm")
    found: dict[Section, list[str]] = {section: [] for section in Section}
    for command, name in commands(root, above):
        section = getattr(command, "section", None) or Section.BOARDS
        found[section].append(described(command, name))
    text = "# Command line\nGenerated from the parser: what `farm COMMAND --help` says.\n"
    for section, parts in found.items():
        if parts:
            text += f"\n## {section.value}\n" + "\n".join(parts)
    return text


def described(command: click.Command, name: str) -> str:
    """One command."""
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    text = [f"### {name}", cell(inspect.cleandoc(command.help or "")), f"```text\n{usage}\n```"]
    records = [option.get_help_record(context) for option in command.get_params(context)]
    # Arguments stand in the usage line and the text; every command has --help.
    rows = [
        [f"`{name}`", cell(meaning)]
        for name, meaning in filter(None, records)
        if meaning and not name.endswith("--help")
    ]
    if rows:
        text.append(table(["option", "meaning"], rows))
    examples = getattr(command, "examples", ())
    if examples:
        text.append("```sh\n" + "\n".join(examples) + "\n```")
    return "\n\n".join(text) + "\n"
