"""JSON Schemas of the YAML files, for editors, from the models that read the files.

Pydantic describes what a model holds; a file may also say it shorter (`transport: local`, a single
value for a list, a quantization in words). Those short forms are added here. A schema is an aid
while typing: rules across several keys are told by `farm plan` only.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from orchestrator.specs.base import FileSpec, one_or_many
from orchestrator.specs.inventory import Inventory
from orchestrator.specs.kinds import Kind, load_kinds
from orchestrator.specs.matrix import Matrix
from orchestrator.specs.model import ModelSpec
from orchestrator.specs.quantization import Quantization
from orchestrator.specs.runtimes import inventory_runtimes

FILES: Mapping[str, type[FileSpec]] = {
    "inventory": Inventory,
    "kind": Kind,
    "matrix": Matrix,
    "model": ModelSpec,
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# The key that a plain value below a tag fills: `folder: faces` is `folder: {path: faces}`.
_SHORT = "path"

Schema = dict[str, Any]


def schema_of(name: str) -> Schema:
    """The JSON Schema of a kind of file.

    Args:
        name: one of `FILES`.
    """
    schema: Schema = FILES[name].model_json_schema(schema_generator=_Generator)
    parts: dict[str, Schema] = schema.get("$defs", {})
    if "Board" in parts:
        _ease_board(parts)
    if "BoardSelector" in parts:
        names = {"type": "array", "items": {"type": "string"}}
        parts["BoardSelector"] = {"anyOf": [{"type": "string"}, names, parts["BoardSelector"]]}
    if "Quantization" in parts:
        parts["Quantization"] = {"anyOf": [_quantization_words(), parts["Quantization"]]}
    return {"$schema": DIALECT, **_with_short_forms(schema, parts), "title": f"farm: {name}"}


class _Generator(GenerateJsonSchema):
    """Knows the validators that let a single value stand for a list."""

    def function_before_schema(
        self, schema: core_schema.BeforeValidatorFunctionSchema
    ) -> JsonSchemaValue:
        inner = super().function_before_schema(schema)
        if "prefixItems" in inner:  # a number for each of three channels, or one for all
            item = inner["prefixItems"][0]
            return {"anyOf": [item, {"type": "array", "items": item, "maxItems": 1}, inner]}
        if schema["function"]["function"] is one_or_many:
            return {"anyOf": [inner["items"], inner]}
        return inner


def _ease_board(parts: dict[str, Schema]) -> None:
    """A kind and the transport say most of a board; a runtime may be its name alone."""
    board = parts["Board"]
    board["required"] = ["name", "kind", "transport"]
    board["properties"]["kind"] = {"enum": sorted(load_kinds())}
    names = {"enum": list(inventory_runtimes())}
    board["properties"]["runtime"] = {"anyOf": [names, board["properties"]["runtime"]]}
    parts["RuntimeOptions"].pop("required", None)


def _quantization_words() -> Schema:
    words = [
        word
        for field in Quantization.model_fields.values()
        for part in (field.annotation, *get_args(field.annotation))
        for word in get_args(part)
        if isinstance(word, str)
    ]
    either = "|".join(sorted(set(words)))
    return {"type": "string", "pattern": rf"^\s*({either})(\s+({either}))*\s*$"}


def _with_short_forms(node: Any, parts: Mapping[str, Schema]) -> Any:
    if isinstance(node, list):
        return [_with_short_forms(each, parts) for each in node]
    if not isinstance(node, dict):
        return node
    if "discriminator" in node:
        return _tagged(node, parts)
    return {key: _with_short_forms(value, parts) for key, value in node.items()}


def _tagged(node: Schema, parts: Mapping[str, Schema]) -> Schema:
    """A union as a file may write it: `word`, `word: {...}`, or the tag as a key among others."""
    tag = node["discriminator"]["propertyName"]
    words, forms = [], []
    for word, reference in node["discriminator"]["mapping"].items():
        long = copy.deepcopy(parts[reference.rsplit("/", 1)[-1]])
        long["properties"][tag] = {"const": word}
        needed = [key for key in long.get("required", ()) if key != tag]
        inner = copy.deepcopy(long)
        del inner["properties"][tag]
        inner["required"] = needed
        below: list[Schema] = [inner]
        if not needed:
            words.append(word)
            below.append({"type": "null"})
        if needed == [_SHORT]:
            below.append({"type": "string"})
        forms.append(
            {
                "type": "object",
                "properties": {word: {"anyOf": below}},
                "required": [word],
                "additionalProperties": False,
            }
        )
        forms.append({**long, "required": [tag, *needed]})
    fields = {key: value for key, value in node.items() if key not in ("discriminator", "oneOf")}
    return {**fields, "anyOf": [*([{"enum": words}] if words else []), *forms]}
