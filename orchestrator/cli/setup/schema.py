"""`farm schema`: JSON Schemas of the YAML files, so that an editor completes and checks them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

USUAL = {
    "inventory": "device_inventory.yaml",
    "kind": "a file of kinds/",
    "matrix": "matrix.yaml",
    "model": "a file of models/",
}


def schema(name: str | None, out: str | None, names: Sequence[str]) -> int:
    """Print one schema, or write all of `names`."""
    from orchestrator.errors import UserError
    from orchestrator.specs.schema import schema_of

    if out is None:
        if name is None:
            raise UserError(
                "which one?", f"farm schema {'|'.join(names)}, or all of them with --out DIR"
            )
        print(json.dumps(schema_of(name), indent=1))
        return 0
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in [name] if name else names:
            path = folder / f"farm-{each}.schema.json"
            path.write_text(json.dumps(schema_of(each), indent=1) + "\n")
            print(f"first line of {USUAL[each]}: # yaml-language-server: $schema={path}")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return 0
