"""The calls for Python, from their signatures and docstrings."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

from docs.builder.generated.markdown import cell, named, parts_of, prose, table

# Annotations are text: `: 'int'`.
QUOTED = re.compile(r"(: |-> )'([^']*)'")
HEADS = {"Args": "argument", "Attributes": "attribute"}


def farm_page() -> str:
    """`import orchestrator as farm`."""
    from orchestrator import api
    from orchestrator.reporting.analysis.history import Run

    text = f"# Python: farm\n{prose(inspect.cleandoc(api.__doc__ or ''))}\n\n"
    text += "Rows are [CellResult](results-json.md#cellresult) objects.\n\n"
    names = [name for name in importlib.import_module("orchestrator").__all__ if name[0] != "_"]
    text += "\n".join(described(f"farm.{name}", getattr(api, name)) for name in names)
    return text + "\n" + described("Run", Run, members=True)


def module_page(name: str, title: str) -> str:
    """A module of farm that is usable alone."""
    module = importlib.import_module(name)
    text = (
        f"# Python: {title}\n`import {name}`. {prose(inspect.cleandoc(module.__doc__ or ''))}\n\n"
    )
    return text + "\n".join(described(each, getattr(module, each)) for each in module.__all__)


def described(name: str, thing: Any, *, members: bool = False) -> str:
    """A function or class: signature, prose, arguments, what it returns and raises."""
    if not callable(thing):
        return f"## {name}\n"
    text = [f"## {name}"]
    try:
        signature = QUOTED.sub(r"\1\2", str(inspect.signature(thing)))
    except ValueError:
        signature = "(...)"
    text.append(f"```python\n{wrapped(name, signature)}\n```")
    text += documented(inspect.getdoc(thing))
    if members:
        for each, member in inspect.getmembers(thing):
            if not each.startswith("_") and (
                isinstance(member, property) or inspect.isfunction(member)
            ):
                text += [f"### {each}", *documented(inspect.getdoc(member))]
    return "\n\n".join(text) + "\n"


def documented(docstring: str | None) -> list[str]:
    """A docstring's parts as Markdown."""
    text, sections = parts_of(docstring)
    found = [prose(text)]
    for section, body in sections.items():
        entries = named(body)
        if section in HEADS and entries:
            rows = [[f"`{name}`", cell(meaning)] for name, meaning in entries.items()]
            found.append(table([HEADS[section], "meaning"], rows))
        else:
            found.append(f"**{section}**: {cell(body)}")
    return found


def wrapped(name: str, signature: str) -> str:
    """A signature that is long gets a line for each argument."""
    whole = f"{name}{signature}".replace("orchestrator.", "")
    if len(whole) <= 88:
        return whole
    head, _, tail = whole.partition("(")
    inside, _, after = tail.rpartition(")")
    depth, lines = 0, [""]
    for letter in inside:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and not depth:
            lines.append("")
        else:
            lines[-1] += letter
    return head + "(\n" + "".join(f"    {line.strip()},\n" for line in lines) + ")" + after
