"""What farm's command line allows beyond click: shortened options, and options of several values.

`--max-d rank1=1` means `--max-drop`, and `--mean 127 127 127` gives three values to one option.
Both are written out in full before click reads them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import click

_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")


class Several(click.Option):
    """An option that takes one or more values after its name, up to the next option."""


def in_full(
    words: Sequence[str], params: Sequence[click.Parameter], ctx: click.Context, leading: bool
) -> list[str]:
    """The words with every option's name in full, and each of several values after its own name.

    Args:
        words: as typed.
        params: the options that the command has.
        leading: whether the first word that is no option ends the reading, as in a group.

    Raises:
        click.UsageError: a shortened name means several options, or a value is missing.
    """
    named = {
        name: param
        for param in params
        if isinstance(param, click.Option)
        for name in (*param.opts, *param.secondary_opts)
    }
    left, expanded = list(words), list[str]()
    while left:
        word = left.pop(0)
        if word == "--" or (leading and not _is_option(word)):
            return [*expanded, word, *left]
        typed, equals, _ = word.partition("=")
        name = _whole(typed, named, ctx) if typed.startswith("--") else typed
        option = named.get(name)
        if option is None or equals or option.is_flag or option.count:
            expanded.append(name + word[len(typed) :])
            continue
        expanded += _with_values(name, option, left, ctx)
    return expanded


def _with_values(name: str, option: click.Option, left: list[str], ctx: click.Context) -> list[str]:
    """The option and its value or values, which are taken from `left`."""
    most = len(left) if isinstance(option, Several) else 1
    taken: list[str] = []
    while left and len(taken) < most and not _is_option(left[0]):
        taken.append(left.pop(0))
    if taken:
        return [word for value in taken for word in (name, value)]
    if ctx.resilient_parsing:
        return [name]
    what = f" ({option.metavar})" if option.metavar else ""
    raise click.BadOptionUsage(name, f"Option {name!r} needs a value{what}.", ctx)


def _whole(typed: str, named: Mapping[str, click.Option], ctx: click.Context) -> str:
    if typed in named or ctx.resilient_parsing:
        return typed
    found = [name for name in named if name.startswith(typed)]
    if len({id(named[name]) for name in found}) > 1:
        raise click.UsageError(f"Option {typed!r} is short for {' and '.join(found)}.", ctx)
    return found[0] if found else typed


def _is_option(word: str) -> bool:
    """Whether a word names an option: not a negative number, nor a text with blanks in it."""
    dashed = len(word) > 1 and word.startswith("-") and " " not in word
    return dashed and not _NEGATIVE.fullmatch(word)
