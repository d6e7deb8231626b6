"""`farm schema`: JSON Schemas of the YAML files, so that an editor completes and checks them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

NAMES = ("inventory", "kind", "matrix", "model")
USUAL = {
    "inventory": "device_inventory.yaml",
    "kind": "a file of kinds/",
    "matrix": "matrix.yaml",
    "model": "a file of models/",
}


def add_parser(commands: Any) -> None:
    """Add `schema` to the command line."""
    made = commands.add_parser("schema", help="JSON Schemas of the YAML files, for editors")
    made.set_defaults(call=schema)
    made.add_argument("name", nargs="?", metavar="NAME", help=f"only this one: {', '.join(NAMES)}")
    made.add_argument("--out", metavar="DIR", help="write farm-NAME.schema.json files there")


def schema(arguments: argparse.Namespace) -> int:
    """Print one schema, or write all of them."""
    from orchestrator.errors import UserError
    from orchestrator.specs.schema import schema_of
    from orchestrator.specs.yamlfile import nearest

    if arguments.name is not None and arguments.name not in NAMES:
        raise UserError(f"no schema {arguments.name!r}{nearest(arguments.name, NAMES)}")
    if arguments.out is None:
        if arguments.name is None:
            raise UserError(
                "which one?", f"farm schema {'|'.join(NAMES)}, or all of them with --out DIR"
            )
        print(json.dumps(schema_of(arguments.name), indent=1))
        return 0
    folder = Path(arguments.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in [arguments.name] if arguments.name else NAMES:
            path = folder / f"farm-{name}.schema.json"
            path.write_text(json.dumps(schema_of(name), indent=1) + "\n")
            print(f"first line of {USUAL[name]}: # yaml-language-server: $schema={path}")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return 0
