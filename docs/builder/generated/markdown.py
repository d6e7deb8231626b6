"""Docstrings and JSON Schemas as Markdown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Yields):\s*$", re.MULTILINE)
CODE = re.compile(r"(``.+?``|`[^`]+`)")

Schema = Mapping[str, Any]


def plain(text: str) -> str:
    """Prose of a docstring: what would be markup outside of code is escaped."""
    parts = CODE.split(text)
    return "".join(
        part.replace("``", "`") if i % 2 else re.sub(r"([<\[\]*_|])", r"\\\1", part)
        for i, part in enumerate(parts)
    )


def cell(text: str) -> str:
    """Prose for one cell of a table."""
    return " ".join(plain(text).split()).replace("\\|", "|").replace("|", "\\|")


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose cells are Markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def parts_of(docstring: str | None) -> tuple[str, dict[str, str]]:
    """The prose of a docstring, and each section's text by its name."""
    pieces = SECTION.split(inspect.cleandoc(docstring or ""))
    return pieces[0].strip(), dict(zip(pieces[1::2], pieces[2::2], strict=True))


def named(section: str) -> dict[str, str]:
    """`name: text` entries of a section; `a, b: text` is an entry for each."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(section).splitlines():
        entry = re.match(r"([\w*.]+(?:, [\w*.]+)*): (.*)", line)
        if entry:
            names = entry[1].split(", ")
            found.update(dict.fromkeys(names, entry[2]))
        else:
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
    return found


def prose(text: str) -> str:
    """Paragraphs and code of a docstring: an indented paragraph is code."""
    blocks = re.split(r"\n\s*\n", text)
    done = []
    for is_code, group in groupby(blocks, lambda block: block.startswith("    ")):
        text = "\n\n".join(group)
        done.append(f"```python\n{inspect.cleandoc(text)}\n```" if is_code else plain(text))
    return "\n\n".join(done)


def takes(schema: Schema) -> str:
    """What a value of a JSON Schema may be, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "discriminator" in schema:
        forms = schema["discriminator"]["mapping"].items()
        return ", ".join(f"`{word}:` {takes({'$ref': goal})}" for word, goal in forms)
    if "anyOf" in schema:
        forms = [takes(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(forms))
    kind = schema.get("type")
    if kind == "array":
        return f"list of {takes(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        more = schema.get("additionalProperties")
        return f"mapping to {takes(more)}" if isinstance(more, dict) and more else "mapping"
    words = {
        "string": "text",
        "integer": "whole number",
        "number": "number",
        "boolean": "true, false",
    }
    return words.get(str(kind), "anything") + limits(schema)


def limits(schema: Schema) -> str:
    """The bounds of a number, in words."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    said = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return f" {', '.join(said)}" if said else ""


def fields(schema: Schema, meanings: Mapping[str, str], head: str) -> str:
    """A table of the properties of one object."""
    required, rows = schema.get("required", ()), []
    for name, value in schema.get("properties", {}).items():
        default = value.get("default")
        shown = "needed" if name in required else _default(default)
        rows.append(
            [f"`{name}`", takes(value).replace("|", "\\|"), shown, cell(meanings.get(name, ""))]
        )
    if not any(row[3] for row in rows):
        return table([head, "takes", "default"], [row[:3] for row in rows])
    return table([head, "takes", "default", "meaning"], rows)


def _default(value: Any) -> str:
    if value in (None, "", [], {}):
        return "–"
    if isinstance(value, dict):
        return "its own defaults"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def objects(schema: Schema, title: str, head: str, level: int = 2) -> str:
    """Headings, docstrings and tables of a schema and of all that it refers to."""
    found = []
    for name, part in [(title, schema), *schema.get("$defs", {}).items()]:
        if "enum" in part:
            text = ", ".join(f"`{word}`" for word in part["enum"])
            found.append(f"{'#' * level} {name}\n{text}\n")
            continue
        text, sections = parts_of(part.get("description"))
        meanings = named(sections.get("Attributes", ""))
        found.append(f"{'#' * level} {name}\n{prose(text)}\n\n{fields(part, meanings, head)}")
    return "\n".join(found)
